//! Histograms without a lock. The main type is [`Histogram`].

use std::time::Duration;

use crate::model::Counter;

/// Microseconds of a second, in which durations are recorded.
const MICROS_PER_SECOND: f64 = 1e6;

/// Upper bounds of the buckets of a histogram, and the unit of what it records.
#[derive(Debug, Clone, Copy)]
pub struct Buckets {
    /// In ascending order. Greater values count in a bucket without a bound.
    bounds: &'static [u64],
    /// Recorded units in one unit of the rendered values.
    units: f64,
}

/// Waits for the first byte of a response: 1 ms to 65 s, each four times the one before.
pub const FIRST_BYTE_BUCKETS: Buckets = Buckets {
    bounds: &[
        1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000, 4_096_000, 16_384_000, 65_536_000,
    ],
    units: MICROS_PER_SECOND,
};

/// Durations of transfers and fetches: 50 ms to 55 minutes, each four times the one before.
pub const TRANSFER_BUCKETS: Buckets = Buckets {
    bounds: &[
        50_000,
        200_000,
        800_000,
        3_200_000,
        12_800_000,
        51_200_000,
        204_800_000,
        819_200_000,
        3_276_800_000,
    ],
    units: MICROS_PER_SECOND,
};

/// Sizes of objects: 4 KiB to 8 GiB, each eight times the one before.
pub const SIZE_BUCKETS: Buckets = Buckets {
    bounds: &[
        4 << 10,
        32 << 10,
        256 << 10,
        2 << 20,
        16 << 20,
        128 << 20,
        1 << 30,
        8 << 30,
    ],
    units: 1.0,
};

/// Distribution of a value.
#[derive(Debug)]
pub struct Histogram {
    buckets: Buckets,
    /// One for each bound, and one for greater values.
    counts: Box<[Counter]>,
    /// In recorded units.
    sum: Counter,
}

/// Values of a histogram at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound of each bucket, and the number of values in it. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    pub sum: f64,
    pub count: u64,
}

impl Histogram {
    /// Makes an empty histogram.
    #[must_use]
    pub fn new(buckets: Buckets) -> Self {
        let count = buckets.bounds.len() + 1;
        Self {
            buckets,
            counts: (0..count).map(|_| Counter::default()).collect(),
            sum: Counter::default(),
        }
    }

    /// Records a value in the unit of the buckets.
    pub fn record(&self, value: u64) {
        let bucket = self.buckets.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].increment();
        self.sum.add(value);
    }

    /// Records a duration.
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns the present values.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let units = self.buckets.units;
        let bounds = self.buckets.bounds.iter();
        let bounds = bounds.map(|bound| as_float(*bound) / units);
        let counts: Vec<_> = self.counts.iter().map(Counter::get).collect();
        HistogramSnapshot {
            sum: as_float(self.sum.get()) / units,
            count: counts.iter().sum(),
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

/// Converts a count to the number type of Prometheus, which is exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
)]
#[must_use]
pub fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_contains_its_bound() {
        let histogram = Histogram::new(SIZE_BUCKETS);
        for size in [0, 4096, 4097, 32 << 10, (8 << 30) + 1] {
            histogram.record(size);
        }
        let snapshot = histogram.snapshot();
        let counts: Vec<_> = snapshot.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 2, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(snapshot.count, 5);
        let (last, _) = snapshot.buckets[8];
        assert!(last.is_infinite());
    }

    #[test]
    fn durations_are_rendered_in_seconds() {
        let histogram = Histogram::new(FIRST_BYTE_BUCKETS);
        histogram.record_duration(Duration::from_millis(1500));
        let snapshot = histogram.snapshot();
        assert!((snapshot.sum - 1.5).abs() < 1e-9, "{}", snapshot.sum);
        assert!((snapshot.buckets[0].0 - 0.001).abs() < 1e-9);
        assert_eq!(snapshot.buckets[6], (4.096, 1));
    }
}
