//! Traffic of the recent past.
//!
//! The samples are sums of the one ledger, so that a period is the difference of two of them. Those
//! of earlier processes come from a [`TrafficHistory`], and the sums of this process are added to
//! theirs. The main type is [`TrafficSeries`].

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::traffic_history::{MAX_DAY_POINTS, StoredSample, TrafficHistory};
use crate::metrics::TrafficTotals;

/// Interval of the samples of the last day.
pub const SAMPLE_INTERVAL: Duration = Duration::from_mins(1);

/// Samples that are kept for the last day.
const MAX_MINUTES: usize = 24 * 60 + 1;

/// Samples that are kept for the last 30 days, one an hour.
const MAX_HOURS: usize = 30 * 24 + 1;

/// Interval of the points in the chart of a day.
const DAY_POINT_INTERVAL: Duration = Duration::from_mins(10);

/// Time of the first process on the time line of the samples. Samples of earlier processes lie
/// before it, and none is older.
const TIMELINE_START: Duration = Duration::from_hours(31 * 24);

/// Length of time that the page sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
    Month,
}

impl Period {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// Returns the period with a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Month => "30d",
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
            Self::Month => Duration::from_hours(30 * 24),
        }
    }
}

/// Traffic within a period.
#[derive(Debug, Clone, Copy)]
pub struct PeriodTraffic {
    pub period: Period,
    /// Time that the sums cover. Shorter than the period if the first sample is younger.
    pub covered: Duration,
    pub totals: TrafficTotals,
}

#[derive(Debug, Clone, Copy)]
struct TrafficSample {
    /// Time on the time line, which no change of the clock moves.
    at: Duration,
    date: SystemTime,
    /// Sums of all processes.
    totals: TrafficTotals,
}

/// Bounded samples of the ledger.
#[derive(Debug)]
pub struct TrafficSeries {
    started: Instant,
    /// Sums of earlier processes.
    base: TrafficTotals,
    minutes: VecDeque<TrafficSample>,
    hours: VecDeque<TrafficSample>,
}

impl TrafficSeries {
    /// Goes on with the samples of earlier processes, or begins with sums of zero.
    #[must_use]
    pub fn new(now: Instant, date: SystemTime, history: Option<&TrafficHistory>) -> Self {
        let base = history.map(|history| history.newest.totals);
        let base = base.unwrap_or_default();
        let first = TrafficSample {
            at: TIMELINE_START,
            date,
            totals: base,
        };
        let restored = |samples: Option<&Vec<StoredSample>>| {
            let mut restored: VecDeque<TrafficSample> = VecDeque::new();
            for stored in samples.into_iter().flatten() {
                // The clock may have been changed between two samples.
                let is_later = |sample: &TrafficSample| {
                    let last = restored.back();
                    last.is_none_or(|last| last.at < sample.at)
                };
                let sample = restore(stored, date).filter(is_later);
                restored.extend(sample);
            }
            if restored.is_empty() {
                restored.push_back(first);
            }
            restored
        };
        Self {
            started: now,
            base,
            minutes: restored(history.map(|history| &history.day)),
            hours: restored(history.map(|history| &history.month)),
        }
    }

    /// Adds a sample if it is due.
    pub fn add(&mut self, now: Instant, date: SystemTime, totals: TrafficTotals) {
        let sample = self.sample(now, date, totals);
        push_if_due(&mut self.minutes, sample, SAMPLE_INTERVAL, MAX_MINUTES);
        push_if_due(&mut self.hours, sample, Duration::from_hours(1), MAX_HOURS);
    }

    /// Returns what a later process needs to go on.
    #[must_use]
    pub fn history(&self, now: Instant, date: SystemTime, totals: TrafficTotals) -> TrafficHistory {
        let stored = |sample: TrafficSample| StoredSample {
            unix_seconds: unix_seconds(sample.date),
            totals: sample.totals,
        };
        let day = spaced(self.minutes.iter().copied(), DAY_POINT_INTERVAL);
        let skipped = day.len().saturating_sub(MAX_DAY_POINTS);
        TrafficHistory::new(
            stored(self.sample(now, date, totals)),
            day.into_iter().skip(skipped).map(stored).collect(),
            self.hours.iter().copied().map(stored).collect(),
        )
    }

    /// Returns the traffic of a period up to now.
    #[must_use]
    pub fn traffic(&self, period: Period, now: Instant, totals: TrafficTotals) -> PeriodTraffic {
        let newest = self.sample(now, SystemTime::now(), totals);
        let samples = self.samples_of(period);
        let is_inside =
            |sample: &&TrafficSample| newest.at.saturating_sub(sample.at) <= period.length();
        let first = samples.iter().find(is_inside).or(samples.back());
        let first = first.expect("there is always a sample");
        PeriodTraffic {
            period,
            covered: newest.at.saturating_sub(first.at),
            totals: newest.totals.since(&first.totals),
        }
    }

    /// Returns the columns of a chart: times in seconds since 1970, hit ratios by requests and by
    /// bytes, bytes sent and bytes received.
    #[must_use]
    pub fn chart(&self, period: Period, now: Instant, totals: TrafficTotals) -> Value {
        let newest = self.sample(now, SystemTime::now(), totals);
        let samples = self.samples_of(period).iter().copied();
        let inside =
            samples.filter(|sample| newest.at.saturating_sub(sample.at) <= period.length());
        let mut ends = match period {
            Period::Day => spaced(inside, DAY_POINT_INTERVAL),
            Period::Hour | Period::Month => inside.collect(),
        };
        ends.push(newest);
        let points = || {
            ends.windows(2)
                .map(|pair| pair[1].totals.since(&pair[0].totals))
        };
        let dates = ends.iter().skip(1).map(|sample| unix_seconds(sample.date));
        json!([
            dates.collect::<Vec<_>>(),
            points().map(|point| point.hit_ratio()).collect::<Vec<_>>(),
            points()
                .map(|point| point.byte_hit_ratio())
                .collect::<Vec<_>>(),
            points().map(|point| point.sent_bytes).collect::<Vec<_>>(),
            points()
                .map(|point| point.received_bytes)
                .collect::<Vec<_>>(),
        ])
    }

    /// Returns the date of the oldest sample of a period.
    #[must_use]
    pub fn known_since(&self) -> SystemTime {
        let first = self.hours.front();
        first.map_or(SystemTime::UNIX_EPOCH, |sample| sample.date)
    }

    fn sample(&self, now: Instant, date: SystemTime, totals: TrafficTotals) -> TrafficSample {
        TrafficSample {
            at: TIMELINE_START + now.saturating_duration_since(self.started),
            date,
            totals: self.base.plus(&totals),
        }
    }

    fn samples_of(&self, period: Period) -> &VecDeque<TrafficSample> {
        match period {
            Period::Hour | Period::Day => &self.minutes,
            Period::Month => &self.hours,
        }
    }
}

/// Returns a sample of an earlier process. Returns `None` if it is too old, or of the future
/// because the clock was changed.
fn restore(stored: &StoredSample, now: SystemTime) -> Option<TrafficSample> {
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(stored.unix_seconds))?;
    let age = now.duration_since(date).ok()?;
    Some(TrafficSample {
        at: TIMELINE_START.checked_sub(age)?,
        date,
        totals: stored.totals,
    })
}

fn unix_seconds(date: SystemTime) -> u64 {
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_secs()
}

/// Returns samples that are at least `interval` apart, the first one included.
fn spaced(samples: impl Iterator<Item = TrafficSample>, interval: Duration) -> Vec<TrafficSample> {
    let mut kept: Vec<TrafficSample> = Vec::new();
    for sample in samples {
        let last = kept.last();
        if last.is_none_or(|last| sample.at.saturating_sub(last.at) >= interval) {
            kept.push(sample);
        }
    }
    kept
}

fn push_if_due(
    samples: &mut VecDeque<TrafficSample>,
    sample: TrafficSample,
    interval: Duration,
    most: usize,
) {
    let is_due = samples
        .back()
        .is_none_or(|last| sample.at.saturating_sub(last.at) >= interval);
    if is_due {
        if samples.len() == most {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(downloads: u64, hits: u64) -> TrafficTotals {
        TrafficTotals {
            downloads,
            hits,
            ..TrafficTotals::default()
        }
    }

    #[test]
    fn period_counts_what_lies_inside() {
        let (start, date) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut series = TrafficSeries::new(start, date, None);
        // One download a minute, of which those of the first two hours are misses.
        let at = |minute: u64| start + SAMPLE_INTERVAL * u32::try_from(minute).unwrap();
        for minute in 1..=180 {
            series.add(at(minute), date, totals(minute, minute.saturating_sub(120)));
        }
        let now = totals(180, 60);
        let hour = series.traffic(Period::Hour, at(180), now);
        assert_eq!((hour.totals.downloads, hour.totals.hits), (60, 60));
        assert_eq!(hour.covered, Duration::from_hours(1));
        let day = series.traffic(Period::Day, at(180), now);
        assert_eq!((day.totals.downloads, day.totals.hits), (180, 60));
        assert_eq!(day.covered, Duration::from_hours(3));
        let chart = series.chart(Period::Hour, at(180), now);
        assert_eq!(chart[0].as_array().unwrap().len(), 61);
        assert_eq!(chart[1][0], 1.0);
        assert!(chart[2][0].is_null(), "there were no bytes");
    }

    #[test]
    fn samples_are_bounded() {
        let (start, date) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut series = TrafficSeries::new(start, date, None);
        for minute in 1..=5000 {
            series.add(start + SAMPLE_INTERVAL * minute, date, totals(1, 0));
            series.add(start + SAMPLE_INTERVAL * minute, date, totals(1, 0));
        }
        assert_eq!(series.minutes.len(), MAX_MINUTES);
        assert_eq!(series.hours.len(), 5000 / 60 + 1);
    }

    #[test]
    fn later_process_goes_on() {
        let start = Instant::now();
        let date = SystemTime::UNIX_EPOCH + Duration::from_hours(400_000);
        let mut series = TrafficSeries::new(start, date, None);
        for minute in 1..=300 {
            let at = SAMPLE_INTERVAL * minute;
            let count = u64::from(minute);
            series.add(start + at, date + at, totals(count, count));
        }
        let end = SAMPLE_INTERVAL * 300 + Duration::from_secs(30);
        let history = series.history(start + end, date + end, totals(305, 300));
        assert!(history.day.len() <= MAX_DAY_POINTS && history.month.len() <= MAX_HOURS);
        // Twenty minutes later, with counts from zero.
        let began = date + end + Duration::from_mins(20);
        let mut series = TrafficSeries::new(start, began, Some(&history));
        let later = start + Duration::from_mins(10);
        series.add(later, began + Duration::from_mins(10), totals(2, 0));
        let month = series.traffic(Period::Month, later, totals(5, 0));
        assert_eq!((month.totals.downloads, month.totals.hits), (310, 300));
        let day = series.traffic(Period::Day, later, totals(5, 0));
        assert_eq!((day.totals.downloads, day.totals.hits), (310, 300));
        let hour = series.traffic(Period::Hour, later, totals(5, 0));
        // The hour begins between two samples that are ten minutes apart.
        assert!((25..=35).contains(&hour.totals.downloads), "{hour:?}");
        let chart = series.chart(Period::Day, later, totals(5, 0));
        let dates = chart[0].as_array().unwrap();
        assert!(
            dates.is_sorted_by_key(serde_json::Value::as_u64),
            "{dates:?}"
        );
        assert_eq!(series.known_since(), date);
    }

    #[test]
    fn old_and_future_samples_are_dropped() {
        let (start, date) = (Instant::now(), SystemTime::UNIX_EPOCH + TIMELINE_START);
        let mut series = TrafficSeries::new(start, date, None);
        series.add(start + Duration::from_hours(1), date, totals(3, 0));
        let history = series.history(start, date, totals(3, 0));
        for wrong in [SystemTime::UNIX_EPOCH, date + TIMELINE_START * 2] {
            let series = TrafficSeries::new(start, wrong, Some(&history));
            for period in Period::ALL {
                let traffic = series.traffic(period, start, totals(4, 0));
                assert_eq!(traffic.totals.downloads, 4, "{traffic:?}");
            }
        }
    }
}
