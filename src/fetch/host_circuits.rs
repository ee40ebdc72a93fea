//! Circuit breakers of origin hosts, one for each scheme, host and port.
//!
//! Only the first attempt of a fetch asks for permission. A fetch in progress keeps its remaining
//! attempts, because its readers wait for it. The results of all attempts are recorded. An error
//! status opens no circuit: it counts for its own target, in the negative cache.
//!
//! The main type is [`HostCircuits`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::host_circuit::{FetchClient, HostCircuit, Rejection};
use crate::model::{Key, Scheme, Target, lock};
use crate::origin::{HostFault, OriginError};
use crate::policy::Admitted;
use crate::retry::{CircuitPermit, CircuitSettings, ProbeExpiry};

/// Maximum number of hosts with a circuit. Failures of further hosts are not recorded.
const MAX_FAILING_HOSTS: usize = 10_000;

/// `Retry-After` for clients while a probe is in progress.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// Time after which a probe without a result no longer keeps other requests away.
const PROBE_DEADLINE: Duration = Duration::from_secs(30);

/// Scheme, host and port of a target (RFC 6454, section 4). A client that asks for https at an http
/// port must not open the circuit of http.
type OriginKey = (Scheme, String, u16);

/// Circuits of all hosts that have failed since their last success.
#[derive(Debug)]
pub struct HostCircuits {
    settings: CircuitSettings,
    circuits: Mutex<HashMap<OriginKey, HostCircuit>>,
}

/// A circuit that holds requests back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCircuit {
    /// Scheme, host and port.
    pub site: String,
    /// False if it is open for single clients.
    pub is_open_for_all: bool,
    /// Error that opened it.
    pub error: String,
}

/// The one fetch that tests whether a host has recovered. If it is dropped without a result, the
/// next fetch becomes the probe.
#[derive(Debug)]
pub struct HostProbe<'a> {
    circuits: &'a HostCircuits,
    origin: OriginKey,
    client: FetchClient,
}

impl HostCircuits {
    /// A circuit opens for `cooldown` after `failure_threshold` consecutive failed connections. If
    /// `failure_threshold` is 0, circuits never open.
    pub fn new(failure_threshold: u32, cooldown: Duration) -> Self {
        Self {
            settings: CircuitSettings {
                failure_threshold,
                cooldown,
                max_cooldown: cooldown,
                probe_expiry: ProbeExpiry::After(PROBE_DEADLINE),
            },
            circuits: Mutex::default(),
        }
    }

    /// Asks for permission to send the first request of a fetch. The caller holds the probe, if it
    /// gets one, until the attempt has ended.
    ///
    /// # Errors
    /// [`OriginError::CircuitOpen`] if the circuit of the host is open.
    pub fn try_acquire(&self, admitted: &Admitted) -> Result<Option<HostProbe<'_>>, OriginError> {
        let (origin, client) = (origin_of(admitted.target()), admitted.client());
        let permit = match self.circuits().get_mut(&origin) {
            Some(circuit) => circuit
                .try_acquire(client, Instant::now())
                .map_err(circuit_open)?,
            None => CircuitPermit::Normal,
        };
        Ok((permit == CircuitPermit::Probe).then_some(HostProbe {
            circuits: self,
            origin,
            client,
        }))
    }

    /// Returns the same error as [`HostCircuits::try_acquire`], without becoming the probe.
    ///
    /// # Errors
    /// [`OriginError::CircuitOpen`] if the circuit of the host is open.
    pub fn check(&self, admitted: &Admitted) -> Result<(), OriginError> {
        let rejection = self
            .circuits()
            .get(&origin_of(admitted.target()))
            .and_then(|circuit| circuit.rejection(admitted.client(), Instant::now()));
        rejection.map_or(Ok(()), |rejection| Err(circuit_open(rejection)))
    }

    /// Whether the host of a target has failed and has not answered since. The client is then not
    /// redirected to the host.
    pub fn is_open(&self, admitted: &Admitted) -> bool {
        self.circuits()
            .get(&origin_of(admitted.target()))
            .is_some_and(|circuit| circuit.is_open(admitted.client()))
    }

    /// Returns up to `limit` circuits that are open for some client.
    pub fn list_open(&self, limit: usize) -> Vec<OpenCircuit> {
        let circuits = self.circuits();
        let open = circuits
            .iter()
            .filter_map(|((scheme, host, port), circuit)| {
                let error = circuit.open_error()?;
                Some(OpenCircuit {
                    site: format!("{}://{host}:{port}", scheme.as_str()),
                    is_open_for_all: circuit.is_open(None),
                    error: error.to_string(),
                })
            });
        let mut open: Vec<_> = open.take(limit).collect();
        open.sort_by(|one, other| one.site.cmp(&other.site));
        open
    }

    /// Returns the number of hosts with a circuit that is open for some client.
    pub fn count_open(&self) -> usize {
        let circuits = self.circuits();
        let open = circuits
            .values()
            .filter(|circuit| circuit.is_open_for_some());
        open.count()
    }

    /// Records that the host of a target has sent a response header.
    pub fn record_first_response(&self, admitted: &Admitted) {
        if let Some(circuit) = self.circuits().get_mut(&origin_of(admitted.target())) {
            circuit.record_first_response(admitted.client());
        }
    }

    /// Records a successful attempt at the host of a target.
    pub fn record_success(&self, admitted: &Admitted) {
        self.circuits().remove(&origin_of(admitted.target()));
    }

    /// Records a failed attempt at the host of a target.
    pub fn record_failure(&self, admitted: &Admitted, fault: HostFault, error: &OriginError) {
        if self.settings.failure_threshold == 0 {
            return;
        }
        let (origin, now) = (origin_of(admitted.target()), Instant::now());
        let mut circuits = self.circuits();
        if circuits.len() >= MAX_FAILING_HOSTS && !circuits.contains_key(&origin) {
            circuits.retain(|_, circuit| !circuit.is_disposable(now));
            if circuits.len() >= MAX_FAILING_HOSTS {
                return;
            }
        }
        let circuit = circuits
            .entry(origin)
            .or_insert_with(|| HostCircuit::new(self.settings));
        match fault {
            HostFault::Connect => circuit.record_connect_failure(error, now),
            HostFault::Silence => {
                let path = Key::new(admitted.target());
                circuit.record_silence(admitted.client(), path, error, now);
            }
        }
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<OriginKey, HostCircuit>> {
        lock(&self.circuits)
    }
}

impl Drop for HostProbe<'_> {
    fn drop(&mut self) {
        if let Some(circuit) = self.circuits.circuits().get_mut(&self.origin) {
            circuit.abandon_probe(self.client, Instant::now());
        }
    }
}

fn circuit_open(rejection: Rejection) -> OriginError {
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
    use crate::limits::LimitsConfig;
    use crate::origin::{ConnectionFault, TimeoutPhase};
    use crate::policy::{self, Policy};

    const COOLDOWN: Duration = Duration::from_secs(30);

    fn fail(circuits: &HostCircuits, admitted: &Admitted) {
        let error = ConnectionFault::Timeout(TimeoutPhase::Connect).into();
        circuits.record_failure(admitted, HostFault::Connect, &error);
    }

    fn host(number: usize) -> Admitted {
        let config = policy::Config::default();
        let policy = Policy::new(config, Vec::new(), &[], LimitsConfig::default()).unwrap();
        let target = Target::parse(&format!("https://h{number}.example.org/x")).unwrap();
        policy.admit(target).unwrap()
    }

    #[test]
    fn number_of_failing_hosts_is_bounded() {
        let circuits = HostCircuits::new(1, COOLDOWN);
        fail(&circuits, &host(0));
        let open = CircuitSettings {
            failure_threshold: 2,
            ..circuits.settings
        };
        for number in 0..u16::try_from(MAX_FAILING_HOSTS).unwrap() {
            let origin = (Scheme::Http, format!("h{number}"), number);
            circuits.circuits().insert(origin, HostCircuit::new(open));
        }
        fail(&circuits, &host(1));
        assert!(circuits.circuits().len() <= MAX_FAILING_HOSTS);
        assert!(circuits.is_open(&host(0)) && circuits.check(&host(0)).is_err());
        circuits.record_success(&host(0));
        assert!(!circuits.is_open(&host(0)));
    }

    #[test]
    fn rejection_holds_the_last_error() {
        let circuits = HostCircuits::new(1, COOLDOWN);
        fail(&circuits, &host(0));
        let rejection = circuits.check(&host(0)).unwrap_err();
        assert!(rejection.retry_after().is_some_and(|wait| wait <= COOLDOWN));
        assert!(matches!(
            rejection,
            OriginError::CircuitOpen { last, .. } if matches!(*last, OriginError::Unreachable(_))
        ));
    }

    #[test]
    fn client_waits_fixed_time_for_a_probe() {
        let circuits = HostCircuits::new(1, Duration::ZERO);
        fail(&circuits, &host(0));
        let probe = circuits.try_acquire(&host(0)).unwrap();
        assert!(probe.is_some());
        let rejection = circuits.check(&host(0)).unwrap_err();
        assert_eq!(rejection.retry_after(), Some(PROBE_WAIT));
        drop(probe);
        assert!(circuits.check(&host(0)).is_ok());
    }
}
