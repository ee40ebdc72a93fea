//! Circuit of one origin, for all clients and for single ones.
//!
//! A failed connection is a fault of the host, whichever client caused it. Silence after a request
//! may be one of the requested path, which a client chooses. The main type is [`HostCircuit`].

use std::time::{Duration, Instant};

use crate::model::{ClientNet, Key};
use crate::origin::OriginError;
use crate::retry::{CircuitBreaker, CircuitPermit, CircuitRejection, CircuitSettings};

/// Number of silent paths that open the circuit for the client that requested them.
const SILENT_PATHS: usize = 3;

/// Number of clients with an open circuit that open it for all.
const SILENCED_CLIENTS: usize = 2;

/// Maximum number of clients with silent paths. The oldest is forgotten.
const MAX_CLIENTS: usize = 16;

/// How long a silent path counts.
const SILENCE_WINDOW: Duration = Duration::from_mins(10);

/// Client of a fetch. `None` is Millpond itself, for a refresh or a repair.
pub type FetchClient = Option<ClientNet>;

/// Rejection with the error that opened the circuit.
pub type Rejection = CircuitRejection<OriginError>;

/// Circuit of one scheme, host and port.
#[derive(Debug)]
pub struct HostCircuit {
    settings: CircuitSettings,
    for_all: CircuitBreaker<OriginError>,
    silences: Vec<ClientSilence>,
}

/// Silent paths of one client.
#[derive(Debug)]
struct ClientSilence {
    client: FetchClient,
    /// Different targets, with the time of their last silence.
    paths: Vec<(Key, Instant)>,
    circuit: CircuitBreaker<OriginError>,
}

impl HostCircuit {
    pub fn new(settings: CircuitSettings) -> Self {
        Self {
            settings,
            for_all: CircuitBreaker::new(settings),
            silences: Vec::new(),
        }
    }

    /// Asks for permission to send a request for a client.
    ///
    /// # Errors
    /// [`CircuitRejection`] if the circuit is open for all or for the client.
    pub fn try_acquire(
        &mut self,
        client: FetchClient,
        now: Instant,
    ) -> Result<CircuitPermit, Rejection> {
        if let Some(rejection) = self.rejection(client, now) {
            return Err(rejection);
        }
        let for_all = self.for_all.try_acquire(now)?;
        let own = match self.silence_of(client) {
            Some(silence) => silence.circuit.try_acquire(now)?,
            None => CircuitPermit::Normal,
        };
        Ok(match (for_all, own) {
            (CircuitPermit::Normal, CircuitPermit::Normal) => CircuitPermit::Normal,
            _ => CircuitPermit::Probe,
        })
    }

    /// Returns the rejection that a request of the client would get now.
    pub fn rejection(&self, client: FetchClient, now: Instant) -> Option<Rejection> {
        self.breakers(client)
            .find_map(|breaker| breaker.rejection(now))
    }

    pub fn is_open(&self, client: FetchClient) -> bool {
        self.breakers(client).any(CircuitBreaker::is_open)
    }

    /// Whether requests of some client are held back.
    pub fn is_open_for_some(&self) -> bool {
        let mut silences = self.silences.iter();
        self.for_all.is_open() || silences.any(|silence| silence.circuit.is_open())
    }

    /// Returns the error that opened the circuit for all or for some client.
    pub fn open_error(&self) -> Option<&OriginError> {
        let silences = self.silences.iter().map(|silence| &silence.circuit);
        [&self.for_all]
            .into_iter()
            .chain(silences)
            .find_map(CircuitBreaker::last_error)
    }

    /// Whether nothing is lost if the circuit is forgotten.
    pub fn is_disposable(&self, now: Instant) -> bool {
        let silences = self.silences.iter().map(|silence| &silence.circuit);
        silences
            .chain([&self.for_all])
            .all(|breaker| breaker.is_disposable(now))
    }

    /// Records a connection that could not be opened.
    pub fn record_connect_failure(&mut self, error: &OriginError, now: Instant) {
        self.for_all
            .record_failure(error.clone(), Duration::ZERO, now);
    }

    /// Records that the host did not answer the request of a client for a path.
    pub fn record_silence(
        &mut self,
        client: FetchClient,
        path: Key,
        error: &OriginError,
        now: Instant,
    ) {
        if self.for_all.is_open() {
            // The probe was not answered.
            self.for_all
                .record_failure(error.clone(), Duration::ZERO, now);
        }
        self.silence_or_new(client).record(path, error, now);
        let silenced = self.silences.iter();
        let silenced = silenced.filter(|silence| silence.circuit.is_open()).count();
        if silenced >= SILENCED_CLIENTS {
            self.for_all.open(error.clone(), now);
        }
    }

    /// Records that the host has begun to answer a request of the client.
    pub fn record_first_response(&mut self, client: FetchClient) {
        self.for_all.record_first_response();
        if let Some(silence) = self.silence_of(client) {
            silence.circuit.record_first_response();
        }
    }

    /// Records that a probe of the client ended without a result.
    pub fn abandon_probe(&mut self, client: FetchClient, now: Instant) {
        self.for_all.abandon_probe(now);
        if let Some(silence) = self.silence_of(client) {
            silence.circuit.abandon_probe(now);
        }
    }

    /// Returns the breakers that apply to a client.
    fn breakers(&self, client: FetchClient) -> impl Iterator<Item = &CircuitBreaker<OriginError>> {
        let own = self.silences.iter();
        let own = own.filter(move |silence| silence.client == client);
        [&self.for_all]
            .into_iter()
            .chain(own.map(|silence| &silence.circuit))
    }

    fn silence_of(&mut self, client: FetchClient) -> Option<&mut ClientSilence> {
        self.silences
            .iter_mut()
            .find(|silence| silence.client == client)
    }

    fn silence_or_new(&mut self, client: FetchClient) -> &mut ClientSilence {
        let mut silences = self.silences.iter();
        let found = silences.position(|silence| silence.client == client);
        let index = if let Some(index) = found {
            index
        } else {
            if self.silences.len() >= MAX_CLIENTS {
                self.silences.remove(0);
            }
            self.silences
                .push(ClientSilence::new(client, self.settings));
            self.silences.len() - 1
        };
        &mut self.silences[index]
    }
}

impl ClientSilence {
    fn new(client: FetchClient, settings: CircuitSettings) -> Self {
        Self {
            client,
            paths: Vec::new(),
            circuit: CircuitBreaker::new(CircuitSettings {
                failure_threshold: 1,
                ..settings
            }),
        }
    }

    fn record(&mut self, path: Key, error: &OriginError, now: Instant) {
        self.paths
            .retain(|(own, at)| *own != path && *at + SILENCE_WINDOW > now);
        self.paths.push((path, now));
        let is_over = self.paths.len() >= SILENT_PATHS;
        if is_over {
            self.paths.remove(0);
        }
        if is_over || self.circuit.is_open() {
            self.circuit
                .record_failure(error.clone(), Duration::ZERO, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::Target;
    use crate::origin::{ConnectionFault, TimeoutPhase};
    use crate::retry::ProbeExpiry;

    const SETTINGS: CircuitSettings = CircuitSettings {
        failure_threshold: 2,
        cooldown: Duration::from_secs(30),
        max_cooldown: Duration::from_secs(30),
        probe_expiry: ProbeExpiry::After(Duration::from_secs(30)),
    };

    fn silence() -> OriginError {
        ConnectionFault::Timeout(TimeoutPhase::Response).into()
    }

    fn path(number: usize) -> Key {
        Key::new(&Target::parse(&format!("https://example.org/{number}")).unwrap())
    }

    fn client(number: u8) -> ClientNet {
        ClientNet::from_address(IpAddr::from([10, 0, 0, number]))
    }

    /// Records silence of `paths` for a client.
    fn record(circuit: &mut HostCircuit, number: u8, paths: &[usize], now: Instant) {
        for number_of_path in paths {
            circuit.record_silence(Some(client(number)), path(*number_of_path), &silence(), now);
        }
    }

    #[test]
    fn three_silent_paths_open_for_one_client() {
        let now = Instant::now();
        for (paths, is_open) in [
            (&[1, 1, 1, 1][..], false),
            (&[1, 2, 1, 2], false),
            (&[1, 2, 3], true),
            (&[1, 2, 2, 3], true),
        ] {
            let mut circuit = HostCircuit::new(SETTINGS);
            record(&mut circuit, 1, paths, now);
            assert_eq!(circuit.is_open(Some(client(1))), is_open, "{paths:?}");
            assert!(!circuit.is_open(Some(client(2))) && !circuit.is_open(None));
        }
    }

    #[test]
    fn old_silence_does_not_count() {
        let now = Instant::now();
        let mut circuit = HostCircuit::new(SETTINGS);
        record(&mut circuit, 1, &[1, 2], now);
        record(&mut circuit, 1, &[3], now + SILENCE_WINDOW);
        assert!(!circuit.is_open(Some(client(1))));
    }

    #[test]
    fn silence_of_two_clients_opens_for_all() {
        let now = Instant::now();
        let mut circuit = HostCircuit::new(SETTINGS);
        record(&mut circuit, 1, &[1, 2, 3], now);
        record(&mut circuit, 2, &[1, 2], now);
        assert!(!circuit.is_open(None));
        record(&mut circuit, 2, &[3], now);
        assert!(circuit.is_open(None));
        let later = now + SETTINGS.cooldown;
        let permit = circuit.try_acquire(None, later).unwrap();
        assert_eq!(permit, CircuitPermit::Probe);
        circuit.record_silence(None, path(9), &silence(), later);
        assert!(
            circuit.rejection(Some(client(7)), later).is_some(),
            "the probe failed"
        );
    }

    #[test]
    fn connect_failures_open_for_all() {
        let now = Instant::now();
        let mut circuit = HostCircuit::new(SETTINGS);
        for _ in 0..SETTINGS.failure_threshold {
            assert!(!circuit.is_open(None));
            circuit.record_connect_failure(&silence(), now);
        }
        assert!(circuit.is_open(None) && circuit.is_open(Some(client(1))));
    }

    #[test]
    fn number_of_clients_is_bounded() {
        let now = Instant::now();
        let mut circuit = HostCircuit::new(SETTINGS);
        for number in 0..=u8::MAX {
            record(&mut circuit, number, &[1], now);
        }
        assert_eq!(circuit.silences.len(), MAX_CLIENTS);
    }
}
