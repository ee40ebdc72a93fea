//! Tests of intercepted hosts.

mod ca;
mod handshakes;
pub mod harness;
mod leaves;
mod requests;
