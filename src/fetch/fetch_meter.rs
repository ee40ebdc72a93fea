//! Source, length, bytes and speed of a fetch. The main type is [`FetchMeter`].
//!
//! The fetch writes, and operators read. The fetch never waits for a reader: the lock is held for a
//! few assignments.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::memory_overflow::ReaderPositions;
use crate::model::lock;
use crate::policy::SourceKind;

/// Time over which the speed is measured.
const SPEED_WINDOW: Duration = Duration::from_secs(5);

/// Distance in time between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Bound on the samples of a fetch: those of the window, and the one before it.
const MAX_SAMPLES: usize = 11;

/// Source of the bytes of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrigin {
    /// A source of the policy.
    Source(SourceKind),
    /// Another process of the same cache folder fetches the target.
    OtherProcess,
    /// The object is copied from the bucket.
    Bucket,
}

/// Facts about a fetch at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterReading {
    /// `None` before the first request.
    pub origin: Option<ByteOrigin>,
    pub received_bytes: u64,
    /// `None` if the source did not state the length, or no head has arrived.
    pub length: Option<u64>,
    /// Over the last seconds.
    pub bytes_per_second: u64,
    /// Requests that read the body or wait for it.
    pub readers: usize,
}

/// Meter of one fetch.
#[derive(Debug)]
pub struct FetchMeter {
    readers: Arc<ReaderPositions>,
    state: Mutex<MeterState>,
}

#[derive(Debug, Default)]
struct MeterState {
    origin: Option<ByteOrigin>,
    length: Option<u64>,
    received_bytes: u64,
    /// When bytes arrived last.
    last_growth: Option<Instant>,
    samples: VecDeque<Sample>,
}

/// Received bytes at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    received_bytes: u64,
}

impl FetchMeter {
    /// Returns the meter of a fetch with these readers.
    pub fn new(readers: Arc<ReaderPositions>) -> Arc<Self> {
        Arc::new(Self {
            readers,
            state: Mutex::default(),
        })
    }

    pub fn set_origin(&self, origin: ByteOrigin) {
        lock(&self.state).origin = Some(origin);
    }

    pub fn set_length(&self, length: Option<u64>) {
        lock(&self.state).length = length;
    }

    /// Records how many bytes have arrived, counted from the start of the body.
    pub fn set_received(&self, received_bytes: u64) {
        lock(&self.state).set_received(received_bytes, Instant::now());
    }

    /// Returns the facts at `now`.
    pub fn read(&self, now: Instant) -> MeterReading {
        let state = lock(&self.state);
        MeterReading {
            origin: state.origin,
            received_bytes: state.received_bytes,
            length: state.length,
            bytes_per_second: state.bytes_per_second(now),
            readers: self.readers.count(),
        }
    }
}

impl MeterState {
    fn set_received(&mut self, received_bytes: u64, now: Instant) {
        if self.last_growth.is_none() {
            // The bytes before the first call may come from another process or an older attempt.
            self.samples.push_back(Sample {
                at: now,
                received_bytes: self.received_bytes,
            });
        }
        self.received_bytes = received_bytes;
        self.last_growth = Some(now);
        let last = self.samples.back().map(|sample| sample.at);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= SAMPLE_INTERVAL) {
            if self.samples.len() == MAX_SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(Sample {
                at: now,
                received_bytes,
            });
        }
    }

    /// Returns the speed since the last sample before the window, or since the first one.
    fn bytes_per_second(&self, now: Instant) -> u64 {
        let is_in_window = |at: Instant| now.saturating_duration_since(at) < SPEED_WINDOW;
        if !self.last_growth.is_some_and(is_in_window) {
            return 0;
        }
        let before = self.samples.iter().rev();
        let before = before.clone().find(|sample| !is_in_window(sample.at));
        let Some(base) = before.or(self.samples.front()) else {
            return 0;
        };
        let elapsed = now.saturating_duration_since(base.at).max(SAMPLE_INTERVAL);
        let grown = u128::from(self.received_bytes.saturating_sub(base.received_bytes));
        u64::try_from(grown * 1000 / elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: Duration = Duration::from_millis(1);

    #[test]
    fn speed_is_that_of_last_seconds() {
        let (mut state, start) = (MeterState::default(), Instant::now());
        // Ten seconds of 1,000 bytes a second, then ten of 50,000.
        for step in 1..=100_u64 {
            let at = start + 100 * MILLIS * u32::try_from(step).unwrap();
            state.set_received(100 * step, at);
        }
        let now = start + 10_000 * MILLIS;
        let speed = state.bytes_per_second(now);
        assert!((950..=1050).contains(&speed), "{speed}");
        for step in 1..=100_u64 {
            let at = now + 100 * MILLIS * u32::try_from(step).unwrap();
            state.set_received(10_000 + 5000 * step, at);
        }
        let now = now + 10_000 * MILLIS;
        let speed = state.bytes_per_second(now);
        assert!((47_500..=52_500).contains(&speed), "{speed}");
        assert!(state.samples.len() <= MAX_SAMPLES);
        // A fetch that gets nothing has no speed.
        assert_eq!(state.bytes_per_second(now + SPEED_WINDOW), 0);
    }

    #[test]
    fn first_bytes_have_speed() {
        let (mut state, start) = (MeterState::default(), Instant::now());
        assert_eq!(state.bytes_per_second(start), 0);
        state.set_received(1000, start);
        assert_eq!(state.bytes_per_second(start), 2000);
    }
}
