//! Fair shares: a client at its limits leaves permits of every pool for the others, and a build
//! farm that is exempt has nearly the whole pool.

mod bursts;
mod connections;
mod idle_connections;
mod left_clients;
mod space;
mod unread_fetches;

use crate::harness::{
    Body, Builder, Gate, Gateway, Origin, Reply, Request, Waiting, archive, eventually,
};

/// Client that takes as much as it gets.
const GREEDY: &str = "10.0.0.1";

/// Another client.
const OTHER: &str = "10.0.0.2";

/// Returns a gateway that takes the client's address from `X-Forwarded-For`.
fn sharing(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
}

fn get(gateway: &Gateway, url: &str, client: &str) -> Request {
    gateway.get(url).header("X-Forwarded-For", client)
}

/// Serves files whose responses wait for the gate, and returns their URLs.
fn slow_files(origin: &Origin, body: &Body, count: usize, gate: &Gate) -> Vec<String> {
    let slow = |number| {
        let path = format!("/slow-{number}.tar.gz");
        origin.serve(&path, Reply::file(body).gate_before_head(gate));
        origin.url(&path)
    };
    (0..count).map(slow).collect()
}

fn start_all(gateway: &Gateway, urls: &[String], client: &str) -> Vec<Waiting> {
    let start = |url: &String| get(gateway, url, client).start();
    urls.iter().map(start).collect()
}

fn await_requests(origin: &Origin, count: usize) {
    eventually(&format!("the origin has {count} requests"), || {
        (origin.total() == count).then_some(())
    });
}

#[test]
fn slow_fetches_of_one_client_leave_permits() {
    // The pool of a host, that of all hosts, and the requests that may start: (key, size).
    for (key, size) in [("fetch.per_host", 8), ("fetch.concurrency", 4)] {
        let (origin, gate) = (Origin::start(), Gate::new());
        let (body, small) = (archive(1, 100_000), archive(2, 20_000));
        let urls = slow_files(&origin, &body, 12, &gate);
        origin.serve("/small-1.0.tar.gz", Reply::file(&small));
        let gateway = sharing(&origin)
            .set("fetch.per_host", "12")
            .set(key, &size.to_string())
            .start();
        let waiting = start_all(&gateway, &urls, GREEDY);
        await_requests(&origin, size * 3 / 4);
        let answer = get(&gateway, &origin.url("/small-1.0.tar.gz"), OTHER).send();
        answer.assert_body(200, &small);
        assert_eq!(
            origin.total(),
            size * 3 / 4 + 1,
            "{key}: three quarters and one"
        );
        gate.open();
        for client in waiting {
            client.head().finish().assert_body(200, &body);
        }
    }
}

#[test]
fn exempt_clients_have_three_quarters() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(3, 50_000);
    let urls = slow_files(&origin, &body, 12, &gate);
    let gateway = sharing(&origin)
        .set("limits.exempt_clients", "[\"10.0.0.1/32\"]")
        .start();
    let others: Vec<String> = urls[..2].to_vec();
    let farm = start_all(&gateway, &urls[2..], GREEDY);
    await_requests(&origin, 6);
    let waiting = start_all(&gateway, &others, OTHER);
    await_requests(&origin, 8);
    gate.open();
    for client in farm.into_iter().chain(waiting) {
        client.head().finish().assert_body(200, &body);
    }
}

#[test]
fn joined_fetch_waits_in_turn_of_its_reader() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(4, 50_000);
    let urls = slow_files(&origin, &body, 10, &gate);
    let wanted = archive(5, 50_000);
    origin.serve("/wanted-1.0.tar.gz", Reply::file(&wanted));
    let url = origin.url("/wanted-1.0.tar.gz");
    let gateway = sharing(&origin).start();
    let mut waiting = start_all(&gateway, &urls, GREEDY);
    await_requests(&origin, 6);
    // It is behind the others of the greedy client, and must not stay there.
    waiting.push(get(&gateway, &url, GREEDY).start());
    eventually("the fetch has begun", || {
        let answer = get(&gateway, &url, OTHER)
            .header("Cache-Control", "only-if-cached")
            .send();
        (answer.status == 504).then_some(())
    });
    get(&gateway, &url, OTHER).send().assert_body(200, &wanted);
    let joined = waiting.pop().expect("there is one").head().finish();
    joined.assert_body(200, &wanted);
    assert_eq!(origin.total(), 7);
    gate.open();
    for client in waiting {
        client.head().finish().assert_body(200, &body);
    }
}

#[test]
fn unread_fetches_count_for_beginner() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(6, 50_000);
    let urls = slow_files(&origin, &body, 10, &gate);
    let small = archive(7, 20_000);
    origin.serve("/small-1.0.tar.gz", Reply::file(&small));
    let gateway = sharing(&origin).text("gateway.miss", "redirect").start();
    for url in &urls {
        let redirected = get(&gateway, url, GREEDY).wget_agent().send();
        assert_eq!(redirected.status, 302, "{url}");
    }
    await_requests(&origin, 6);
    let answer = get(&gateway, &origin.url("/small-1.0.tar.gz"), OTHER).send();
    answer.assert_body(200, &small);
    gate.open();
    for url in &urls {
        gateway.await_stored(url);
    }
}

#[test]
fn exchanges_and_pass_throughs_leave_permits() {
    // The class of the targets, and a URL of it.
    for path in ["/list", "/page?session=1&sig=2"] {
        let (origin, gate) = (Origin::start(), Gate::new());
        let body = archive(8, 10_000);
        let gateway = sharing(&origin).hard_descriptors(1024).start();
        let url = |number: usize| {
            // A number would fix the name.
            let letters = [number / 26, number % 26]
                .map(|digit| char::from(b"bcdfghjklmnpqrstvwxzaeiouy"[digit]));
            let (name, rest) = path.split_at(5);
            format!("{name}-{}{}{rest}", letters[0], letters[1])
        };
        for number in 0..200 {
            let reply = Reply::ok(&body)
                .header("ETag", "\"1\"")
                .gate_before_head(&gate);
            origin.serve(&url(number), reply);
        }
        origin.serve(&url(600), Reply::ok(&body).header("ETag", "\"1\""));
        let waiting: Vec<_> = (0..200)
            .map(|number| get(&gateway, &origin.url(&url(number)), GREEDY).start())
            .collect();
        eventually("a request of the greedy client is refused or waits", || {
            let refused = waiting.iter().any(Waiting::has_answer);
            (refused || origin.total() >= 50).then_some(())
        });
        let answer = get(&gateway, &origin.url(&url(600)), OTHER).send();
        answer.assert_body(200, &body);
        gate.open();
        for client in waiting {
            let answer = client.head().finish();
            if answer.status != 503 {
                answer.assert_body(200, &body);
            }
        }
    }
}

#[test]
fn waiting_hits_of_one_client_leave_responses() {
    let origin = Origin::start();
    let (large, small) = (archive(9, 24 << 20), archive(10, 20_000));
    origin.serve("/large-1.0.tar.gz", Reply::file(&large));
    origin.serve("/small-1.0.tar.gz", Reply::file(&small));
    let gateway = sharing(&origin).hard_descriptors(512).start();
    for (path, body) in [("/large-1.0.tar.gz", &large), ("/small-1.0.tar.gz", &small)] {
        get(&gateway, &origin.url(path), OTHER)
            .send()
            .assert_body(200, body);
        gateway.await_stored(&origin.url(path));
    }
    let url = origin.url("/large-1.0.tar.gz");
    let mut unread = Vec::new();
    // The client reads no body. At last a response is refused.
    let refused = loop {
        let response = get(&gateway, &url, GREEDY).open();
        if response.head.status == 503 {
            break response.finish();
        }
        unread.push(response);
        assert!(unread.len() < 512, "responses are unbounded");
    };
    refused.assert_problem(503);
    assert_eq!(refused.wants("retry-after"), "5");
    for _ in 0..5 {
        let answer = get(&gateway, &origin.url("/small-1.0.tar.gz"), OTHER).send();
        answer.assert_body(200, &small);
        answer.assert_cache(&["hit"]);
    }
}

#[test]
fn hashing_for_one_client_leaves_others_prompt() {
    let origin = Origin::start();
    let gateway = sharing(&origin).start();
    let stored = |number: u64, size_bytes: usize| {
        let path = format!("/x-{number}.0.tar.gz");
        let body = archive(20 + number, size_bytes);
        origin.serve(&path, Reply::file(&body));
        let url = origin.url(&path);
        get(&gateway, &url, OTHER).send().assert_body(200, &body);
        gateway.await_stored(&url);
        url
    };
    let large: Vec<_> = (0..6).map(|number| stored(number, 8 << 20)).collect();
    let small = stored(6, 20_000);
    let wrong = "0".repeat(128);
    let state_digest = |url: &str, client| {
        gateway
            .request("HEAD", &format!("/{url}"))
            .header("X-Forwarded-For", client)
            .header("X-Expected-Sha512", &wrong)
    };
    let waiting: Vec<_> = large
        .iter()
        .map(|url| state_digest(url, GREEDY).start())
        .collect();
    let answer = state_digest(&small, OTHER).send();
    let answered = waiting.iter().filter(|client| client.has_answer()).count();
    assert_eq!(answer.status, 409);
    assert!(
        answered < large.len(),
        "the small object had to wait for the large ones"
    );
    for client in waiting {
        assert_eq!(client.head().finish().status, 409);
    }
    // The digests are known now, also to the greedy client.
    for url in &large {
        assert_eq!(state_digest(url, GREEDY).send().status, 409);
    }
}
