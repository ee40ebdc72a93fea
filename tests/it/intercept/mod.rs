//! Tests of intercepted hosts.

mod ca;
mod handshakes;
pub mod harness;
mod inner_requests;
mod leaves;
mod parity;
mod requests;
