//! Logs of compacted records that are known not to exist.
//!
//! Most folders have few of these logs, and each target without records has to look for one. This
//! file must not know what a log holds. The main type is [`AbsentLogs`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::absence;
use crate::model::Key;

/// How long an absent log stays known. Another process may write it meanwhile. A target whose
/// records it holds then counts as never stored, until a fetch looks it up on the disk.
const MEMORY: Duration = Duration::from_secs(1);

/// Number of logs, one for each first byte of a key.
const LOGS: usize = 256;

/// Logs of compacted records that this process has found absent lately.
pub struct AbsentLogs {
    began: Instant,
    /// Milliseconds from `began` until a log was last found absent, plus one. Zero if it was not.
    absent_ms: [AtomicU64; LOGS],
}

impl AbsentLogs {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            absent_ms: [const { AtomicU64::new(0) }; LOGS],
        }
    }

    /// Returns whether the log of a target, which is at `path`, does not exist, without waiting for
    /// the disk. False does not mean that it exists.
    pub fn is_absent(&self, key: Key, path: impl FnOnce() -> PathBuf) -> bool {
        let absent_ms = &self.absent_ms[usize::from(key.as_bytes()[0])];
        let now_ms = 1 + self.began.elapsed().as_millis();
        let known_ms = u128::from(absent_ms.load(Ordering::Relaxed));
        if known_ms > 0 && now_ms.saturating_sub(known_ms) < MEMORY.as_millis() {
            return true;
        }
        let is_absent = absence::is_surely_absent(&path());
        if is_absent {
            let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
            absent_ms.store(now_ms, Ordering::Relaxed);
        }
        is_absent
    }
}
