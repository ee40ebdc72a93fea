use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::DiskConfig;
use crate::model::{HumanDuration, Size};

/// More often would be all the time.
const MIN_SCRUB_INTERVAL: Duration = Duration::from_secs(1);

/// What becomes of a target whose bytes were evicted and are others when they are fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// It is refused until an operator accepts the new bytes.
    Refuse,
    /// The new bytes are served, and the operator is told.
    Alert,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub dir: PathBuf,
    pub max_size: Size,
    /// Share of `max_size` at which eviction begins.
    pub high_watermark: f64,
    /// Share of `max_size` at which it ends.
    pub low_watermark: f64,
    /// What is left free of the file system.
    pub min_free: Size,
    pub maintenance_interval: HumanDuration,
    /// How long one piece of work for a request may take the disk, before the request goes on
    /// without it. A disk that takes longer to write a few bytes counts as dead.
    pub disk_timeout: HumanDuration,
    /// Within what time the service reads everything once, to find what is rotten; 0: never.
    pub scrub_interval: HumanDuration,
    /// How long a target is believed to be here without a look.
    pub positive_ttl: HumanDuration,
    /// How long a target is believed to be absent without a look; also how long an origin's failure
    /// is remembered.
    pub negative_ttl: HumanDuration,
    /// Targets in the existence map.
    pub map_capacity: u64,
    pub on_change: OnChange,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("cache"),
            max_size: Size::gib(50),
            high_watermark: 0.80,
            low_watermark: 0.70,
            min_free: Size::gib(5),
            maintenance_interval: HumanDuration::from_secs(3600),
            disk_timeout: HumanDuration::from_secs(20),
            scrub_interval: HumanDuration::from_secs(30 * 24 * 3600),
            positive_ttl: HumanDuration::from_secs(600),
            negative_ttl: HumanDuration::from_secs(30),
            map_capacity: 1_000_000,
            on_change: OnChange::Refuse,
        }
    }
}

impl Config {
    /// # Errors
    /// A line that names the key, where values contradict each other.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        if !share(self.high_watermark) {
            return Err("cache.high_watermark must be above 0 and at most 1".to_owned());
        }
        if !share(self.low_watermark) || self.low_watermark > self.high_watermark {
            return Err(
                "cache.low_watermark must be above 0 and at most cache.high_watermark".to_owned(),
            );
        }
        if self.maintenance_interval.0.is_zero() {
            return Err("cache.maintenance_interval must be more than nothing".to_owned());
        }
        if self.disk_timeout.0.is_zero() {
            return Err("cache.disk_timeout must be more than nothing".to_owned());
        }
        let scrub_interval = self.scrub_interval.0;
        if !scrub_interval.is_zero() && scrub_interval < MIN_SCRUB_INTERVAL {
            return Err("cache.scrub_interval must be at least 1s, or 0s for never".to_owned());
        }
        Ok(())
    }

    /// The settings of the folder.
    pub(super) fn disk(&self) -> DiskConfig {
        DiskConfig {
            dir: self.dir.clone(),
            max_size_bytes: self.max_size.bytes,
            high_watermark_bytes: share_of(self.max_size, self.high_watermark),
            low_watermark_bytes: share_of(self.max_size, self.low_watermark),
            min_free_bytes: self.min_free.bytes,
            timeout: self.disk_timeout.0,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a size needs no exact byte, and both factors are positive"
)]
fn share_of(size: Size, share: f64) -> u64 {
    (size.bytes as f64 * share) as u64
}
