//! Retry policy: delays between attempts, and circuit breakers.
//!
//! This module must not know what is retried. It reads no clock, so callers pass the time. Its
//! main types are [`Backoff`] and [`CircuitBreaker`].

mod backoff;
mod circuit_breaker;
mod circuit_settings;

pub use backoff::Backoff;
pub use circuit_breaker::CircuitBreaker;
pub use circuit_settings::{CircuitPermit, CircuitRejection, CircuitSettings, ProbeExpiry};
