//! Tests of 600 clients of one cold object, and of the limits on concurrent fetches.

use std::fs;

use crate::harness::{
    Builder, Gate, Gateway, Origin, Reply, Request, Scene, all_at_once, archive, assert_same,
    eventually, files_under, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
pub const CLIENTS: usize = 600;

/// Lets 600 clients request a body of which the origin holds back a part, and asserts that all of
/// them stream it.
#[track_caller]
pub fn assert_all_read_along(gate: &Gate, body: &[u8], ask: impl Fn(usize) -> Request + Sync) {
    let answers = all_at_once(CLIENTS, |number| {
        let mut answer = ask(number).open();
        assert_eq!(answer.head.status, 200, "client {number}");
        assert_same(&answer.read(1), &body[..1]);
        answer
    });
    // Every client has read a byte while the origin still holds back half of the body.
    gate.open();
    for answer in answers {
        answer.finish().assert_body(200, &body[1..]);
    }
}

#[test]
fn six_hundred_clients_cause_one_origin_request() {
    let body = archive(1, 1 << 20);
    let gate = Gate::new();
    let (origin, gateway, url) =
        Scene::replying(PATH, Reply::file(&body).gate_at(body.len() / 2, &gate));
    let ask = |number| {
        if number % 2 == 0 {
            gateway.get(&url)
        } else {
            gateway.proxied("GET", &url)
        }
    };
    assert_all_read_along(&gate, &body, ask);
    assert_eq!(origin.total(), 1);
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
    eventually("the files and sockets of all clients are closed", || {
        (open_files(gateway.pid()) < 100).then_some(())
    });
    let peak = peak_memory_kib(gateway.pid());
    assert!(peak < 80 << 10, "the gateway took {peak} KiB at its peak");
    gateway
        .log()
        .wait_for_many("all clients", CLIENTS, |event| {
            event["message"] == "request" && event["completion"] == "complete"
        });
}

#[test]
fn concurrent_clients_get_the_right_targets() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..20)
        .map(|number| {
            archive(
                100 + number,
                40_000 + 1000 * usize::try_from(number).unwrap(),
            )
        })
        .collect();
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
    }
    let gateway = Gateway::relaying(&origin);
    all_at_once(100, |client| {
        let number = client % bodies.len();
        gateway
            .get(&origin.url(&format!("/x-{number}.tar.gz")))
            .send()
            .assert_body(200, &bodies[number]);
    });
    assert_eq!(origin.total(), bodies.len());
    for number in 0..bodies.len() {
        gateway.await_stored(&origin.url(&format!("/x-{number}.tar.gz")));
    }
    assert_eq!(gateway.objects().len(), bodies.len());
}

#[test]
fn identical_bodies_are_stored_once() {
    let origin = Origin::start();
    let body = archive(3, 30_000);
    let paths: Vec<_> = (0..10)
        .map(|number| format!("/x-{number}.tar.gz"))
        .collect();
    for path in &paths {
        origin.serve(path, Reply::file(&body));
    }
    let gateway = Gateway::relaying(&origin);
    all_at_once(paths.len(), |number| {
        gateway
            .get(&origin.url(&paths[number]))
            .send()
            .assert_body(200, &body);
    });
    for path in &paths {
        gateway.await_stored(&origin.url(path));
        assert_eq!(gateway.records_of(&origin.url(path)).len(), 1);
    }
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
}

#[test]
fn per_host_limit_bounds_concurrent_fetches() {
    let origin = Origin::start();
    let body = archive(4, 20_000);
    let gate = Gate::new();
    let paths: Vec<_> = (0..6).map(|number| format!("/x-{number}.tar.gz")).collect();
    for path in &paths {
        origin.serve(path, Reply::file(&body).gate_at(10_000, &gate));
    }
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.per_host", "2")
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .start();
    // One client alone does not get both.
    let clients = ["10.0.0.1", "10.0.0.2"].into_iter().cycle();
    let waiting: Vec<_> = paths
        .iter()
        .zip(clients)
        .map(|(path, client)| {
            let request = gateway.get(&origin.url(path));
            request.header("X-Forwarded-For", client).start()
        })
        .collect();
    gate.await_reached(2);
    gate.open();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, &body);
    }
    assert_eq!(origin.most_at_once(), 2, "fetches at one time");
}

#[test]
fn global_limit_bounds_concurrent_fetches() {
    let origins = [
        Origin::start(),
        Origin::start_at("127.0.0.2"),
        Origin::start_at("127.0.0.3"),
    ];
    let body = archive(5, 20_000);
    let gate = Gate::new();
    for origin in &origins {
        origin.serve(PATH, Reply::file(&body).gate_at(10_000, &gate));
    }
    let builder = origins.iter().fold(Gateway::builder(), Builder::origin);
    let gateway = builder.relay().set("fetch.concurrency", "1").start();
    let waiting: Vec<_> = origins
        .iter()
        .map(|origin| gateway.get(&origin.url(PATH)).start())
        .collect();
    gate.await_reached(1);
    let asked: usize = origins.iter().map(Origin::total).sum();
    assert_eq!(asked, 1, "one fetch at one time");
    gate.open();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, &body);
    }
}

#[test]
fn all_waiting_clients_get_the_failure() {
    let gate = Gate::new();
    let (origin, gateway, url) = Scene::replying(PATH, Reply::status(404).gate_before_head(&gate));
    let waiting: Vec<_> = (0..20).map(|_| gateway.get(&url).start()).collect();
    gate.await_reached(1);
    gate.open();
    for waiting in waiting {
        waiting.head().finish().assert_problem(404);
    }
    assert_eq!(origin.count(PATH), 1);
    gateway.assert_nothing_stored();
}

#[test]
fn stored_objects_match_their_digests() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    all_at_once(30, |number| {
        let body = archive(200 + number as u64, 10_000 + number);
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body).chunked());
        gateway
            .get(&origin.url(&path))
            .send()
            .assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
    });
    let objects = files_under(&gateway.cache().join("objects"));
    assert_eq!(objects.len(), 30);
    for object in objects {
        let name = object
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        assert_eq!(
            sha256(&fs::read(&object).expect("an object can be read")),
            name
        );
    }
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the kernel lists open files")
        .count()
}

/// Returns the peak memory of a process in KiB, without the pages of its program. They are many in
/// a build for tests, and the kernel can reclaim them.
fn peak_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let size_kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line
            .expect("the kernel states it")
            .trim()
            .trim_end_matches("kB");
        text.trim().parse().expect("it is a number")
    };
    size_kib("VmHWM:") - size_kib("RssFile:")
}
