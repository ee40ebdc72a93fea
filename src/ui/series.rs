//! Traffic of the recent past, as far as this process knows it.
//!
//! The samples are sums of the one ledger, so that a period is the difference of two of them. They
//! are lost at the end of the process. The main type is [`TrafficSeries`].

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::metrics::TrafficTotals;

/// Interval of the samples of the last day.
pub const SAMPLE_INTERVAL: Duration = Duration::from_mins(1);

/// Samples that are kept for the last day.
const MAX_MINUTES: usize = 24 * 60 + 1;

/// Samples that are kept for the last 30 days, one an hour.
const MAX_HOURS: usize = 30 * 24 + 1;

/// Samples of the last day that make one point of its chart.
const MINUTES_OF_DAY_POINT: usize = 10;

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
    /// Time that the sums cover. Shorter than the period if the process is younger.
    pub covered: Duration,
    pub totals: TrafficTotals,
}

#[derive(Debug, Clone, Copy)]
struct TrafficSample {
    at: Instant,
    date: SystemTime,
    totals: TrafficTotals,
}

/// Bounded samples of the ledger.
#[derive(Debug)]
pub struct TrafficSeries {
    minutes: VecDeque<TrafficSample>,
    hours: VecDeque<TrafficSample>,
}

impl TrafficSeries {
    /// Begins with sums of zero.
    #[must_use]
    pub fn new(now: Instant, date: SystemTime) -> Self {
        let first = TrafficSample {
            at: now,
            date,
            totals: TrafficTotals::default(),
        };
        Self {
            minutes: VecDeque::from([first]),
            hours: VecDeque::from([first]),
        }
    }

    /// Adds a sample if it is due.
    pub fn add(&mut self, now: Instant, date: SystemTime, totals: TrafficTotals) {
        let sample = TrafficSample {
            at: now,
            date,
            totals,
        };
        push_if_due(&mut self.minutes, sample, SAMPLE_INTERVAL, MAX_MINUTES);
        push_if_due(&mut self.hours, sample, Duration::from_hours(1), MAX_HOURS);
    }

    /// Returns the traffic of a period up to now.
    #[must_use]
    pub fn traffic(&self, period: Period, now: Instant, totals: TrafficTotals) -> PeriodTraffic {
        let samples = self.samples_of(period);
        let is_inside = |sample: &&TrafficSample| now.duration_since(sample.at) <= period.length();
        let first = samples.iter().find(is_inside).or(samples.back());
        let first = first.expect("there is always a sample");
        PeriodTraffic {
            period,
            covered: now.duration_since(first.at),
            totals: totals.since(&first.totals),
        }
    }

    /// Returns the columns of a chart: times in seconds since 1970, hit ratios by requests and by
    /// bytes, bytes sent and bytes received.
    #[must_use]
    pub fn chart(&self, period: Period, now: Instant, totals: TrafficTotals) -> Value {
        let samples = self.samples_of(period);
        let step = match period {
            Period::Day => MINUTES_OF_DAY_POINT,
            Period::Hour | Period::Month => 1,
        };
        let inside = samples
            .iter()
            .filter(|sample| now.duration_since(sample.at) <= period.length());
        let newest = TrafficSample {
            at: now,
            date: SystemTime::now(),
            totals,
        };
        let ends: Vec<TrafficSample> = inside.step_by(step).copied().chain([newest]).collect();
        let points = || {
            ends.windows(2)
                .map(|pair| pair[1].totals.since(&pair[0].totals))
        };
        let dates = ends.iter().skip(1).map(|sample| {
            let since_epoch = sample.date.duration_since(SystemTime::UNIX_EPOCH);
            since_epoch.unwrap_or_default().as_secs()
        });
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

    fn samples_of(&self, period: Period) -> &VecDeque<TrafficSample> {
        match period {
            Period::Hour | Period::Day => &self.minutes,
            Period::Month => &self.hours,
        }
    }
}

fn push_if_due(
    samples: &mut VecDeque<TrafficSample>,
    sample: TrafficSample,
    interval: Duration,
    most: usize,
) {
    let is_due = samples
        .back()
        .is_none_or(|last| sample.at.duration_since(last.at) >= interval);
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
        let mut series = TrafficSeries::new(start, date);
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
        let mut series = TrafficSeries::new(start, date);
        for minute in 1..=5000 {
            series.add(start + SAMPLE_INTERVAL * minute, date, totals(1, 0));
            series.add(start + SAMPLE_INTERVAL * minute, date, totals(1, 0));
        }
        assert_eq!(series.minutes.len(), MAX_MINUTES);
        assert_eq!(series.hours.len(), 5000 / 60 + 1);
    }
}
