//! Age and freshness lifetime (RFC 9111, section 4.2).

use std::time::{Duration, SystemTime};

use httpdate::parse_http_date;

use super::directives::{MAX_DELTA_SECONDS, delta_seconds};
use super::{Directives, StoredResponse};

/// Statuses that may be fresh without explicit information (RFC 9110, section 15.1). 206 is not
/// stored.
const HEURISTIC_STATUSES: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Largest heuristic lifetime (RFC 9111, section 4.2.2, suggests a warning behind a day).
const MAX_HEURISTIC_LIFETIME: Duration = Duration::from_hours(24);

/// How old a stored response is, and how long it is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    pub age: Duration,
    pub lifetime: Duration,
}

impl Freshness {
    /// Computes age and lifetime at `now`. `heuristic_fraction` is the part of the time since
    /// `Last-Modified` for which a response without explicit lifetime is fresh; zero disables it.
    #[must_use]
    pub fn compute(
        response: &StoredResponse<'_>,
        now: SystemTime,
        heuristic_fraction: f64,
    ) -> Self {
        Self {
            age: response.age(now),
            lifetime: response.explicit_lifetime().unwrap_or_else(|| {
                response
                    .heuristic_lifetime(heuristic_fraction)
                    .unwrap_or_default()
            }),
        }
    }

    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.lifetime > self.age
    }

    /// Returns the lifetime that is left, in seconds. It is negative if the response is stale.
    #[must_use]
    pub fn ttl_seconds(&self) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime).saturating_sub(seconds(self.age))
    }

    /// Returns how long the response has been stale; zero if it is fresh.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        self.age.saturating_sub(self.lifetime)
    }
}

impl StoredResponse<'_> {
    /// Returns the age at `now` (RFC 9111, section 4.2.3).
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        let since = |then| now.duration_since(then).unwrap_or_default();
        let exchange = self.received_at.duration_since(self.requested_at);
        let apparent = self.received_at.duration_since(self.date());
        let corrected = self.age_field() + exchange.unwrap_or_default();
        apparent.unwrap_or_default().max(corrected) + since(self.received_at)
    }

    /// Returns `Date`, or the time of arrival if the field is missing or invalid (RFC 9110, section
    /// 6.6.1).
    #[must_use]
    pub fn date(&self) -> SystemTime {
        let date = self.fields.first("date");
        date.and_then(|date| parse_http_date(date).ok())
            .unwrap_or(self.received_at)
    }

    /// Returns the lifetime that the origin states, if it states one (RFC 9111, section 4.2.1).
    #[must_use]
    pub fn explicit_lifetime(&self) -> Option<Duration> {
        let directives = Directives::from_response(self.fields);
        let stated = directives
            .seconds("s-maxage")
            .or_else(|| directives.seconds("max-age"));
        if stated.is_some() || directives.is_targeted() {
            return stated;
        }
        let mut lines = self.fields.all("expires");
        let expires = lines.next()?;
        let expires = std::str::from_utf8(expires).ok();
        let expires = expires.and_then(|date| parse_http_date(date).ok());
        // An invalid or contradictory time is in the past (RFC 9111, section 5.3).
        let expires = expires.filter(|_| lines.next().is_none());
        let lifetime = expires.and_then(|time| time.duration_since(self.date()).ok());
        Some(lifetime.unwrap_or_default())
    }

    fn heuristic_lifetime(&self, fraction: f64) -> Option<Duration> {
        let is_allowed = HEURISTIC_STATUSES.contains(&self.status)
            || Directives::from_response(self.fields).has("public");
        let modified = parse_http_date(self.fields.first("last-modified")?).ok()?;
        let unchanged = self.date().duration_since(modified).ok()?;
        is_allowed.then(|| {
            unchanged
                .mul_f64(fraction.clamp(0.0, 1.0))
                .min(MAX_HEURISTIC_LIFETIME)
        })
    }

    /// Returns the first member of `Age`. A value that is no number counts as absent, and
    /// one beyond [`MAX_DELTA_SECONDS`] makes the response stale.
    fn age_field(&self) -> Duration {
        let combined = self.fields.combined("age").unwrap_or_default();
        let first = combined.split(", ").next().and_then(delta_seconds);
        Duration::from_secs(first.unwrap_or(0).min(MAX_DELTA_SECONDS))
    }
}
