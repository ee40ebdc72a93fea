//! Per-client limits for requests, downloads, tunnels and bandwidth. They do not
//! affect other clients.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Answer, Builder, Gate, Gateway, Origin, Reply, Request, all_at_once, archive, assert_same,
    eventually,
};
use crate::tunnel::{connect, listener, open, tunnelling_to};

const PATH: &str = "/pub/x-1.0.tar.gz";
const TRUSTED: &str = "[\"127.0.0.0/8\"]";

/// Returns a gateway that trusts `X-Forwarded-For` from the test and serves every client.
fn trusting(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("gateway.trusted_proxies", TRUSTED)
        .set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
}

/// Allows a burst of two requests, then one request per second.
fn two_at_once(builder: Builder) -> Builder {
    builder
        .set("limits.requests_per_second", "1")
        .set("limits.burst", "2")
}

fn from(gateway: &Gateway, client: &str) -> Request {
    gateway
        .request("GET", "/robots.txt")
        .header("X-Forwarded-For", client)
}

#[track_caller]
fn assert_over_limit(answer: &Answer) {
    answer.assert_problem(429);
    let seconds: u64 = answer
        .wants("retry-after")
        .parse()
        .expect("a number of seconds");
    assert!((1..=5).contains(&seconds), "Retry-After: {seconds}");
    answer.assert_cache(&["detail=over-limit"]);
}

#[test]
fn excess_requests_get_429_with_retry_after() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).start();
    let statuses: Vec<u16> = (0..3)
        .map(|_| from(&gateway, "10.0.0.1").send().status)
        .collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_over_limit(&from(&gateway, "10.0.0.1").send());
    assert_eq!(
        from(&gateway, "10.0.0.2").send().status,
        200,
        "another client is not limited"
    );
    eventually("the client may send requests again", || {
        (from(&gateway, "10.0.0.1").send().status == 200).then_some(())
    });
}

#[test]
fn ipv6_network_counts_as_one_client() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).start();
    for client in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"] {
        assert_eq!(from(&gateway, client).send().status, 200);
    }
    assert_over_limit(&from(&gateway, "2001:db8:0:1::3").send());
    assert_eq!(
        from(&gateway, "2001:db8:0:2::1").send().status,
        200,
        "another /64 has its own limit"
    );
    for client in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(from(&gateway, client).send().status, 200);
    }
    assert_over_limit(&from(&gateway, "10.0.0.1").send());
    assert_eq!(
        from(&gateway, "10.0.0.2").send().status,
        200,
        "each IPv4 address has its own limit"
    );
}

#[test]
fn proxy_port_has_same_limits() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 1000)));
    let (listener, address) = listener();
    let gateway = two_at_once(Gateway::builder().origin(&origin).port(address.port())).start();
    let (client, _server) = open(&gateway, &listener);
    assert_eq!(gateway.proxied("GET", &origin.url(PATH)).send().status, 200);
    assert_over_limit(&gateway.proxied("GET", &origin.url(PATH)).send());
    assert_over_limit(&connect(&gateway, &address.to_string(), b"").finish());
    drop(client);
}

#[test]
fn concurrent_downloads_are_limited() {
    let origin = Origin::start();
    let body = archive(1, 50_000);
    let gate = Gate::new();
    for number in 0..3 {
        origin.serve(
            &format!("/pub/{number}.tar.gz"),
            Reply::file(&body).gate_at(20_000, &gate),
        );
    }
    let gateway = trusting(&origin)
        .set("limits.concurrent_downloads", "2")
        .start();
    let ask = |number: u32, client: &str| {
        gateway
            .get(&origin.url(&format!("/pub/{number}.tar.gz")))
            .header("X-Forwarded-For", client)
    };
    let first = ask(0, "10.0.0.1").open();
    let second = ask(1, "10.0.0.1").open();
    assert_over_limit(&ask(2, "10.0.0.1").send());
    let neighbour = ask(2, "10.0.0.2").open();
    // A client that disconnects frees its permit.
    drop(first);
    let third = eventually("a permit is free again", || {
        let answer = ask(0, "10.0.0.1").open();
        (answer.head.status == 200).then_some(answer)
    });
    gate.open();
    for download in [second, third, neighbour] {
        download.finish().assert_body(200, &body);
    }
}

#[test]
fn pending_request_takes_no_download_permit() {
    let origin = Origin::start();
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&archive(1, 1000)).gate_before_head(&gate));
    let gateway = trusting(&origin)
        .set("limits.concurrent_downloads", "1")
        .start();
    // The gateway may not detect a disconnected client before it has data to send.
    for _ in 0..3 {
        drop(
            gateway
                .get(&origin.url(PATH))
                .header("X-Forwarded-For", "10.0.0.1")
                .start(),
        );
    }
    gate.await_reached(1);
    assert_eq!(from(&gateway, "10.0.0.1").send().status, 200);
    gate.open();
}

#[test]
fn concurrent_tunnels_are_limited() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .set("limits.concurrent_tunnels", "2")
        .start();
    let first = open(&gateway, &listener);
    let second = open(&gateway, &listener);
    assert_over_limit(&connect(&gateway, &address.to_string(), b"").finish());
    drop(first);
    let third = eventually("a permit is free again", || {
        let answer = connect(&gateway, &address.to_string(), b"");
        (answer.head.status == 200).then_some(answer)
    });
    drop((second, third));
}

#[test]
fn exempt_client_has_no_limits() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin))
        .set("limits.exempt_clients", "[\"10.0.0.0/24\"]")
        .start();
    for _ in 0..10 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
    assert_eq!(
        [0; 3].map(|_| from(&gateway, "10.0.1.9").send().status),
        [200, 200, 429]
    );
}

#[test]
fn zero_disables_limit() {
    let origin = Origin::start();
    let builder = trusting(&origin)
        .set("limits.burst", "1")
        .set("limits.requests_per_second", "0");
    let gateway = builder.set("limits.concurrent_downloads", "0").start();
    for _ in 0..10 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
}

#[test]
fn reload_changes_limits() {
    let origin = Origin::start();
    let mut gateway = trusting(&origin).start();
    for _ in 0..5 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
    gateway.reload(two_at_once);
    eventually("the new limits apply", || {
        (from(&gateway, "10.0.0.9").send().status == 429).then_some(())
    });
    assert_eq!(from(&gateway, "10.0.0.8").send().status, 200);
}

/// Returns the least time for `size` bytes at `rate` bytes per second. The burst of a twentieth of
/// a second and 64 KiB are not delayed.
fn least(size: usize, rate: usize) -> Duration {
    Duration::from_millis(((size - rate / 20 - (64 << 10)) * 1000 / rate) as u64)
}

const RATE: usize = 1 << 20;

#[test]
fn downloads_of_client_share_its_bandwidth() {
    let origin = Origin::start();
    let body = archive(1, RATE);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&origin).text("limits.bandwidth", "1MiB").start();
    let get = |client: &str| {
        let answer = gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", client)
            .send();
        answer.assert_body(200, &body);
    };
    // The limit applies to a miss too. A new client starts with an empty token bucket.
    let began = Instant::now();
    get("10.0.0.1");
    assert!(
        began.elapsed() >= least(RATE, RATE),
        "a miss took only {:?}",
        began.elapsed()
    );
    let began = Instant::now();
    all_at_once(2, |_| get("10.0.0.2"));
    assert!(
        began.elapsed() >= least(2 * RATE, RATE),
        "two hits took only {:?}",
        began.elapsed()
    );
}

#[test]
fn clients_share_total_bandwidth() {
    let origin = Origin::start();
    let body = archive(1, RATE / 2);
    origin.serve(PATH, Reply::file(&body));
    let builder = trusting(&origin).text("limits.total_bandwidth", "1MiB");
    let gateway = builder
        .set("limits.exempt_clients", "[\"10.0.0.3/32\"]")
        .start();
    let began = Instant::now();
    all_at_once(4, |number| {
        let client = format!("10.0.0.{number}");
        gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", &client)
            .send()
            .assert_body(200, &body);
    });
    assert!(
        began.elapsed() >= least(2 * RATE, RATE),
        "the downloads took only {:?}",
        began.elapsed()
    );
}

#[test]
fn tunnel_bandwidth_covers_both_directions() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("limits.bandwidth", "1MiB")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    let body = archive(1, RATE);
    let began = Instant::now();
    thread::scope(|scope| {
        let (mut up, mut down) = (
            client.try_clone().expect("a socket can be cloned"),
            server.try_clone().expect("a socket can be cloned"),
        );
        let body = &body;
        scope.spawn(move || up.write_all(body).expect("the tunnel accepts data"));
        scope.spawn(move || down.write_all(body).expect("the tunnel accepts data"));
        for end in [&mut client, &mut server] {
            let mut bytes = vec![0; body.len()];
            end.read_exact(&mut bytes)
                .expect("the tunnel delivers data");
            assert_same(&bytes, body);
        }
    });
    assert!(
        began.elapsed() >= least(2 * RATE, RATE),
        "the transfer took only {:?}",
        began.elapsed()
    );
}

#[test]
fn total_bandwidth_is_shared_fairly_between_clients() {
    let origin = Origin::start();
    let body = archive(1, 4 * RATE);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&origin)
        .text("limits.total_bandwidth", "2MiB")
        .start();
    let open = |client: &str| {
        gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", client)
            .open()
    };
    let many: Vec<_> = (0..20).map(|_| open("10.0.0.1")).collect();
    let mut one = open("10.0.0.2");
    let readers: Vec<_> = many
        .into_iter()
        .map(|mut download| thread::spawn(move || download.read(4 * RATE / 20)))
        .collect();
    // The fair share is 1 MiB/s. One of 21 equal downloads would get a tenth of that.
    let began = Instant::now();
    one.read(2 * RATE);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(10),
        "the other client needed {took:?} for two seconds of its share"
    );
    drop(one);
    for reader in readers {
        drop(reader.join().expect("no thread panicked"));
    }
}

#[test]
fn tunnel_waiting_for_bandwidth_is_not_idle() {
    let (listener, address) = listener();
    let builder = tunnelling_to(address).text("limits.bandwidth", "16KiB");
    let gateway = builder.text("proxy.tunnel_idle_timeout", "1s").start();
    let tunnels: Vec<_> = (0..40).map(|_| open(&gateway, &listener)).collect();
    // Forty tunnels share 16 KiB/s, so each waits for bandwidth longer than the idle timeout.
    let ends: Vec<_> = tunnels
        .into_iter()
        .map(|(mut client, mut server)| {
            thread::spawn(move || {
                server
                    .write_all(&[7; 3000])
                    .expect("the tunnel accepts data");
                let mut bytes = [0; 3000];
                client
                    .read_exact(&mut bytes)
                    .expect("the tunnel delivers all data");
                drop(server);
            })
        })
        .collect();
    for end in ends {
        end.join().expect("no thread panicked");
    }
}

#[test]
fn tunnel_delivers_sent_data_after_server_closes() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("limits.bandwidth", "40KiB")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    // The first data uses up the burst, so the next data waits in the gateway.
    let first = archive(1, 64 << 10);
    server.write_all(&first).expect("the tunnel accepts data");
    client
        .read_exact(&mut vec![0; first.len()])
        .expect("the tunnel delivers data");
    let body = archive(2, 60_000);
    server.write_all(&body).expect("the tunnel accepts data");
    drop(server);
    // The server has closed and does not read this data.
    client.write_all(b"ping").expect("the tunnel accepts data");
    client.write_all(b"ping").expect("the tunnel accepts data");
    let mut bytes = Vec::new();
    client
        .read_to_end(&mut bytes)
        .expect("the tunnel ends cleanly");
    assert_same(&bytes, &body);
}

#[test]
fn client_pacing_is_not_counted_as_slow_origin() {
    let origin = Origin::start();
    let body = archive(1, 400_000);
    origin.serve("/latest/x", Reply::ok(&body));
    let builder = trusting(&origin).text("limits.bandwidth", "100KiB");
    let gateway = builder
        .text("fetch.min_speed", "10MiB")
        .text("fetch.idle_timeout", "1s")
        .start();
    gateway
        .get(&origin.url("/latest/x"))
        .send()
        .assert_body(200, &body);
}
