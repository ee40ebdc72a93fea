//! Tests of signals: graceful stop, immediate stop, and reload.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{
    Builder, Ended, Gate, Gateway, Origin, Reply, Scene, archive, assert_same, eventually,
};
use crate::http::tunnel::{listener, open, tunnelling_to};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[track_caller]
fn await_closed(gateway: &Gateway) {
    let addresses = [gateway.addr(), gateway.proxy_addr()];
    eventually("both ports are closed", || {
        addresses
            .iter()
            .all(|address| TcpStream::connect(address).is_err())
            .then_some(())
    });
}

#[test]
fn stop_finishes_responses_and_fetches() {
    for signal in ["TERM", "INT"] {
        let origin = Origin::start();
        let (body, other) = (archive(1, 200_000), archive(2, 100_000));
        let gate = Gate::new();
        origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
        origin.serve(
            "/background-1.0.tar.gz",
            Reply::file(&other).gate_at(50_000, &gate),
        );
        origin.serve("/passed.bin", Reply::ok(&other).gate_at(50_000, &gate));
        let mut gateway = Gateway::builder()
            .origin(&origin)
            .relay()
            .text("gateway.shutdown_grace", "20s")
            .start();
        let mut answer = gateway.get(&origin.url(PATH)).open();
        let mut passed = gateway.proxied("GET", &origin.url("/passed.bin")).open();
        assert_same(&answer.read(100_000), &body[..100_000]);
        assert_same(&passed.read(50_000), &other[..50_000]);
        drop(gateway.get(&origin.url("/background-1.0.tar.gz")).open());
        gateway.signal(signal);
        await_closed(&gateway);
        gate.open();
        let rest = answer.finish();
        assert_eq!(rest.ended, Ended::Whole, "a running download is completed");
        assert_same(&rest.body, &body[100_000..]);
        assert_same(&passed.finish().body, &other[50_000..]);
        gateway.assert_clean_exit();
        assert_eq!(
            gateway.records_of(&origin.url(PATH)).len(),
            1,
            "the fetch of the download is stored"
        );
        assert_eq!(
            gateway
                .records_of(&origin.url("/background-1.0.tar.gz"))
                .len(),
            1,
            "a fetch without clients is stored too"
        );
    }
}

#[test]
fn idle_gateway_stops_quickly() {
    let started = Instant::now();
    let mut gateway = Gateway::builder()
        .text("gateway.shutdown_grace", "25s")
        .start();
    let idle = TcpStream::connect(gateway.addr()).expect("the gateway accepts the connection");
    gateway.stop();
    drop(idle);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn stop_cuts_responses_after_shutdown_grace() {
    let gate = Gate::new();
    let (_origin, mut gateway, body, url) = Scene::of(PATH, archive(3, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .gateway(|builder| builder.relay().text("gateway.shutdown_grace", "300ms"))
        .start();
    let mut answer = gateway.get(&url).open();
    assert_same(&answer.read(100_000), &body[..100_000]);
    let started = Instant::now();
    gateway.signal("TERM");
    let rest = answer.finish();
    assert_eq!(
        rest.ended,
        Ended::Cut,
        "a response that outlasts the grace is cut"
    );
    let (code, log) = gateway.await_exit();
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(code, Some(0), "{}", log.text());
    assert!(
        gateway.records().is_empty() && gateway.objects().is_empty(),
        "an interrupted fetch publishes nothing"
    );
    assert!(gateway.staged().is_empty(), "{:?}", gateway.staged());
}

#[test]
fn second_signal_exits_at_once() {
    let gate = Gate::new();
    let (_origin, mut gateway, body, url) = Scene::of(PATH, archive(4, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .gateway(|builder| builder.relay().text("gateway.shutdown_grace", "1h"))
        .start();
    let mut answer = gateway.get(&url).open();
    assert_same(&answer.read(100_000), &body[..100_000]);
    gateway.signal("TERM");
    await_closed(&gateway);
    gateway.signal("TERM");
    gateway.await_exit();
    assert_eq!(answer.finish().ended, Ended::Cut);
    gateway.restart();
    assert!(gateway.staged().is_empty(), "{:?}", gateway.staged());
    assert!(gateway.records().is_empty());
    gate.open();
    gateway.assert_serves(&url, &body);
}

#[test]
fn tunnel_does_not_block_stop_beyond_grace() {
    let (listener, address) = listener();
    let mut gateway = tunnelling_to(address)
        .text("gateway.shutdown_grace", "300ms")
        .start();
    let (client, server) = open(&gateway, &listener);
    gateway.stop();
    drop((client, server));
}

#[test]
fn sighup_loads_valid_configuration() {
    let (_origin, mut gateway, body, url) = Scene::of(PATH, archive(5, 5000))
        .gateway(Builder::relay)
        .start();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.reload(|builder| builder.set("policy.deny_hosts", "[\"127.0.0.1\"]"));
    let refused = eventually("the new rules are in force", || {
        Some(gateway.get(&url).send()).filter(|answer| answer.status != 200)
    });
    refused.assert_problem(403);
    gateway.reload(|builder| builder.set("policy.deny_hosts", "[]"));
    let answer = eventually("the old rules are in force again", || {
        Some(gateway.get(&url).send()).filter(|answer| answer.status != 403)
    });
    answer.assert_body(200, &body);
}

#[test]
fn invalid_file_on_sighup_keeps_old_configuration() {
    let (_origin, mut gateway, body, url) = Scene::of(PATH, archive(6, 5000))
        .gateway(Builder::relay)
        .start();
    fs::write(
        gateway.file(),
        "[policy]\ndeny_hosts = [\"127.0.0.1\"]\nno_such_key = 1\n",
    )
    .expect("the file can be written");
    gateway.signal("HUP");
    gateway.log().wait_for("the bad file", |event| {
        matches!(event["level"].as_str(), Some("WARN" | "ERROR"))
            && event.to_string().contains("no_such_key")
    });
    gateway.assert_serves(&url, &body);
    fs::remove_file(gateway.file()).expect("the file exists");
    gateway.signal("HUP");
    gateway.log().wait_for_many("the missing file", 2, |event| {
        matches!(event["level"].as_str(), Some("WARN" | "ERROR"))
    });
    gateway.assert_serves(&url, &body);
    // Millpond still reloads a valid file afterwards.
    gateway.reload(|builder| builder.set("policy.deny_suffixes", "[\".tar.gz\"]"));
    eventually("the better file is in force", || {
        (gateway.get(&url).send().status == 403).then_some(())
    });
}

#[test]
fn reload_does_not_interrupt_running_responses() {
    let gate = Gate::new();
    let (origin, mut gateway, body, url) = Scene::of(PATH, archive(7, 100_000))
        .reply(|file| file.gate_at(50_000, &gate))
        .gateway(Builder::relay)
        .start();
    let mut answer = gateway.get(&url).open();
    assert_same(&answer.read(50_000), &body[..50_000]);
    gateway.reload(|builder| builder.set("policy.deny_hosts", "[\"localhost\"]"));
    eventually("the new rules are in force", || {
        (gateway.get(&origin.named_url("/other.html")).send().status == 403).then_some(())
    });
    gate.open();
    assert_same(&answer.finish().body, &body[50_000..]);
    gateway.await_stored(&url);
}
