//! Configuration section `[cache]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::DiskConfig;
use crate::freshness::ReusePolicy;
use crate::model::{ConfigError, HumanDuration, Size, check_folder};

/// Minimum scrub interval. A shorter one would scrub continuously.
const MIN_SCRUB_INTERVAL: Duration = Duration::from_secs(1);

/// Fraction of `max_size` that is left to unfinished bodies.
const UNFINISHED_SHARE: f64 = 0.1;

/// Response for an evicted target that returns other bytes when it is fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Requests fail until an operator accepts the new bytes.
    Refuse,
    /// The new bytes are served, and the operator is notified.
    Alert,
}

/// Configuration section `[cache]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Cache folder.
    pub dir: PathBuf,
    /// Maximum size of the objects in the folder.
    pub max_size: Size,
    /// Fraction of `max_size` at which eviction begins. Above 0.9 it is 0.9.
    pub high_watermark: f64,
    /// Fraction of `max_size` at which eviction ends.
    pub low_watermark: f64,
    /// Free space that Millpond leaves on the file system.
    pub min_free: Size,
    /// Inodes that Millpond leaves on the file system, at most 5 % of all.
    pub min_free_inodes: u64,
    /// Interval of the maintenance tasks.
    pub maintenance_interval: HumanDuration,
    /// Time after which a disk operation for a request is abandoned, and the request continues
    /// without the disk. If a write of a few bytes takes longer, the disk counts as failed.
    pub disk_timeout: HumanDuration,
    /// Time in which the service reads all objects once to find corrupt ones. Zero: never.
    pub scrub_interval: HumanDuration,
    /// Time for which an object that was hashed answers requests that state a digest. Zero: each
    /// answer hashes it.
    pub verified_for: HumanDuration,
    /// Time for which Millpond remembers that a target is stored.
    pub positive_ttl: HumanDuration,
    /// Time for which Millpond remembers that a target is not stored, or that its fetch failed.
    pub negative_ttl: HumanDuration,
    /// Maximum number of targets that Millpond remembers in this way.
    pub map_capacity: u64,
    /// Maximum number of small objects that stay open. The process sets it.
    #[serde(skip)]
    pub held_objects: usize,
    pub on_change: OnChange,
    /// Fraction of `max_size` that targets of class `revalidate` may take.
    pub revalidate_share: f64,
    /// Time behind its lifetime for which a response of class `revalidate` answers while the origin
    /// is away, if the origin states no other time and does not forbid it.
    pub stale_if_error: HumanDuration,
    /// Part of the time since `Last-Modified` for which a response without stated lifetime is
    /// fresh. With zero the origin is asked each time.
    pub heuristic_fraction: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("cache"),
            max_size: Size::gib(50),
            high_watermark: 0.80,
            low_watermark: 0.70,
            min_free: Size::gib(5),
            min_free_inodes: 10_000,
            maintenance_interval: HumanDuration::from_secs(3600),
            disk_timeout: HumanDuration::from_secs(20),
            scrub_interval: HumanDuration::from_secs(30 * 24 * 3600),
            verified_for: HumanDuration::from_secs(24 * 3600),
            positive_ttl: HumanDuration::from_secs(600),
            negative_ttl: HumanDuration::from_secs(30),
            map_capacity: 1_000_000,
            held_objects: 0,
            on_change: OnChange::Refuse,
            revalidate_share: 0.2,
            stale_if_error: HumanDuration::from_secs(30 * 24 * 3600),
            heuristic_fraction: 0.0,
        }
    }
}

impl Config {
    /// Checks the section.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_folder("cache.dir", &self.dir)?;
        let is_fraction = |value: f64| value > 0.0 && value <= 1.0;
        if !is_fraction(self.high_watermark) {
            return Err(invalid("high_watermark", "must be above 0 and at most 1"));
        }
        if !is_fraction(self.low_watermark) || self.low_watermark > self.high_watermark {
            let reason = "must be above 0 and at most cache.high_watermark";
            return Err(invalid("low_watermark", reason));
        }
        for (key, value) in [
            ("revalidate_share", self.revalidate_share),
            ("heuristic_fraction", self.heuristic_fraction),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(invalid(key, "must be at least 0 and at most 1"));
            }
        }
        if self.maintenance_interval.0.is_zero() {
            let reason = "must be greater than zero";
            return Err(invalid("maintenance_interval", reason));
        }
        if self.disk_timeout.0.is_zero() {
            return Err(invalid("disk_timeout", "must be greater than zero"));
        }
        let scrub_interval = self.scrub_interval.0;
        if !scrub_interval.is_zero() && scrub_interval < MIN_SCRUB_INTERVAL {
            let reason = "must be at least 1s, or 0s for never";
            return Err(invalid("scrub_interval", reason));
        }
        Ok(())
    }

    pub(super) fn reuse_policy(&self) -> ReusePolicy {
        ReusePolicy {
            heuristic_fraction: self.heuristic_fraction,
            stale_if_error: self.stale_if_error.0,
        }
    }

    /// Returns the settings of the cache folder, in bytes.
    pub(super) fn disk(&self) -> DiskConfig {
        // Unfinished bodies live in a part that finished objects leave free.
        let high_watermark = self.high_watermark.min(1.0 - UNFINISHED_SHARE);
        DiskConfig {
            dir: self.dir.clone(),
            max_size_bytes: self.max_size.bytes,
            high_watermark_bytes: fraction_of(self.max_size, high_watermark),
            low_watermark_bytes: fraction_of(self.max_size, self.low_watermark.min(high_watermark)),
            max_observed_bytes: fraction_of(self.max_size, self.revalidate_share),
            min_free_bytes: self.min_free.bytes,
            min_free_inodes: self.min_free_inodes,
            timeout: self.disk_timeout.0,
            held_objects: self.held_objects,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a watermark need not be exact, and both factors are positive"
)]
fn fraction_of(size: Size, fraction: f64) -> u64 {
    (size.bytes as f64 * fraction) as u64
}

fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::new(format!("cache.{key}"), reason)
}
