//! Circuit breakers of origin hosts, one for each scheme, host and port.
//!
//! Only the first attempt of a fetch asks for permission. A fetch in progress keeps its remaining
//! attempts, because its readers wait for it. The results of all attempts are recorded.
//!
//! The main type is [`HostCircuits`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::model::{Scheme, Target, lock};
use crate::origin::OriginError;
use crate::retry::{CircuitBreaker, CircuitPermit, CircuitRejection, CircuitSettings, ProbeExpiry};

/// Maximum number of hosts with a circuit. Failures of further hosts are not recorded.
const MAX_FAILING_HOSTS: usize = 10_000;

/// `Retry-After` for clients while a probe is in progress.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// Scheme, host and port of a target (RFC 6454, section 4). A client that asks for https at an http
/// port must not open the circuit of http.
type OriginKey = (Scheme, String, u16);

/// Circuits of all hosts that have failed since their last success.
#[derive(Debug)]
pub struct HostCircuits {
    settings: CircuitSettings,
    circuits: Mutex<HashMap<OriginKey, CircuitBreaker<OriginError>>>,
}

/// The one fetch that tests whether a host has recovered. If it is dropped without a result, the
/// next fetch becomes the probe.
#[derive(Debug)]
pub struct HostProbe<'a> {
    circuits: &'a HostCircuits,
    origin: OriginKey,
}

impl HostCircuits {
    /// A circuit opens for `cooldown` after `failure_threshold` consecutive failed attempts. If
    /// `failure_threshold` is 0, circuits never open.
    pub fn new(failure_threshold: u32, cooldown: Duration) -> Self {
        Self {
            settings: CircuitSettings {
                failure_threshold,
                cooldown,
                max_cooldown: cooldown,
                probe_expiry: ProbeExpiry::Never,
            },
            circuits: Mutex::default(),
        }
    }

    /// Asks for permission to send the first request of a fetch. The caller holds the probe, if it
    /// gets one, until the attempt has ended.
    ///
    /// # Errors
    /// [`OriginError::CircuitOpen`] if the circuit of the host is open.
    pub fn try_acquire(&self, target: &Target) -> Result<Option<HostProbe<'_>>, OriginError> {
        let origin = origin_of(target);
        let permit = match self.circuits().get_mut(&origin) {
            Some(circuit) => circuit.try_acquire(Instant::now()).map_err(circuit_open)?,
            None => CircuitPermit::Normal,
        };
        Ok((permit == CircuitPermit::Probe).then_some(HostProbe {
            circuits: self,
            origin,
        }))
    }

    /// Returns the same error as [`HostCircuits::try_acquire`], without becoming the probe.
    ///
    /// # Errors
    /// [`OriginError::CircuitOpen`] if the circuit of the host is open.
    pub fn check(&self, target: &Target) -> Result<(), OriginError> {
        let rejection = self
            .circuits()
            .get(&origin_of(target))
            .and_then(|circuit| circuit.rejection(Instant::now()));
        rejection.map_or(Ok(()), |rejection| Err(circuit_open(rejection)))
    }

    /// Whether the host of a target has failed and has not answered since. Clients are then not
    /// redirected to the host.
    pub fn is_open(&self, target: &Target) -> bool {
        self.circuits()
            .get(&origin_of(target))
            .is_some_and(CircuitBreaker::is_open)
    }

    /// Records that the host of a target has sent a response header.
    pub fn record_first_response(&self, target: &Target) {
        if let Some(circuit) = self.circuits().get_mut(&origin_of(target)) {
            circuit.record_first_response();
        }
    }

    /// Records a successful attempt at the host of a target.
    pub fn record_success(&self, target: &Target) {
        self.circuits().remove(&origin_of(target));
    }

    /// Records a failed attempt at the host of a target. The circuit stays open at least for the
    /// `Retry-After` of the error.
    pub fn record_failure(&self, target: &Target, error: &OriginError) {
        if self.settings.failure_threshold == 0 {
            return;
        }
        let (origin, now) = (origin_of(target), Instant::now());
        let mut circuits = self.circuits();
        if circuits.len() >= MAX_FAILING_HOSTS && !circuits.contains_key(&origin) {
            circuits.retain(|_, circuit| !circuit.is_disposable(now));
            if circuits.len() >= MAX_FAILING_HOSTS {
                return;
            }
        }
        circuits
            .entry(origin)
            .or_insert_with(|| CircuitBreaker::new(self.settings))
            .record_failure(error.clone(), error.retry_after().unwrap_or_default(), now);
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<OriginKey, CircuitBreaker<OriginError>>> {
        lock(&self.circuits)
    }
}

impl Drop for HostProbe<'_> {
    fn drop(&mut self) {
        if let Some(circuit) = self.circuits.circuits().get_mut(&self.origin) {
            circuit.abandon_probe(Instant::now());
        }
    }
}

fn circuit_open(rejection: CircuitRejection<OriginError>) -> OriginError {
    OriginError::CircuitOpen {
        last: Box::new(rejection.last_error),
        wait: rejection.retry_in.unwrap_or(PROBE_WAIT),
    }
}

fn origin_of(target: &Target) -> OriginKey {
    (target.scheme(), target.host().to_owned(), target.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(30);

    fn failure() -> OriginError {
        crate::origin::ConnectionFault::Truncated.into()
    }

    fn host(number: usize) -> Target {
        Target::parse(&format!("https://h{number}.example.org/x")).unwrap()
    }

    #[test]
    fn number_of_failing_hosts_is_bounded() {
        let circuits = HostCircuits::new(2, COOLDOWN);
        for _ in 0..2 {
            circuits.record_failure(&host(0), &failure());
        }
        for number in 1..MAX_FAILING_HOSTS + 10 {
            circuits.record_failure(&host(number), &failure());
        }
        assert!(circuits.circuits().len() <= MAX_FAILING_HOSTS);
        assert!(circuits.is_open(&host(0)) && circuits.check(&host(0)).is_err());
        circuits.record_success(&host(0));
        assert!(!circuits.is_open(&host(0)));
    }

    #[test]
    fn rejection_holds_last_error_and_retry_after() {
        let circuits = HostCircuits::new(1, COOLDOWN);
        let busy = OriginError::Status {
            status: 503,
            retry_after: Some(COOLDOWN * 3),
        };
        circuits.record_failure(&host(0), &busy);
        let rejection = circuits.check(&host(0)).unwrap_err();
        assert!(rejection.retry_after().is_some_and(|wait| wait > COOLDOWN));
        assert!(matches!(
            rejection,
            OriginError::CircuitOpen { last, .. } if matches!(*last, OriginError::Status { .. })
        ));
    }

    #[test]
    fn client_waits_fixed_time_for_a_probe() {
        let circuits = HostCircuits::new(1, Duration::ZERO);
        circuits.record_failure(&host(0), &failure());
        let probe = circuits.try_acquire(&host(0)).unwrap();
        assert!(probe.is_some());
        let rejection = circuits.check(&host(0)).unwrap_err();
        assert_eq!(rejection.retry_after(), Some(PROBE_WAIT));
        drop(probe);
        assert!(circuits.check(&host(0)).is_ok());
    }
}
