//! Circuit breaker without a clock and without a lock. The main type is [`CircuitBreaker`].

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::circuit_settings::{CircuitPermit, CircuitRejection, CircuitSettings, ProbeExpiry};

/// Circuit breaker of one service. `E` is the error that rejected requests get.
///
/// The circuit opens after consecutive failures. After the cooldown it is half open: one request is
/// the probe, and further requests are rejected until the probe has a result.
#[derive(Debug)]
pub struct CircuitBreaker<E> {
    settings: CircuitSettings,
    backoff: Backoff,
    state: CircuitState<E>,
}

#[derive(Debug)]
enum CircuitState<E> {
    Closed {
        /// Consecutive failures.
        failures: u32,
    },
    Open {
        last_error: E,
        cooldown: Duration,
        until: Instant,
    },
    HalfOpen {
        last_error: E,
        cooldown: Duration,
        /// Time at which the next request becomes a probe.
        expires: Instant,
    },
}

impl<E: Clone> CircuitBreaker<E> {
    /// Returns a closed circuit.
    #[must_use]
    pub fn new(settings: CircuitSettings) -> Self {
        Self {
            settings,
            backoff: Backoff::new(settings.cooldown, settings.max_cooldown),
            state: CircuitState::Closed { failures: 0 },
        }
    }

    /// Asks for permission to send a request. The first request after the cooldown is the probe.
    ///
    /// # Errors
    /// [`CircuitRejection`] during the cooldown and while a probe is in progress.
    pub fn try_acquire(&mut self, now: Instant) -> Result<CircuitPermit, CircuitRejection<E>> {
        if let Some(rejection) = self.rejection(now) {
            return Err(rejection);
        }
        let (CircuitState::Open {
            last_error,
            cooldown,
            ..
        }
        | CircuitState::HalfOpen {
            last_error,
            cooldown,
            ..
        }) = &self.state
        else {
            return Ok(CircuitPermit::Normal);
        };
        let expires = match self.settings.probe_expiry {
            ProbeExpiry::After(deadline) => now + deadline,
            ProbeExpiry::AfterCooldown => now + *cooldown,
        };
        self.state = CircuitState::HalfOpen {
            last_error: last_error.clone(),
            cooldown: *cooldown,
            expires,
        };
        Ok(CircuitPermit::Probe)
    }

    /// Returns the rejection that a request would get now, or `None` if the request may be sent.
    #[must_use]
    pub fn rejection(&self, now: Instant) -> Option<CircuitRejection<E>> {
        let (last_error, until, is_known) = match &self.state {
            CircuitState::Closed { .. } => return None,
            CircuitState::Open {
                last_error, until, ..
            } => (last_error, *until, true),
            CircuitState::HalfOpen {
                last_error,
                expires,
                ..
            } => {
                let is_known = self.settings.probe_expiry == ProbeExpiry::AfterCooldown;
                (last_error, *expires, is_known)
            }
        };
        if until <= now {
            return None;
        }
        Some(CircuitRejection {
            last_error: last_error.clone(),
            retry_in: is_known.then(|| until - now),
        })
    }

    /// Records that the service has begun to respond. A half-open circuit closes, because a probe
    /// with a long body must not delay other requests. The next failure opens the circuit again.
    pub fn record_first_response(&mut self) {
        if matches!(self.state, CircuitState::HalfOpen { .. }) {
            self.state = CircuitState::Closed {
                failures: self.settings.failure_threshold.saturating_sub(1),
            };
        }
    }

    /// Records a success, which closes the circuit. Returns true if the circuit was not closed.
    pub fn record_success(&mut self) -> bool {
        let was_open = self.is_open();
        self.state = CircuitState::Closed { failures: 0 };
        self.backoff.reset();
        was_open
    }

    /// Records a failure. If the circuit opens, its cooldown is at least `min_cooldown`. Returns
    /// true if the circuit was closed and is open now.
    ///
    /// A failure changes nothing while the circuit is open, because its request was sent earlier.
    pub fn record_failure(&mut self, error: E, min_cooldown: Duration, now: Instant) -> bool {
        let was_closed = match &mut self.state {
            CircuitState::Open { .. } => return false,
            CircuitState::Closed { failures } => {
                *failures += 1;
                if *failures < self.settings.failure_threshold {
                    return false;
                }
                true
            }
            CircuitState::HalfOpen { .. } => false,
        };
        let cooldown = self.backoff.next_delay().max(min_cooldown);
        self.state = CircuitState::Open {
            last_error: error,
            cooldown,
            until: now + cooldown,
        };
        was_closed
    }

    /// Opens a closed circuit at once, whatever its number of failures.
    pub fn open(&mut self, error: E, now: Instant) {
        if let CircuitState::Closed { failures } = &mut self.state {
            *failures = self.settings.failure_threshold;
            self.record_failure(error, Duration::ZERO, now);
        }
    }

    /// Records that the probe ended without a result. The next request becomes the probe.
    pub fn abandon_probe(&mut self, now: Instant) {
        if let CircuitState::HalfOpen {
            last_error,
            cooldown,
            ..
        } = &self.state
        {
            self.state = CircuitState::Open {
                last_error: last_error.clone(),
                cooldown: *cooldown,
                until: now,
            };
        }
    }

    /// Whether the circuit is open or half open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, CircuitState::Closed { .. })
    }

    /// Whether the circuit rejects no request and waits for no probe, so that it can be forgotten.
    #[must_use]
    pub fn is_disposable(&self, now: Instant) -> bool {
        match &self.state {
            CircuitState::Closed { .. } => true,
            CircuitState::Open { until, .. } => now >= *until,
            CircuitState::HalfOpen { .. } => false,
        }
    }

    /// Returns the error that opened the circuit, or `None` if the circuit is closed.
    #[must_use]
    pub fn last_error(&self) -> Option<&E> {
        match &self.state {
            CircuitState::Closed { .. } => None,
            CircuitState::Open { last_error, .. } | CircuitState::HalfOpen { last_error, .. } => {
                Some(last_error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CircuitSettings = CircuitSettings {
        failure_threshold: 3,
        cooldown: Duration::from_secs(30),
        max_cooldown: Duration::from_secs(30),
        probe_expiry: ProbeExpiry::After(Duration::from_mins(10)),
    };

    const ERROR: &str = "connection reset";

    /// Returns a circuit that the next failure opens.
    fn one_failure_from_open() -> CircuitBreaker<&'static str> {
        let mut circuit = CircuitBreaker::new(SETTINGS);
        for _ in 1..SETTINGS.failure_threshold {
            assert!(!circuit.record_failure(ERROR, Duration::ZERO, Instant::now()));
        }
        circuit
    }

    /// Returns a circuit that has just opened.
    fn opened(now: Instant) -> CircuitBreaker<&'static str> {
        let mut circuit = one_failure_from_open();
        assert!(circuit.record_failure(ERROR, Duration::ZERO, now));
        circuit
    }

    /// Returns the time until the next probe, or `None` if a request may be sent.
    fn wait(circuit: &CircuitBreaker<&'static str>, now: Instant) -> Option<Duration> {
        circuit
            .rejection(now)
            .and_then(|rejection| rejection.retry_in)
    }

    #[test]
    fn circuit_opens_at_the_failure_threshold() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::new(SETTINGS);
        for _ in 1..SETTINGS.failure_threshold {
            assert!(!circuit.record_failure(ERROR, Duration::ZERO, now));
            assert_eq!(circuit.try_acquire(now), Ok(CircuitPermit::Normal));
        }
        assert!(circuit.record_failure(ERROR, Duration::ZERO, now));
        let rejection = circuit.try_acquire(now).unwrap_err();
        assert_eq!(rejection.last_error, ERROR);
        assert_eq!(wait(&circuit, now), Some(SETTINGS.cooldown));
        assert_eq!(
            wait(&circuit, now + SETTINGS.cooldown / 3),
            Some(SETTINGS.cooldown * 2 / 3)
        );
    }

    #[test]
    fn one_request_probes_after_the_cooldown() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + SETTINGS.cooldown;
        assert_eq!(circuit.try_acquire(later), Ok(CircuitPermit::Probe));
        assert!(circuit.try_acquire(later).is_err());
        let rejection = circuit
            .try_acquire(later + SETTINGS.cooldown * 10)
            .unwrap_err();
        assert_eq!(rejection.retry_in, None, "the probe reports its end");
        let deadline = later + Duration::from_mins(10);
        assert_eq!(circuit.try_acquire(deadline), Ok(CircuitPermit::Probe));
        assert!(circuit.try_acquire(deadline).is_err());
    }

    #[test]
    fn closed_circuit_opens_on_request() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::new(SETTINGS);
        circuit.open(ERROR, now);
        assert_eq!(wait(&circuit, now), Some(SETTINGS.cooldown));
        circuit.open(ERROR, now + SETTINGS.cooldown / 2);
        assert_eq!(wait(&circuit, now), Some(SETTINGS.cooldown), "open already");
    }

    #[test]
    fn failed_probe_opens_the_circuit_again() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + SETTINGS.cooldown;
        circuit.try_acquire(later).unwrap();
        assert!(!circuit.record_failure(ERROR, Duration::ZERO, later));
        assert_eq!(wait(&circuit, later), Some(SETTINGS.cooldown));
    }

    #[test]
    fn first_response_closes_until_the_next_failure() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + SETTINGS.cooldown;
        circuit.try_acquire(later).unwrap();
        circuit.record_first_response();
        assert_eq!(circuit.try_acquire(later), Ok(CircuitPermit::Normal));
        circuit.record_failure(ERROR, Duration::ZERO, later);
        assert!(
            circuit.try_acquire(later).is_err(),
            "the body of the probe was truncated"
        );
    }

    #[test]
    fn abandoned_probe_lets_the_next_request_probe() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + SETTINGS.cooldown;
        circuit.try_acquire(later).unwrap();
        circuit.abandon_probe(later);
        assert_eq!(circuit.try_acquire(later), Ok(CircuitPermit::Probe));
        circuit.record_first_response();
        circuit.abandon_probe(later);
        assert_eq!(
            circuit.try_acquire(later),
            Ok(CircuitPermit::Normal),
            "the end of an answered probe changes nothing"
        );
    }

    #[test]
    fn failure_may_ask_for_a_longer_cooldown() {
        let now = Instant::now();
        for (min_seconds, seconds) in [(90, 90), (5, 30)] {
            let mut circuit = one_failure_from_open();
            circuit.record_failure(ERROR, Duration::from_secs(min_seconds), now);
            assert_eq!(wait(&circuit, now), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn late_failure_does_not_extend_the_cooldown() {
        let now = Instant::now();
        let mut circuit = opened(now);
        circuit.record_failure(ERROR, Duration::from_mins(5), now + SETTINGS.cooldown / 2);
        circuit.record_first_response();
        assert_eq!(wait(&circuit, now), Some(SETTINGS.cooldown));
    }

    #[test]
    fn unreported_probe_expires_after_the_cooldown() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::new(CircuitSettings {
            failure_threshold: 1,
            probe_expiry: ProbeExpiry::AfterCooldown,
            ..SETTINGS
        });
        circuit.record_failure(ERROR, Duration::ZERO, now);
        let later = now + SETTINGS.cooldown;
        assert_eq!(circuit.try_acquire(later), Ok(CircuitPermit::Probe));
        assert_eq!(wait(&circuit, later), Some(SETTINGS.cooldown));
        assert_eq!(
            circuit.try_acquire(later + SETTINGS.cooldown),
            Ok(CircuitPermit::Probe)
        );
    }

    #[test]
    fn success_resets_the_doubled_cooldown() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::new(CircuitSettings {
            failure_threshold: 1,
            max_cooldown: SETTINGS.cooldown * 3,
            ..SETTINGS
        });
        let mut later = now;
        for factor in [1, 2, 3, 3] {
            circuit.record_failure(ERROR, Duration::ZERO, later);
            let cooldown = SETTINGS.cooldown * factor;
            assert_eq!(wait(&circuit, later), Some(cooldown));
            later += cooldown;
            circuit.try_acquire(later).unwrap();
        }
        assert!(circuit.record_success());
        assert!(!circuit.record_success());
        circuit.record_failure(ERROR, Duration::ZERO, later);
        assert_eq!(wait(&circuit, later), Some(SETTINGS.cooldown));
    }
}
