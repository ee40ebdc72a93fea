//! Overload: admitted requests finish, excess requests get an immediate 503, and
//! every resource is bounded.

mod stalled_clients;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{
    Builder, Gate, Gateway, Kept, Origin, Reply, all_at_once, archive, connect_from, eventually,
    files_under, raise_descriptor_limit,
};

/// Memory limit that the process must not exceed, with the code of an unoptimized build.
const MAX_MEMORY_MIB: u64 = 220;

/// Returns a gateway that exempts the test's clients from the limits.
fn crowded(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .set("limits.exempt_clients", "[\"127.0.0.0/8\"]")
}

/// Stores a body as a target.
fn store(gateway: &Gateway, origin: &Origin, path: &str, body: &crate::harness::Body) {
    origin.serve(path, Reply::file(body));
    gateway.assert_serves(&origin.url(path), body);
    gateway.await_stored(&origin.url(path));
}

#[test]
fn downloads_finish_under_connection_overload() {
    let origin = Origin::start();
    let (large, small, coming) = (
        archive(1, 24 << 20),
        archive(2, 100_000),
        archive(3, 400_000),
    );
    let gate = Gate::new();
    origin.serve(
        "/coming-1.0.tar.gz",
        Reply::file(&coming).gate_at(200_000, &gate),
    );
    let gateway = crowded(&origin).hard_descriptors(256).start();
    store(&gateway, &origin, "/large-1.0.tar.gz", &large);
    store(&gateway, &origin, "/small-1.0.tar.gz", &small);
    let mut hits: Vec<_> = (0..8)
        .map(|_| gateway.get(&origin.url("/large-1.0.tar.gz")).open())
        .collect();
    let begun: Vec<_> = hits.iter_mut().map(|hit| hit.read(100_000)).collect();
    let followers: Vec<_> = (0..8)
        .map(|_| gateway.get(&origin.url("/coming-1.0.tar.gz")).open())
        .collect();
    // Idle connections stay open while descriptors are free.
    // One client alone gets three quarters of the connections.
    let clients = ["127.0.0.1", "127.0.0.2"].into_iter().cycle();
    let mut idle: Vec<_> = clients
        .map(|client| connect_from(client, gateway.addr()))
        .map(|socket| Kept::on(socket).expect("the gateway accepts the connection"))
        .take(60)
        .collect();
    idle.retain_mut(|kept| kept.ask("/healthz").expect("the gateway answers").1);
    assert!(idle.len() >= 20, "{} connections stay open", idle.len());
    let is_pushing = AtomicBool::new(true);
    let answers = thread::scope(|scope| {
        let health = scope.spawn(|| {
            let mut checks = 0;
            while is_pushing.load(Ordering::Acquire) {
                gateway.request("GET", "/healthz").send().assert_status(200);
                checks += 1;
            }
            checks
        });
        let answers = all_at_once(1000, |_| {
            gateway
                .get(&origin.url("/small-1.0.tar.gz"))
                .send_if_it_lives()
        });
        is_pushing.store(false, Ordering::Release);
        assert!(health.join().expect("no health check failed") > 0);
        answers
    });
    let mut turned_away = 0;
    for answer in answers {
        let answer = answer.expect("every client gets a response");
        if answer.status == 200 {
            answer.assert_body(200, &small);
        } else {
            answer.assert_problem(503);
            assert_eq!(answer.wants("retry-after"), "5");
            turned_away += 1;
        }
    }
    assert!(turned_away > 0, "some requests get 503");
    assert!(gateway.descriptors() < 256);
    drop(idle);
    gate.open();
    for (hit, begun) in hits.into_iter().zip(begun) {
        let mut answer = hit.finish();
        answer.body.splice(0..0, begun);
        answer.assert_body(200, &large);
    }
    for follower in followers {
        follower.finish().assert_body(200, &coming);
    }
    assert!(
        !gateway.log().text().contains("Too many open files"),
        "the process never ran out of descriptors"
    );
    // New clients are served again.
    eventually("permits are free again", || {
        (gateway.get(&origin.url("/small-1.0.tar.gz")).send().status == 200).then_some(())
    });
}

#[test]
fn hit_is_served_while_fetches_wait() {
    let origin = Origin::start();
    let body = archive(4, 100_000);
    let gate = Gate::new();
    let gateway = crowded(&origin).hard_descriptors(1024).start();
    store(&gateway, &origin, "/held-1.0.tar.gz", &body);
    let path = |number: usize| format!("/slow-{number}.tar.gz");
    for number in 0..200 {
        origin.serve(&path(number), Reply::file(&body).gate_before_head(&gate));
    }
    let waiting: Vec<_> = (0..200)
        .map(|number| gateway.get(&origin.url(&path(number))).start())
        .collect();
    // Excess requests get 503 while the others wait.
    let turned_away = || waiting.iter().filter(|client| client.has_answer()).count();
    eventually("a request gets 503", || (turned_away() > 0).then_some(()));
    // Requests hold all response permits for a moment, until the gateway knows
    // which of them must wait.
    let held = || gateway.get(&origin.url("/held-1.0.tar.gz")).send();
    eventually("a hit is served", || (held().status == 200).then_some(()));
    gateway
        .assert_serves(&origin.url("/held-1.0.tar.gz"), &body)
        .assert_cache(&["hit"]);
    assert!(
        origin.most_at_once() <= 8,
        "fetch.per_host is exceeded: {}",
        origin.most_at_once()
    );
    gate.open();
    let (mut served, mut refused) = (0, 0);
    for client in waiting {
        let answer = client.head().finish();
        if answer.status == 503 {
            assert_eq!(answer.wants("retry-after"), "5");
            refused += 1;
        } else {
            answer.assert_body(200, &body);
            served += 1;
        }
    }
    assert!(
        served >= 100 && refused > 0,
        "{served} were served, {refused} refused"
    );
}

#[test]
fn hit_is_served_while_slow_responses_stream() {
    let origin = Origin::start();
    let body = archive(7, 100_000);
    let gate = Gate::new();
    let gateway = crowded(&origin).hard_descriptors(1024).start();
    store(&gateway, &origin, "/held-1.0.tar.gz", &body);
    // The first target is cacheable, the second is pass-through.
    for path in ["/flows-1.0.tar.gz", "/passes"] {
        origin.serve(path, Reply::file(&body).gate_at(50_000, &gate));
    }
    let ask = |path: &str| gateway.get(&origin.url(path)).start();
    let passing: Vec<_> = (0..200).map(|_| ask("/passes")).collect();
    eventually("some requests are served and some get 503", || {
        (passing.iter().filter(|client| client.has_answer()).count() >= 150).then_some(())
    });
    let flowing: Vec<_> = (0..200).map(|_| ask("/flows-1.0.tar.gz")).collect();
    eventually(
        "requests that wait for no permit have a response head",
        || {
            (flowing
                .iter()
                .chain(&passing)
                .filter(|client| client.has_answer())
                .count()
                >= 350)
                .then_some(())
        },
    );
    gateway
        .assert_serves(&origin.url("/held-1.0.tar.gz"), &body)
        .assert_cache(&["hit"]);
    gate.open();
    for client in flowing.into_iter().chain(passing) {
        let answer = client.head().finish();
        if answer.status != 503 {
            answer.assert_body(200, &body);
        }
    }
}

#[test]
fn ten_thousand_idle_connections_fit_in_memory() {
    const EACH: usize = 5000;
    assert!(
        raise_descriptor_limit() >= 15_000,
        "this test needs more open files (ulimit -n)"
    );
    let origin = Origin::start();
    let body = archive(5, 1 << 20);
    let gateway = crowded(&origin).start();
    store(&gateway, &origin, "/x-1.0.tar.gz", &body);
    let before = gateway.descriptors();
    let mut idle = Vec::with_capacity(2 * EACH);
    // One client alone gets three quarters of the connections.
    let halves = [
        ("127.0.0.1", gateway.addr(), 200),
        ("127.0.0.2", gateway.proxy_addr(), 400),
    ];
    for (client, address, status) in halves {
        for _ in 0..EACH {
            let socket = connect_from(client, address);
            let mut kept = Kept::on(socket).expect("the gateway takes the connection");
            assert_eq!(
                kept.ask("/healthz").expect("the gateway answers"),
                (status, true)
            );
            idle.push(kept);
        }
    }
    assert!(
        gateway.descriptors() >= 2 * EACH,
        "all connections are open: {}",
        gateway.descriptors()
    );
    gateway
        .assert_serves(&origin.url("/x-1.0.tar.gz"), &body)
        .assert_cache(&["hit"]);
    let peak = gateway.peak_memory_mib();
    assert!(peak <= MAX_MEMORY_MIB, "{peak} MiB");
    drop(idle);
    eventually("the gateway closes the connections", || {
        (gateway.descriptors() <= before + 16).then_some(())
    });
}

#[test]
fn distinct_bad_requests_leak_nothing() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 50_000;
    let origin = Origin::start();
    // The listener is dropped, so the port refuses connections.
    let dead = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port is free");
    let gateway = crowded(&origin)
        .port(dead.port())
        .set("policy.deny_hosts", "[\".denied.example.org\"]")
        .start();
    let ask_all = |numbers: std::ops::Range<usize>| {
        all_at_once(CLIENTS, |client| {
            let mut kept = Kept::connect(gateway.addr()).expect("the gateway takes the connection");
            for number in numbers.clone().filter(|number| number % CLIENTS == client) {
                let (target, status) = match number / CLIENTS % 10 {
                    0 => (origin.url(&format!("/absent-{number}.tar.gz")), 404),
                    1 => (format!("http://{dead}/x-{number}.tar.gz"), 504),
                    2..=5 => (
                        format!("https://h{number}.denied.example.org/x-7.0.tar.gz"),
                        403,
                    ),
                    _ => (format!("https://example.org/../x-{number}.tar.gz"), 404),
                };
                let answered = kept
                    .ask(&format!("/{target}"))
                    .expect("the gateway answers");
                assert_eq!(answered, (status, true), "{target}");
            }
        });
    };
    ask_all(0..REQUESTS / 5);
    let (resident, descriptors) = (gateway.resident_mib(), gateway.descriptors());
    ask_all(REQUESTS / 5..REQUESTS);
    let grown = gateway.resident_mib().saturating_sub(resident);
    assert!(grown <= 32, "memory grew by {grown} MiB");
    assert!(
        gateway.descriptors() <= descriptors + 16,
        "{} after {descriptors}",
        gateway.descriptors()
    );
    gateway.assert_nothing_stored();
    let mut claims = files_under(&gateway.cache().join("leases"));
    claims.retain(|file| file.file_name().is_some_and(|name| name.len() == 64));
    assert_eq!(
        claims,
        Vec::<std::path::PathBuf>::new(),
        "leases without a fetch"
    );
}
