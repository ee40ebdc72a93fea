//! Tests of DNS failover.

mod config;
mod failover;
mod geography;
