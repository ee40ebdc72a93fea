//! Whether a stored response answers a request (RFC 9111, section 4; RFC 5861).

use std::time::Duration;

use super::{Directives, Freshness, StoredResponse};
use crate::model::Fields;

/// Directives of an origin after which a stale response needs a successful validation (RFC 9111,
/// section 4.2.4).
const FORBIDS_STALE: [&str; 3] = ["no-cache", "must-revalidate", "proxy-revalidate"];

/// Limits that a client sets for a stored response (RFC 9111, section 5.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// No stored response without validation.
    pub must_validate: bool,
    /// The response to the request is not stored.
    pub must_not_store: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Duration,
    pub max_stale: Duration,
}

/// Settings of the operator about reuse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReusePolicy {
    /// Part of the time since `Last-Modified` for which a response without explicit lifetime is
    /// fresh, 0 to 1. Zero disables it.
    pub heuristic_fraction: f64,
    /// How long behind its lifetime a response may answer while the origin is away, if the origin
    /// says nothing else.
    pub stale_if_error: Duration,
}

/// Permitted use of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It answers without a request to the origin.
    Fresh,
    /// It answers, and is validated in the background.
    WhileRevalidating,
    /// It is validated first. `if_unreachable` says what answers if the origin is away.
    Validate { if_unreachable: Staleness },
}

/// Whether a stale response may answer while the origin is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    MayServe,
    MustNotServe,
}

impl RequestLimits {
    #[must_use]
    pub fn from_request(fields: &Fields) -> Self {
        let directives = Directives::from_request(fields);
        let max_stale = directives.seconds("max-stale");
        Self {
            must_validate: directives.has("no-cache"),
            must_not_store: directives.has("no-store"),
            max_age: directives.seconds("max-age"),
            min_fresh: directives.seconds("min-fresh").unwrap_or_default(),
            max_stale: max_stale.unwrap_or_default(),
        }
    }

    fn accept(&self, freshness: &Freshness, may_be_stale: bool) -> bool {
        let allowed = if may_be_stale {
            self.max_stale
        } else {
            Duration::ZERO
        };
        !self.must_validate
            && self.max_age.is_none_or(|limit| freshness.age <= limit)
            && freshness.age + self.min_fresh < freshness.lifetime + allowed
    }
}

impl StoredResponse<'_> {
    /// Decides about reuse by a computed freshness. `stale_if_error` is how long after its lifetime
    /// a response may answer while the origin is away, if the origin says nothing else.
    #[must_use]
    pub fn reuse(
        &self,
        limits: &RequestLimits,
        freshness: &Freshness,
        stale_if_error: Duration,
    ) -> Reuse {
        let directives = Directives::from_response(self.fields);
        let is_forbidden = FORBIDS_STALE.iter().any(|name| directives.has(name));
        // `s-maxage` includes `proxy-revalidate`, but an explicit window of the origin is newer.
        let may_be_stale = !is_forbidden && !directives.has("s-maxage");
        if !directives.has("no-cache") && limits.accept(freshness, may_be_stale) {
            return Reuse::Fresh;
        }
        let is_within = |window| !is_forbidden && freshness.staleness() <= window;
        let is_default_request = *limits == RequestLimits::default();
        let while_revalidating = directives.seconds("stale-while-revalidate");
        if is_default_request && while_revalidating.is_some_and(is_within) {
            return Reuse::WhileRevalidating;
        }
        let may_serve = match directives.seconds("stale-if-error") {
            Some(window) => is_within(window),
            None => may_be_stale && is_within(stale_if_error),
        };
        Reuse::Validate {
            if_unreachable: if may_serve {
                Staleness::MayServe
            } else {
                Staleness::MustNotServe
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::freshness::test_fields as fields;

    const DAY: Duration = Duration::from_hours(24);

    /// Decides about a response that arrived at the epoch, `seconds` later.
    fn reuse(response: &[(&str, &str)], seconds: u64, request: &[(&str, &str)]) -> Reuse {
        let stored = StoredResponse {
            status: 200,
            fields: &fields(response),
            requested_at: UNIX_EPOCH,
            received_at: UNIX_EPOCH,
        };
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        let freshness = Freshness::compute(&stored, now, 0.0);
        stored.reuse(
            &RequestLimits::from_request(&fields(request)),
            &freshness,
            30 * DAY,
        )
    }

    const SERVE: Reuse = Reuse::Validate {
        if_unreachable: Staleness::MayServe,
    };
    const NEVER: Reuse = Reuse::Validate {
        if_unreachable: Staleness::MustNotServe,
    };

    #[test]
    fn lifetime_ends_at_its_second() {
        for (response, last_fresh) in [
            (&[("cache-control", "max-age=10")][..], 9),
            (&[("cache-control", "max-age=1, s-maxage=10")], 9),
            (&[("cache-control", "max-age=10"), ("age", "4")], 5),
            (&[("cache-control", "max-age=10"), ("age", "abc")], 9),
            (&[("cache-control", "max-age=10"), ("age", "4, 1")], 5),
            (
                &[
                    ("cdn-cache-control", "max-age=10"),
                    ("cache-control", "no-cache"),
                ],
                9,
            ),
            (
                &[
                    ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
                    ("expires", "Thu, 01 Jan 1970 00:00:10 GMT"),
                ],
                9,
            ),
        ] {
            assert_eq!(
                reuse(response, last_fresh, &[]),
                Reuse::Fresh,
                "{response:?}"
            );
            assert_ne!(
                reuse(response, last_fresh + 1, &[]),
                Reuse::Fresh,
                "{response:?}"
            );
        }
    }

    #[test]
    fn unreadable_lifetime_is_over() {
        for response in [
            &[("expires", "0")][..],
            &[("expires", "Thu, 01 Jan 1970 00:00:10 UTC")],
            &[("expires", "Thu, 01 Jan 1970 0:00:10 GMT")],
            &[("expires", "Thu 01 Jan 1970 00:00:10 GMT")],
            &[("expires", "Thu,  01 Jan 1970 00:00:10 GMT")],
            &[
                ("expires", "Thu, 01 Jan 1970 00:00:10 GMT"),
                ("expires", "Thu, 01 Jan 1970 00:00:10 GMT"),
            ],
            &[
                ("cache-control", "max-age=x"),
                ("expires", "Thu, 01 Jan 1970 00:00:10 GMT"),
            ],
        ] {
            assert_eq!(reuse(response, 0, &[]), SERVE, "{response:?}");
        }
    }

    #[test]
    fn age_beyond_its_bound_is_stale() {
        let response = [
            ("cache-control", "max-age=99999999999"),
            ("age", "2147483648"),
        ];
        assert_ne!(reuse(&response, 0, &[]), Reuse::Fresh);
    }

    #[test]
    fn origin_decides_about_stale_responses() {
        for (directives, expected) in [
            ("max-age=1", SERVE),
            ("max-age=1, must-revalidate", NEVER),
            ("max-age=1, proxy-revalidate", NEVER),
            ("s-maxage=1", NEVER),
            ("no-cache", NEVER),
            ("max-age=1, stale-if-error=5", NEVER),
            ("max-age=1, stale-if-error=50", SERVE),
            (
                "max-age=1, stale-while-revalidate=50",
                Reuse::WhileRevalidating,
            ),
            ("max-age=1, stale-while-revalidate=5", SERVE),
            (
                "max-age=1, stale-while-revalidate=50, must-revalidate",
                NEVER,
            ),
        ] {
            assert_eq!(
                reuse(&[("cache-control", directives)], 20, &[]),
                expected,
                "{directives}"
            );
        }
    }

    #[test]
    fn client_can_ask_for_less_and_accept_more() {
        for (request, seconds, is_fresh) in [
            ("no-cache", 0, false),
            ("max-age=5", 5, true),
            ("max-age=5", 6, false),
            ("min-fresh=5", 4, true),
            ("min-fresh=5", 5, false),
            ("max-stale=5", 14, true),
            ("max-stale=5", 15, false),
        ] {
            let found = reuse(
                &[("cache-control", "max-age=10")],
                seconds,
                &[("cache-control", request)],
            );
            assert_eq!(
                found == Reuse::Fresh,
                is_fresh,
                "{request} after {seconds} s"
            );
        }
        let strict = [("cache-control", "max-age=10, must-revalidate")];
        assert_eq!(
            reuse(&strict, 11, &[("cache-control", "max-stale=50")]),
            NEVER
        );
    }
}
