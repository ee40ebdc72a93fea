//! Hosts that keep failing are left alone for a while: a circuit breaker for each scheme, host and
//! port.
//!
//! Only the beginning of a fetch asks for leave. One that is under way goes on to the end of its
//! attempts: its followers hang on it, and what comes of it is news of the host.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::lock;
use crate::model::{Scheme, Target};
use crate::origin::OriginError;

/// How many hosts are known to fail. What further ones do is not remembered.
const MAX_FAILING_HOSTS: usize = 10_000;

/// What clients are told to wait while it is being found out whether a host is back.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// Scheme, host and port of a target (RFC 6454, section 4). A client that asks for https where http
/// is spoken must not open the circuit of http.
type OriginKey = (Scheme, String, u16);

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Attempts in a row that fail; 0: it never opens.
    pub failures: u32,
    pub cooldown: Duration,
}

/// One host's circuit. It knows the time by being told.
#[derive(Debug)]
enum Circuit {
    Closed {
        failures: u32,
    },
    /// Nobody asks the host until then. Who comes first afterwards is the probe.
    Open {
        until: Instant,
        last: OriginError,
    },
    /// Half open: a probe is out, and the others wait for what it finds.
    HalfOpen {
        last: OriginError,
    },
}

/// In what a fetch may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Normal,
    Probe,
}

impl Circuit {
    /// Leave to ask the host, or what it has failed with.
    fn try_acquire(&mut self, now: Instant) -> Result<Admission, OriginError> {
        if let Some(rejection) = self.rejection(now) {
            return Err(rejection);
        }
        let Self::Open { last, .. } = self else {
            return Ok(Admission::Normal);
        };
        *self = Self::HalfOpen { last: last.clone() };
        Ok(Admission::Probe)
    }

    /// What whoever comes is told, unless it may ask.
    fn rejection(&self, now: Instant) -> Option<OriginError> {
        let (last, wait) = match self {
            Self::Open { until, last } if now < *until => (last, *until - now),
            Self::HalfOpen { last } => (last, PROBE_WAIT),
            Self::Closed { .. } | Self::Open { .. } => return None,
        };
        Some(OriginError::CircuitOpen {
            last: Box::new(last.clone()),
            wait,
        })
    }

    /// The host has begun to answer. A probe that brings a long body must not keep the others
    /// waiting for its end; but if that fails, the host rests again.
    fn answered(&mut self, limits: Limits) {
        if let Self::HalfOpen { .. } = self {
            *self = Self::Closed {
                failures: limits.failures.saturating_sub(1),
            };
        }
    }

    fn failed(&mut self, error: &OriginError, now: Instant, limits: Limits) {
        match self {
            Self::Closed { failures } if *failures + 1 < limits.failures => *failures += 1,
            Self::Closed { .. } | Self::HalfOpen { .. } => {
                let cooldown = limits.cooldown.max(error.retry_after().unwrap_or_default());
                *self = Self::Open {
                    until: now + cooldown,
                    last: error.clone(),
                };
            }
            // It was asked before the circuit opened.
            Self::Open { .. } => {}
        }
    }

    /// The probe has come to nothing that says anything of the host. The next may be one at once.
    fn abandoned(&mut self, now: Instant) {
        if let Self::HalfOpen { last } = self {
            *self = Self::Open {
                until: now,
                last: last.clone(),
            };
        }
    }

    /// Whether there is nothing in it that the next fetch would need.
    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until, .. } => now >= *until,
            Self::HalfOpen { .. } => false,
        }
    }
}

/// The circuits of all hosts that have failed since they last did well.
#[derive(Debug)]
pub struct Breakers {
    limits: Limits,
    circuits: Mutex<HashMap<OriginKey, Circuit>>,
}

/// The one fetch that finds out whether a host is back. Dropped without a result, it leaves that to
/// the next.
#[derive(Debug)]
pub struct Probe<'a> {
    breakers: &'a Breakers,
    origin: OriginKey,
}

impl Breakers {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            circuits: Mutex::default(),
        }
    }

    /// Leave to begin to ask the host of a target. The probe is to be held for the length of the
    /// attempt.
    ///
    /// # Errors
    /// [`OriginError::CircuitOpen`] where the host is left alone.
    pub fn try_acquire(&self, target: &Target) -> Result<Option<Probe<'_>>, OriginError> {
        let origin = origin_of(target);
        let admission = match self.circuits().get_mut(&origin) {
            Some(circuit) => circuit.try_acquire(Instant::now())?,
            None => Admission::Normal,
        };
        Ok((admission == Admission::Probe).then_some(Probe {
            breakers: self,
            origin,
        }))
    }

    /// As [`Breakers::try_acquire`], without entering: there is something to be waited for first.
    ///
    /// # Errors
    /// [`OriginError::CircuitOpen`] where the host is left alone.
    pub fn check(&self, target: &Target) -> Result<(), OriginError> {
        let rejection = self
            .circuits()
            .get(&origin_of(target))
            .and_then(|circuit| circuit.rejection(Instant::now()));
        rejection.map_or(Ok(()), Err)
    }

    /// Whether nobody is to be sent to the host of a target: it rests, or has not done anything
    /// well since it rested.
    pub fn is_open(&self, target: &Target) -> bool {
        matches!(
            self.circuits().get(&origin_of(target)),
            Some(Circuit::Open { .. } | Circuit::HalfOpen { .. })
        )
    }

    /// The host of a target has begun to answer.
    pub fn answered(&self, target: &Target) {
        if let Some(circuit) = self.circuits().get_mut(&origin_of(target)) {
            circuit.answered(self.limits);
        }
    }

    /// The host of a target has done what can be asked of it.
    pub fn succeeded(&self, target: &Target) {
        self.circuits().remove(&origin_of(target));
    }

    pub fn failed(&self, target: &Target, error: &OriginError) {
        if self.limits.failures == 0 {
            return;
        }
        let (origin, now) = (origin_of(target), Instant::now());
        let mut circuits = self.circuits();
        if circuits.len() >= MAX_FAILING_HOSTS && !circuits.contains_key(&origin) {
            circuits.retain(|_, circuit| !circuit.is_over(now));
            if circuits.len() >= MAX_FAILING_HOSTS {
                return;
            }
        }
        circuits
            .entry(origin)
            .or_insert(Circuit::Closed { failures: 0 })
            .failed(error, now, self.limits);
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<OriginKey, Circuit>> {
        lock(&self.circuits)
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(circuit) = self.breakers.circuits().get_mut(&self.origin) {
            circuit.abandoned(Instant::now());
        }
    }
}

fn origin_of(target: &Target) -> OriginKey {
    (target.scheme(), target.host().to_owned(), target.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        failures: 3,
        cooldown: Duration::from_secs(30),
    };

    fn failure() -> OriginError {
        crate::origin::ConnectionFault::Truncated.into()
    }

    fn busy(seconds: u64) -> OriginError {
        OriginError::Status {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    /// A circuit that has just opened.
    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::Closed {
            failures: LIMITS.failures - 1,
        };
        circuit.failed(&failure(), now, LIMITS);
        circuit
    }

    /// How long whoever comes is told to wait; nothing if he may ask.
    fn wait(circuit: &Circuit, now: Instant) -> Option<Duration> {
        circuit
            .rejection(now)
            .and_then(|rejection| rejection.retry_after())
    }

    #[test]
    fn a_circuit_opens_at_the_last_of_so_many_failures() {
        let now = Instant::now();
        let mut circuit = Circuit::Closed { failures: 0 };
        for _ in 1..LIMITS.failures {
            circuit.failed(&failure(), now, LIMITS);
            assert!(matches!(circuit.try_acquire(now), Ok(Admission::Normal)));
        }
        circuit.failed(&failure(), now, LIMITS);
        let rejection = circuit.try_acquire(now).unwrap_err();
        assert!(
            matches!(rejection, OriginError::CircuitOpen { last, .. } if matches!(*last, OriginError::Unreachable(_)))
        );
        assert_eq!(wait(&circuit, now), Some(LIMITS.cooldown));
        assert_eq!(
            wait(&circuit, now + LIMITS.cooldown / 3),
            Some(LIMITS.cooldown * 2 / 3)
        );
    }

    #[test]
    fn after_the_rest_one_is_the_probe_and_the_others_wait() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + LIMITS.cooldown;
        assert!(matches!(circuit.try_acquire(later), Ok(Admission::Probe)));
        assert!(circuit.try_acquire(later).is_err());
        assert!(
            circuit.try_acquire(later + LIMITS.cooldown * 10).is_err(),
            "however long the probe takes"
        );
        assert_eq!(wait(&circuit, later), Some(PROBE_WAIT));
    }

    #[test]
    fn a_probe_that_fails_is_another_rest() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + LIMITS.cooldown;
        circuit.try_acquire(later).unwrap();
        circuit.failed(&failure(), later, LIMITS);
        assert_eq!(wait(&circuit, later), Some(LIMITS.cooldown));
    }

    #[test]
    fn a_probe_that_is_answered_lets_the_others_in_until_the_next_failure() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + LIMITS.cooldown;
        circuit.try_acquire(later).unwrap();
        circuit.answered(LIMITS);
        assert!(matches!(circuit.try_acquire(later), Ok(Admission::Normal)));
        circuit.failed(&failure(), later, LIMITS);
        assert!(
            circuit.try_acquire(later).is_err(),
            "the body of the probe was cut"
        );
    }

    #[test]
    fn a_probe_that_says_nothing_leaves_it_to_the_next() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + LIMITS.cooldown;
        circuit.try_acquire(later).unwrap();
        circuit.abandoned(later);
        assert!(matches!(circuit.try_acquire(later), Ok(Admission::Probe)));
        circuit.answered(LIMITS);
        circuit.abandoned(later);
        assert!(
            matches!(circuit.try_acquire(later), Ok(Admission::Normal)),
            "its end changes nothing any more"
        );
    }

    #[test]
    fn a_host_that_says_when_it_is_back_is_left_alone_until_then() {
        let now = Instant::now();
        for (asked_for, cooldown) in [(90, 90), (5, 30)] {
            let mut circuit = Circuit::Closed {
                failures: LIMITS.failures - 1,
            };
            circuit.failed(&busy(asked_for), now, LIMITS);
            assert_eq!(wait(&circuit, now), Some(Duration::from_secs(cooldown)));
        }
    }

    #[test]
    fn what_was_asked_before_it_opened_makes_no_rest_longer() {
        let now = Instant::now();
        let mut circuit = opened(now);
        circuit.failed(&busy(300), now + LIMITS.cooldown / 2, LIMITS);
        circuit.answered(LIMITS);
        assert_eq!(wait(&circuit, now), Some(LIMITS.cooldown));
    }

    #[test]
    fn so_many_hosts_are_remembered_and_those_that_rest_before_all_others() {
        let breakers = Breakers::new(Limits {
            failures: 2,
            ..LIMITS
        });
        let host =
            |number: usize| Target::parse(&format!("https://h{number}.example.org/x")).unwrap();
        for _ in 0..2 {
            breakers.failed(&host(0), &failure());
        }
        for number in 1..MAX_FAILING_HOSTS + 10 {
            breakers.failed(&host(number), &failure());
        }
        assert!(breakers.circuits().len() <= MAX_FAILING_HOSTS);
        assert!(breakers.is_open(&host(0)) && breakers.check(&host(0)).is_err());
        breakers.succeeded(&host(0));
        assert!(!breakers.is_open(&host(0)));
    }
}
