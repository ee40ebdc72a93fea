//! Limits that registries state for the requests of this gateway (RFC 6585, section 4, and the
//! fields `RateLimit-*`). A registry that limits requests is not asked until the time that it
//! states.
//!
//! The main type is [`RateLimits`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use super::table::ContainerRegistry;
use crate::gateway::{OriginAnswer, OriginError, RequestError};
use crate::model::lock;

/// Time for which a registry is not asked if it does not state one.
const DEFAULT_PAUSE: Duration = Duration::from_mins(1);

/// Longest time for which a registry is not asked. A wrong field must not switch it off for days.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// Bound on the registries. The table of the configuration has fewer.
const MAX_REGISTRIES: usize = 1000;

/// Smallest value of `RateLimit-Reset` that is a time. Smaller ones are seconds from now.
const MIN_TIME_SECONDS: u64 = 1_000_000_000;

/// Limits of one registry, as its last answers state them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Name of the registry in the configuration.
    pub registry: String,
    /// Requests in its window.
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    paused_until: Option<Instant>,
}

/// The limits of all registries.
#[derive(Debug, Default)]
pub struct RateLimits {
    by_base: Mutex<HashMap<String, RateLimit>>,
}

impl RateLimit {
    /// Returns the time for which the registry is not asked.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        let until = self.paused_until?;
        let pause = until.saturating_duration_since(Instant::now());
        Some(pause).filter(|pause| !pause.is_zero())
    }
}

impl RateLimits {
    /// Checks that a registry may be asked.
    ///
    /// # Errors
    /// [`RequestError::RegistryLimit`] with the time until it may be asked.
    pub fn check(&self, registry: &ContainerRegistry) -> Result<(), RequestError> {
        let by_base = lock(&self.by_base);
        let pause = by_base.get(registry.base()).and_then(RateLimit::pause);
        pause.map_or(Ok(()), |pause| {
            Err(RequestError::RegistryLimit(Some(pause)))
        })
    }

    /// Notes the limits that an answer states.
    pub fn note_answer(&self, registry: &ContainerRegistry, answer: &OriginAnswer) {
        let number = |name: &str| leading_number(answer.fields(name).next()?);
        let (limit, remaining) = (number("ratelimit-limit"), number("ratelimit-remaining"));
        let reset = number("ratelimit-reset").map(until_reset);
        let pause = if answer.status == 429 {
            let stated = number("retry-after").map(Duration::from_secs);
            let stated = stated.or_else(|| answer.retry_after()).or(reset);
            Some(stated.unwrap_or(DEFAULT_PAUSE))
        } else {
            reset.filter(|_| remaining == Some(0))
        };
        if limit.is_some() || remaining.is_some() || pause.is_some() {
            self.note(registry, (limit, remaining), pause);
        }
    }

    /// Notes the error of a request for content.
    pub fn note_error(&self, registry: &ContainerRegistry, error: &RequestError) {
        if let RequestError::Origin(OriginError::Status {
            status: 429,
            retry_after,
            ..
        }) = error
        {
            let pause = retry_after.unwrap_or(DEFAULT_PAUSE);
            self.note(registry, (None, None), Some(pause));
        }
    }

    /// Returns what registries have stated, by their names.
    #[must_use]
    pub fn list(&self) -> Vec<RateLimit> {
        let mut list: Vec<_> = lock(&self.by_base).values().cloned().collect();
        list.sort_by(|a, b| a.registry.cmp(&b.registry));
        list
    }

    fn note(
        &self,
        registry: &ContainerRegistry,
        (limit, remaining): (Option<u64>, Option<u64>),
        pause: Option<Duration>,
    ) {
        let mut by_base = lock(&self.by_base);
        if by_base.len() >= MAX_REGISTRIES {
            by_base.clear();
        }
        let known = by_base
            .entry(registry.base().to_owned())
            .or_insert_with(|| RateLimit {
                registry: registry.name().to_owned(),
                limit: None,
                remaining: None,
                paused_until: None,
            });
        known.limit = limit.or(known.limit);
        known.remaining = remaining.or(known.remaining);
        let Some(pause) = pause.map(|pause| pause.min(MAX_PAUSE)) else {
            return;
        };
        let until = Instant::now() + pause;
        if known.pause().is_none() {
            let (registry, seconds) = (registry.name(), pause.as_secs());
            tracing::warn!(
                registry,
                seconds,
                "registry limits requests, no request until then"
            );
        }
        known.paused_until = known.paused_until.max(Some(until));
    }
}

/// Returns the number before any parameters, such as `;w=21600`.
fn leading_number(value: &str) -> Option<u64> {
    let number = value.split([';', ',']).next()?;
    number.trim().parse().ok()
}

fn until_reset(seconds: u64) -> Duration {
    if seconds < MIN_TIME_SECONDS {
        return Duration::from_secs(seconds);
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(u64::from(u32::MAX)));
    at.duration_since(SystemTime::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_parameters() {
        for (value, number) in [
            ("100;w=21600", Some(100)),
            ("0", Some(0)),
            (" 7 , 8", Some(7)),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(leading_number(value), number, "{value}");
        }
    }

    #[test]
    fn reset_is_duration_or_time() {
        assert_eq!(until_reset(30), Duration::from_secs(30));
        assert_eq!(until_reset(MIN_TIME_SECONDS), Duration::ZERO);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let reset = until_reset(now.unwrap().as_secs() + 50);
        assert!((48..=50).contains(&reset.as_secs()), "{reset:?}");
        assert!(until_reset(u64::MAX) > MAX_PAUSE);
    }
}
