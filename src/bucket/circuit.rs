//! Circuit breaker of the bucket. While the circuit is open, requests fail at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::BucketError;
use crate::retry::{CircuitBreaker, CircuitSettings, ProbeExpiry};

/// Cooldown after the first failure. It doubles with each failed probe.
const FIRST_COOLDOWN: Duration = Duration::from_secs(1);
const MAX_COOLDOWN: Duration = Duration::from_secs(30);

/// The first failure opens the circuit. A probe may be dropped with the client's request, so it
/// expires.
const SETTINGS: CircuitSettings = CircuitSettings {
    failure_threshold: 1,
    cooldown: FIRST_COOLDOWN,
    max_cooldown: MAX_COOLDOWN,
    probe_expiry: ProbeExpiry::AfterCooldown,
};

/// Circuit of one kind of request. Reads and writes have a circuit each, because they fail
/// independently.
pub struct BucketCircuit {
    circuit: Mutex<CircuitBreaker<String>>,
}

/// Change of a circuit after a result.
#[derive(Debug, PartialEq, Eq)]
pub enum Transition {
    /// The circuit opened because of this error.
    Opened(String),
    Closed,
}

impl Default for BucketCircuit {
    fn default() -> Self {
        Self {
            circuit: Mutex::new(CircuitBreaker::new(SETTINGS)),
        }
    }
}

impl BucketCircuit {
    /// Asks for permission to send a request. After each cooldown one request gets permission.
    ///
    /// # Errors
    /// [`BucketError::CircuitOpen`].
    pub fn try_acquire(&self, now: Instant) -> Result<(), BucketError> {
        match self.circuit().try_acquire(now) {
            Ok(_) => Ok(()),
            Err(_) => Err(BucketError::CircuitOpen),
        }
    }

    /// Records the result of a request.
    pub fn record<T>(&self, outcome: &Result<T, BucketError>, now: Instant) -> Option<Transition> {
        match outcome {
            Err(error) if error.is_bucket_wide() => {
                let error = error.to_string();
                self.circuit()
                    .record_failure(error.clone(), Duration::ZERO, now)
                    .then_some(Transition::Opened(error))
            }
            // The request was not sent.
            Err(BucketError::CircuitOpen | BucketError::LocalReadFailed(_)) => None,
            Ok(_) | Err(_) => self
                .circuit()
                .record_success()
                .then_some(Transition::Closed),
        }
    }

    /// Returns the error that opened the circuit, or `None` if the circuit is closed.
    pub fn last_error(&self) -> Option<String> {
        self.circuit().last_error().cloned()
    }

    /// Returns the time until the next request gets permission.
    pub fn cooldown_remaining(&self, now: Instant) -> Duration {
        self.circuit()
            .rejection(now)
            .and_then(|rejection| rejection.retry_in)
            .unwrap_or_default()
    }

    fn circuit(&self) -> MutexGuard<'_, CircuitBreaker<String>> {
        // Each change is one call of the circuit, so a panic leaves no partial change.
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Result<(), BucketError> {
        Err(BucketError::Unavailable("503".to_owned()))
    }

    #[test]
    fn failing_bucket_gets_one_request_per_cooldown() {
        let circuit = BucketCircuit::default();
        let now = Instant::now();
        assert!(matches!(
            circuit.record(&unavailable(), now),
            Some(Transition::Opened(_))
        ));
        assert!(circuit.try_acquire(now).is_err());
        let later = now + FIRST_COOLDOWN;
        assert!(circuit.try_acquire(later).is_ok());
        assert!(circuit.try_acquire(later).is_err(), "one probe at a time");
        assert_eq!(circuit.record(&unavailable(), later), None, "reported once");
        assert!(
            circuit.try_acquire(later + FIRST_COOLDOWN).is_err(),
            "the cooldown doubles"
        );
        assert_eq!(circuit.record(&Ok(()), later), Some(Transition::Closed));
        assert!(circuit.try_acquire(later).is_ok());
    }

    #[test]
    fn missing_object_does_not_open_the_circuit() {
        let circuit = BucketCircuit::default();
        assert_eq!(
            circuit.record::<()>(&Err(BucketError::NotFound), Instant::now()),
            None
        );
        assert!(circuit.try_acquire(Instant::now()).is_ok());
    }
}
