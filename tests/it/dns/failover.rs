//! Tests of DNS failover at a real DNS server. A node's addresses are withdrawn while it is not
//! ready, restored when it is, and the last one stays.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType::{A, AAAA, TXT};
use serde_json::Value;

use crate::harness::{
    Builder, DNS_KEY, DNS_NAME, DNS_SECRET, Disk, DnsProxy, Gate, Gateway, Named, Trouble, listen,
};

const OWN: &str = "192.0.2.11";
const OTHER: &str = "192.0.2.12";

/// Returns a node whose DNS server, or a gate before that server, is at `server`.
fn node_at(server: SocketAddr, own: &[&str]) -> Builder {
    Gateway::builder()
        .text("dns.server", &server.to_string())
        .text("dns.zone", "example.org")
        .text("dns.name", DNS_NAME)
        .set("dns.addresses", &format!("{own:?}"))
        .text("dns.tsig_name", DNS_KEY)
        .text("dns.tsig_secret", DNS_SECRET)
        .text("dns.withdraw_after", "100ms")
        .text("dns.restore_after", "100ms")
        .text("log.level", "debug")
}

fn node(named: &Named, own: &[&str]) -> Builder {
    node_at(named.address(), own)
}

/// Returns a node whose cache is on a disk with injected faults.
fn node_on(disk: &Disk, server: SocketAddr) -> Builder {
    node_at(server, &[OWN])
        .cache_in(disk.folder())
        .text("cache.disk_timeout", "1s")
}

fn tells(event: &Value, part: &str) -> bool {
    event["message"]
        .as_str()
        .is_some_and(|message| message.contains(part))
}

#[track_caller]
fn await_told(gateway: &Gateway, part: &str) -> Value {
    gateway.log().wait_for(part, |event| tells(event, part))
}

fn warnings_of(gateway: &Gateway, part: &str) -> usize {
    gateway
        .log()
        .events()
        .iter()
        .filter(|event| event["level"] == "WARN" && tells(event, part))
        .count()
}

#[test]
fn unready_node_is_withdrawn_and_restored() {
    for trouble in [Trouble::ReadOnly, Trouble::Hangs] {
        let disk = Disk::mount();
        let named = Named::start(&["A 192.0.2.11", "A 192.0.2.12", "TXT kept"]);
        let gateway = node_on(&disk, named.address()).start();
        disk.set(trouble);
        named.await_has(A, &[OTHER]);
        named.assert_has(TXT, &["kept"]);
        assert_eq!(
            named.ttl_seconds(A),
            300,
            "the TTL of the other addresses is kept"
        );
        gateway.request("GET", "/readyz").send().assert_status(503);
        disk.set(Trouble::Nothing);
        named.await_has(A, &[OWN, OTHER]);
        named.assert_has(TXT, &["kept"]);
    }
}

#[test]
fn last_address_stays_until_another_exists() {
    let disk = Disk::mount();
    let named = Named::start(&["A 192.0.2.11"]);
    let gateway = node_on(&disk, named.address()).start();
    disk.set(Trouble::ReadOnly);
    await_told(&gateway, "its address is the last one");
    named.assert_has(A, &[OWN]);
    named.add(OTHER);
    named.await_has(A, &[OTHER]);
    assert_eq!(
        warnings_of(&gateway, "its address is the last one"),
        1,
        "retries log no further warning"
    );
    disk.set(Trouble::Nothing);
}

#[test]
fn name_without_addresses_gets_the_node_addresses() {
    let named = Named::start(&["TXT kept"]);
    let _gateway = node(&named, &[OWN, OTHER]).text("dns.ttl", "45s").start();
    named.await_has(A, &[OWN, OTHER]);
    assert_eq!(named.ttl_seconds(A), 45);
    named.assert_has(TXT, &["kept"]);
}

#[test]
fn stop_withdraws_before_ports_close() {
    let named = Named::start(&["A 192.0.2.11", "A 192.0.2.12"]);
    let gate = Gate::new();
    let proxy = DnsProxy::before(&named, &gate);
    let mut gateway = node_at(proxy.address(), &[OWN])
        .text("gateway.shutdown_grace", "20s")
        .start();
    gateway.signal("TERM");
    gate.await_reached(1);
    gateway.request("GET", "/healthz").send().assert_status(200);
    gateway.request("GET", "/readyz").send().assert_status(503);
    named.assert_has(A, &[OWN, OTHER]);
    gate.open();
    gateway.assert_clean_exit();
    named.assert_has(A, &[OTHER]);
    gateway.restart();
    named.await_has(A, &[OWN, OTHER]);
}

#[test]
fn nodes_stopping_together_leave_one_address() {
    let own = ["192.0.2.11", "192.0.2.12", "192.0.2.13"];
    let named = Named::start(
        &own.map(|own| format!("A {own}"))
            .each_ref()
            .map(String::as_str),
    );
    let gate = Gate::new();
    let proxy = DnsProxy::before(&named, &gate);
    let mut gateways = own.map(|own| {
        node_at(proxy.address(), &[own])
            .text("gateway.shutdown_grace", "20s")
            .start()
    });
    for gateway in &gateways {
        gateway.signal("TERM");
    }
    // Each node has seen the addresses of all the others.
    gate.await_reached(own.len());
    gate.open();
    for gateway in &mut gateways {
        gateway.assert_clean_exit();
    }
    assert_eq!(named.has(A).len(), 1, "{:?}", named.has(A));
}

#[test]
fn update_based_on_stale_addresses_is_rejected() {
    let disk = Disk::mount();
    let named = Named::start(&["A 192.0.2.11", "A 192.0.2.12"]);
    let gate = Gate::new();
    let proxy = DnsProxy::before(&named, &gate);
    let gateway = node_on(&disk, proxy.address()).start();
    disk.set(Trouble::ReadOnly);
    gate.await_reached(1);
    // The other node leaves DNS meanwhile.
    named.remove(OTHER);
    gate.open();
    await_told(&gateway, "its address is the last one");
    named.assert_has(A, &[OWN]);
    disk.set(Trouble::Nothing);
}

#[test]
fn wrong_tsig_key_is_logged_once() {
    let other_secret = "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
    for (key, secret, cause) in [
        (DNS_KEY, other_secret, "BadSig"),
        ("no-key", DNS_SECRET, "BadKey"),
    ] {
        let named = Named::start(&["A 192.0.2.12"]);
        let wrong = node(&named, &[OWN])
            .text("dns.tsig_name", key)
            .text("dns.tsig_secret", secret);
        let mut gateway = wrong.start();
        let told = await_told(&gateway, "DNS update failed, will retry");
        assert!(
            told["error"]
                .as_str()
                .is_some_and(|error| error.contains(cause)),
            "{told}"
        );
        await_told(&gateway, "DNS update still failing");
        assert_eq!(
            warnings_of(&gateway, "DNS update failed"),
            1,
            "{}",
            gateway.log().text()
        );
        gateway.request("GET", "/readyz").send().assert_status(200);
        gateway.signal("TERM");
        let (code, log) = gateway.await_exit();
        assert_eq!(code, Some(0));
        assert!(
            !log.text().contains(secret),
            "the log shows the TSIG secret"
        );
        named.assert_has(A, &[OTHER]);
    }
}

#[test]
fn unreachable_dns_server_is_retried() {
    let mut named = Named::start(&["A 192.0.2.12"]);
    named.stop();
    let gateway = node(&named, &[OWN]).start();
    let told = await_told(&gateway, "DNS update failed, will retry");
    assert_eq!(told["level"], "WARN", "{told}");
    gateway.request("GET", "/readyz").send().assert_status(200);
    named.go_on();
    await_told(&gateway, "DNS updates work again");
    named.await_has(A, &[OWN, OTHER]);
}

#[test]
fn silent_dns_server_does_not_block_stop() {
    let silent = listen("127.0.0.1");
    let address = silent.local_addr().expect("a listener has an address");
    let mut gateway = node_at(address, &[OWN])
        .text("gateway.shutdown_grace", "1s")
        .start();
    let began = Instant::now();
    gateway.signal("TERM");
    let (code, log) = gateway.await_exit();
    assert_eq!(code, Some(0), "{}", log.text());
    assert!(
        log.text().contains("could not withdraw this node from DNS"),
        "{}",
        log.text()
    );
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn last_address_is_kept_per_address_family() {
    let named = Named::start_at(
        "::1",
        &["A 192.0.2.11", "AAAA 2001:db8::11", "AAAA 2001:db8::12"],
    );
    let mut gateway = node(&named, &[OWN, "2001:db8::11"]).start();
    gateway.stop();
    named.assert_has(AAAA, &["2001:db8::12"]);
    named.assert_has(A, &[OWN]);
    gateway.restart();
    named.await_has(AAAA, &["2001:db8::11", "2001:db8::12"]);
}

#[test]
fn cname_is_not_changed() {
    let named = Named::start(&["CNAME ns"]);
    let gateway = node(&named, &[OWN]).start();
    let told = await_told(&gateway, "DNS update failed, will retry");
    assert!(
        told["error"]
            .as_str()
            .is_some_and(|error| error.contains("alias")),
        "{told}"
    );
    assert_eq!(named.has(A).len(), 2, "the CNAME and its target stay");
}
