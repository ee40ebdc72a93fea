//! Tests of rules, ports, addresses and secrets.

mod admission;
mod explain;
mod ports;
mod private_addresses;
mod rule_matching;
mod rules_file;
mod secrets;
