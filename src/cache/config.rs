//! The section `[cache]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::DiskConfig;
use crate::model::{HumanDuration, Size};

/// Smallest `scrub_interval`. A shorter one would scrub continuously.
const MIN_SCRUB_INTERVAL: Duration = Duration::from_secs(1);

/// Reaction if an evicted object has other bytes when it is fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// The target is refused until an operator accepts the new bytes.
    Refuse,
    /// The new bytes are served, and an alert is sent.
    Alert,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cache folder.
    pub dir: PathBuf,
    /// Bound on the total size of the objects.
    pub max_size: Size,
    /// Share of `max_size` at which eviction begins.
    pub high_watermark: f64,
    /// Share of `max_size` at which eviction ends.
    pub low_watermark: f64,
    /// Space of the file system that stays free.
    pub min_free: Size,
    /// Interval of reindexing, eviction and bucket inventories.
    pub maintenance_interval: HumanDuration,
    /// Timeout of one disk operation, after which the request continues without the disk. A probe
    /// that takes longer marks the disk as unresponsive.
    pub disk_timeout: HumanDuration,
    /// Time in which the service scrubs all objects once. 0: never.
    pub scrub_interval: HumanDuration,
    /// Time for which memory says that a target is stored, without a look at the disk.
    pub positive_ttl: HumanDuration,
    /// Time for which memory says that a target is not stored. Also the time for which an origin's
    /// failure is cached.
    pub negative_ttl: HumanDuration,
    /// Bound on the targets whose look-up is kept in memory.
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
    /// Checks the values.
    ///
    /// # Errors
    /// A line that names the configuration key, if a value cannot be used.
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
            return Err("cache.maintenance_interval must be greater than zero".to_owned());
        }
        if self.disk_timeout.0.is_zero() {
            return Err("cache.disk_timeout must be greater than zero".to_owned());
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
