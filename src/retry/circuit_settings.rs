//! Settings of a circuit breaker, and its decisions about requests. The main type is
//! [`CircuitSettings`]. It knows no clock.

use std::time::Duration;

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct CircuitSettings {
    /// Consecutive failures that open the circuit. 0 and 1 mean that the first one does.
    pub failure_threshold: u32,
    /// Cooldown after the circuit opens. It doubles each time that a probe fails.
    pub cooldown: Duration,
    /// Maximum of the cooldown, unless a failure asks for a longer one.
    pub max_cooldown: Duration,
    pub probe_expiry: ProbeExpiry,
}

/// When the next request becomes a probe although the last probe has reported no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeExpiry {
    /// After this time. The caller reports the end of every probe, with
    /// `CircuitBreaker::abandon_probe` if it has no result, but a probe may take long.
    After(Duration),
    /// After another cooldown, because the caller may drop a probe without a report.
    AfterCooldown,
}

/// Permission to send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitPermit {
    /// The circuit is closed.
    Normal,
    /// The circuit is half open, and this request is the only one.
    Probe,
}

/// Rejection of a request by an open or half-open circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitRejection<E> {
    /// Error that opened the circuit.
    pub last_error: E,
    /// Time until the next probe. `None` while a probe is in progress that will report its end.
    pub retry_in: Option<Duration>,
}
