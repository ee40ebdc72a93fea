//! Cost of the client limits: memory for a million recent clients, and time per request.
//!
//!     cargo bench --bench limits

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use millpond::limits::{LimitsConfig, TransferKind};
use millpond::policy::{Config, Policy};

const CLIENTS: u64 = 1_000_000;

fn main() {
    let config = Config {
        allow_clients: vec!["::/0".parse().expect("a network")],
        ..Config::default()
    };
    // No client is idle long enough to be removed.
    let limits = LimitsConfig {
        requests_per_second: 1,
        ..LimitsConfig::default()
    };
    let policy = Policy::new(config, Vec::new(), &[], limits).expect("this configuration works");
    let before = resident_kib();
    let began = Instant::now();
    let mut passed = 0;
    for number in 0..CLIENTS {
        // Each client has its own network.
        let client = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number) << 64);
        let admitted = policy.admit_client(IpAddr::V6(client), TransferKind::Download);
        passed += u64::from(admitted.is_ok());
    }
    let each = began.elapsed() / u32::try_from(CLIENTS).expect("a million");
    let grown_mib = (resident_kib() - before) / 1024;
    println!("{passed} clients: {grown_mib} MiB, {each:?} per request");
    policy.prune_idle_clients();
    println!(
        "after pruning idle clients: {} MiB",
        (resident_kib().saturating_sub(before)) / 1024
    );
}

/// Returns the resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the status contains VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}
