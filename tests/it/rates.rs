//! What one client may take, and that its neighbours do not notice.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Answer, Builder, Gate, Gateway, Origin, Reply, Request, all_at_once, archive, assert_same, eventually,
};
use crate::tunnel::{connect, listener, open, tunnelling_to};

const PATH: &str = "/pub/x-1.0.tar.gz";
const TRUSTED: &str = "[\"127.0.0.0/8\"]";

/// A gateway that takes the test's word for who the client is, and serves everybody.
fn trusting(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder.set("gateway.trusted_proxies", TRUSTED).set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
}

/// Two requests at once, and then one a second.
fn two_at_once(builder: Builder) -> Builder {
    builder.set("limits.requests_per_second", "1").set("limits.burst", "2")
}

fn from(gateway: &Gateway, client: &str) -> Request {
    gateway.request("GET", "/robots.txt").header("X-Forwarded-For", client)
}

#[track_caller]
fn assert_over_limit(answer: &Answer) {
    answer.assert_problem(429);
    let seconds: u64 = answer.wants("retry-after").parse().expect("a number of seconds");
    assert!((1..=5).contains(&seconds), "Retry-After: {seconds}");
    answer.assert_cache(&["detail=over-limit"]);
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).start();
    let statuses: Vec<u16> = (0..3).map(|_| from(&gateway, "10.0.0.1").send().status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_over_limit(&from(&gateway, "10.0.0.1").send());
    assert_eq!(from(&gateway, "10.0.0.2").send().status, 200, "a neighbour does not notice");
    eventually("it may ask again", || (from(&gateway, "10.0.0.1").send().status == 200).then_some(()));
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).start();
    for client in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"] {
        assert_eq!(from(&gateway, client).send().status, 200);
    }
    assert_over_limit(&from(&gateway, "2001:db8:0:1::3").send());
    assert_eq!(from(&gateway, "2001:db8:0:2::1").send().status, 200, "another /64");
    for client in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(from(&gateway, client).send().status, 200);
    }
    assert_over_limit(&from(&gateway, "10.0.0.1").send());
    assert_eq!(from(&gateway, "10.0.0.2").send().status, 200, "each address of IPv4 counts for itself");
}

#[test]
fn the_proxy_port_has_the_same_limits() {
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
fn only_so_many_downloads_are_under_way_at_once() {
    let origin = Origin::start();
    let body = archive(1, 50_000);
    let gate = Gate::new();
    for number in 0..3 {
        origin.serve(&format!("/pub/{number}.tar.gz"), Reply::file(&body).gate_at(20_000, &gate));
    }
    let gateway = trusting(&origin).set("limits.concurrent_downloads", "2").start();
    let ask = |number: u32, client: &str| {
        gateway.get(&origin.url(&format!("/pub/{number}.tar.gz"))).header("X-Forwarded-For", client)
    };
    let first = ask(0, "10.0.0.1").open();
    let second = ask(1, "10.0.0.1").open();
    assert_over_limit(&ask(2, "10.0.0.1").send());
    let neighbour = ask(2, "10.0.0.2").open();
    // Who leaves makes room.
    drop(first);
    let third = eventually("there is room again", || {
        let answer = ask(0, "10.0.0.1").open();
        (answer.head.status == 200).then_some(answer)
    });
    gate.open();
    for download in [second, third, neighbour] {
        download.finish().assert_body(200, &body);
    }
}

#[test]
fn who_waits_for_an_answer_has_no_download_yet() {
    let origin = Origin::start();
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&archive(1, 1000)).gate_before_head(&gate));
    let gateway = trusting(&origin).set("limits.concurrent_downloads", "1").start();
    // That a client has left cannot be seen before there is something to send.
    for _ in 0..3 {
        drop(gateway.get(&origin.url(PATH)).header("X-Forwarded-For", "10.0.0.1").start());
    }
    gate.await_reached(1);
    assert_eq!(from(&gateway, "10.0.0.1").send().status, 200);
    gate.open();
}

#[test]
fn only_so_many_tunnels_are_open_at_once() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).set("limits.concurrent_tunnels", "2").start();
    let first = open(&gateway, &listener);
    let second = open(&gateway, &listener);
    assert_over_limit(&connect(&gateway, &address.to_string(), b"").finish());
    drop(first);
    let third = eventually("there is room again", || {
        let answer = connect(&gateway, &address.to_string(), b"");
        (answer.head.status == 200).then_some(answer)
    });
    drop((second, third));
}

#[test]
fn who_is_exempt_has_no_limits_of_its_own() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).set("limits.exempt_clients", "[\"10.0.0.0/24\"]").start();
    for _ in 0..10 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
    assert_eq!([0; 3].map(|_| from(&gateway, "10.0.1.9").send().status), [200, 200, 429]);
}

#[test]
fn nought_means_no_limit() {
    let origin = Origin::start();
    let builder = trusting(&origin).set("limits.burst", "1").set("limits.requests_per_second", "0");
    let gateway = builder.set("limits.concurrent_downloads", "0").start();
    for _ in 0..10 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
}

#[test]
fn a_reload_changes_the_limits() {
    let origin = Origin::start();
    let mut gateway = trusting(&origin).start();
    for _ in 0..5 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
    gateway.reload(two_at_once);
    eventually("the new limits are in force", || (from(&gateway, "10.0.0.9").send().status == 429).then_some(()));
    assert_eq!(from(&gateway, "10.0.0.8").send().status, 200);
}

/// How long it takes at least to get `size` bytes at `rate` a second, when the first twentieth of a second is free.
fn least(size: usize, rate: usize) -> Duration {
    Duration::from_millis(((size - rate / 20 - (64 << 10)) * 1000 / rate) as u64)
}

const RATE: usize = 1 << 20;

#[test]
fn the_downloads_of_one_client_share_its_bytes_a_second() {
    let origin = Origin::start();
    let body = archive(1, RATE);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&origin).text("limits.bandwidth", "1MiB").start();
    let get = |client: &str| {
        let answer = gateway.get(&origin.url(PATH)).header("X-Forwarded-For", client).send();
        answer.assert_body(200, &body);
    };
    // A miss is held to it too: this client begins with an empty purse.
    let began = Instant::now();
    get("10.0.0.1");
    assert!(began.elapsed() >= least(RATE, RATE), "a miss took only {:?}", began.elapsed());
    let began = Instant::now();
    all_at_once(2, |_| get("10.0.0.2"));
    assert!(began.elapsed() >= least(2 * RATE, RATE), "two hits took only {:?}", began.elapsed());
}

#[test]
fn all_clients_share_the_bytes_a_second_of_the_instance() {
    let origin = Origin::start();
    let body = archive(1, RATE / 2);
    origin.serve(PATH, Reply::file(&body));
    let builder = trusting(&origin).text("limits.total_bandwidth", "1MiB");
    let gateway = builder.set("limits.exempt_clients", "[\"10.0.0.3/32\"]").start();
    let began = Instant::now();
    all_at_once(4, |number| {
        let client = format!("10.0.0.{number}");
        gateway.get(&origin.url(PATH)).header("X-Forwarded-For", &client).send().assert_body(200, &body);
    });
    assert!(began.elapsed() >= least(2 * RATE, RATE), "they took only {:?}", began.elapsed());
}

#[test]
fn a_tunnel_is_held_to_the_bytes_a_second_in_both_directions() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).text("limits.bandwidth", "1MiB").start();
    let (mut client, mut server) = open(&gateway, &listener);
    let body = archive(1, RATE);
    let began = Instant::now();
    thread::scope(|scope| {
        let (mut up, mut down) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
        let body = &body;
        scope.spawn(move || up.write_all(body).expect("the tunnel takes it"));
        scope.spawn(move || down.write_all(body).expect("the tunnel takes it"));
        for end in [&mut client, &mut server] {
            let mut bytes = vec![0; body.len()];
            end.read_exact(&mut bytes).expect("the tunnel gives it");
            assert_same(&bytes, body);
        }
    });
    assert!(began.elapsed() >= least(2 * RATE, RATE), "it took only {:?}", began.elapsed());
}

#[test]
fn a_client_with_many_downloads_gets_no_more_of_the_instance_than_its_neighbour() {
    let origin = Origin::start();
    let body = archive(1, 4 * RATE);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&origin).text("limits.total_bandwidth", "2MiB").start();
    let open = |client: &str| gateway.get(&origin.url(PATH)).header("X-Forwarded-For", client).open();
    let many: Vec<_> = (0..20).map(|_| open("10.0.0.1")).collect();
    let mut one = open("10.0.0.2");
    let readers: Vec<_> =
        many.into_iter().map(|mut download| thread::spawn(move || download.read(4 * RATE / 20))).collect();
    // Its half is a mebibyte a second; one of 21 would get a tenth of that.
    let began = Instant::now();
    one.read(2 * RATE);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "the neighbour needed {took:?} for two seconds' worth");
    drop(one);
    for reader in readers {
        drop(reader.join().expect("no panic"));
    }
}

#[test]
fn a_tunnel_that_waits_for_its_turn_is_not_idle() {
    let (listener, address) = listener();
    let builder = tunnelling_to(address).text("limits.bandwidth", "16KiB");
    let gateway = builder.text("proxy.tunnel_idle_timeout", "1s").start();
    let tunnels: Vec<_> = (0..40).map(|_| open(&gateway, &listener)).collect();
    // Forty tunnels at sixteen shares a second: each waits longer for its turn than it may be silent.
    let ends: Vec<_> = tunnels
        .into_iter()
        .map(|(mut client, mut server)| {
            thread::spawn(move || {
                server.write_all(&[7; 3000]).expect("the tunnel takes it");
                let mut bytes = [0; 3000];
                client.read_exact(&mut bytes).expect("nothing is cut");
                drop(server);
            })
        })
        .collect();
    for end in ends {
        end.join().expect("no panic");
    }
}

#[test]
fn what_an_origin_has_sent_comes_through_though_it_reads_no_more() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).text("limits.bandwidth", "40KiB").start();
    let (mut client, mut server) = open(&gateway, &listener);
    // What may go at once is gone, and what comes now has to wait in the gateway.
    let first = archive(1, 64 << 10);
    server.write_all(&first).expect("the tunnel takes it");
    client.read_exact(&mut vec![0; first.len()]).expect("the tunnel gives it");
    let body = archive(2, 60_000);
    server.write_all(&body).expect("the tunnel takes it");
    drop(server);
    // Nobody is there to read this.
    client.write_all(b"ping").expect("the tunnel takes it");
    client.write_all(b"ping").expect("the tunnel takes it");
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).expect("it comes to an end");
    assert_same(&bytes, &body);
}

#[test]
fn the_pace_of_a_client_is_not_blamed_on_the_origin() {
    let origin = Origin::start();
    let body = archive(1, 400_000);
    origin.serve("/latest/x", Reply::ok(&body));
    let builder = trusting(&origin).text("limits.bandwidth", "100KiB");
    let gateway = builder.text("fetch.min_speed", "10MiB").text("fetch.idle_timeout", "1s").start();
    gateway.get(&origin.url("/latest/x")).send().assert_body(200, &body);
}
