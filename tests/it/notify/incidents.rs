//! Incidents: which events open one, which send an alert, which are only listed, and when they end.

mod content;
mod flood;

use serde_json::Value;

use crate::harness::{
    Builder, Gate, Gateway, Origin, Reply, Stop, all_at_once, archive, eventually,
};

const HOOK: &str = "/hook";
const PATH: &str = "/pub/x-1.0.tar.gz";

/// Starts a webhook server that accepts every POST.
pub fn hook() -> Origin {
    let hook = Origin::start();
    hook.serve(HOOK, Reply::status(204));
    hook
}

/// Returns a gateway that asks `origin` once, caches no failure, and posts to `hook`. The policy
/// does not allow fetches from `hook`.
pub fn posting(origin: &Origin, hook: &Origin) -> Builder {
    let builder = Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "1ms");
    builder.text("notify.webhook_url", &hook.url(HOOK))
}

/// Returns the JSON bodies posted so far.
pub fn posts(hook: &Origin) -> Vec<Value> {
    let json = |body: &[u8]| serde_json::from_slice(body).expect("a post is JSON");
    hook.requests(HOOK)
        .iter()
        .map(|asked| json(&asked.body))
        .collect()
}

#[track_caller]
pub fn await_posts(hook: &Origin, count: usize) -> Vec<Value> {
    eventually("the posts have arrived", || {
        Some(posts(hook)).filter(|posts| posts.len() >= count)
    })
}

/// Returns the incidents that the API lists.
#[track_caller]
pub fn incidents(gateway: &Gateway) -> Vec<Value> {
    let answer = gateway.operate("GET", "/api/v1/incidents").send();
    answer.assert_status(200);
    let page: Value = serde_json::from_slice(&answer.body).expect("the response is JSON");
    page["incidents"]
        .as_array()
        .expect("`incidents` is an array")
        .clone()
}

/// Waits until the only incident of a cause satisfies `wanted`.
#[track_caller]
fn await_incident(gateway: &Gateway, cause: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the incident is listed as wanted", || {
        let mut found = incidents(gateway)
            .into_iter()
            .filter(|incident| incident["cause"] == cause);
        let first = found.next().filter(&wanted);
        assert!(
            found.next().is_none(),
            "a cause and a host have one incident"
        );
        first
    })
}

#[test]
fn failures_of_one_host_are_one_alert() {
    let (origin, hook) = (Origin::start(), hook());
    let path = |number: usize| format!("/pub/x-{number}.tar.gz");
    (0..20).for_each(|number| {
        origin.serve(
            &path(number),
            Reply::status(204).stop_before_head(Stop::Cut),
        );
    });
    let mut gateway = posting(&origin, &hook).start();
    let statuses = all_at_once(20, |number| {
        gateway.get(&origin.url(&path(number))).send().status
    });
    assert_eq!(statuses, [504; 20]);
    let listed = await_incident(&gateway, "unreachable", |incident| incident["count"] == 20);
    assert_eq!(
        (&listed["host"], &listed["state"]),
        (&Value::from("127.0.0.1"), &Value::from("open"))
    );
    assert_eq!(listed["severity"], "alert");
    assert_eq!(
        listed["targets"].as_array().map(Vec::len),
        Some(8),
        "the incident lists some of the targets"
    );
    let told = &await_posts(&hook, 1)[0];
    assert_eq!(
        (&told["version"], &told["event"]),
        (&Value::from(1), &Value::from("alert"))
    );
    assert_eq!(told["instance"], "mill-test");
    assert_eq!(
        told["summary"],
        "127.0.0.1 is unreachable or closes the connection early"
    );
    assert_eq!(told["incident"]["id"], listed["id"]);
    // Shutdown sends the queued notifications.
    gateway.stop();
    assert_eq!(posts(&hook).len(), 1);
}

#[test]
fn each_host_and_cause_has_its_alert() {
    let (origin, hook) = (Origin::start(), hook());
    let other = Origin::start_at("127.0.0.2");
    for origin in [&origin, &other] {
        origin.serve(PATH, Reply::status(500));
    }
    origin.serve("/page-1.0.tar.gz", Reply::html());
    let mut gateway = posting(&origin, &hook).origin(&other).start();
    for url in [
        origin.url(PATH),
        other.url(PATH),
        origin.url("/page-1.0.tar.gz"),
        origin.url(PATH),
    ] {
        gateway.get(&url).send().assert_status(502);
    }
    gateway.stop();
    let told = posts(&hook);
    let told: Vec<_> = told
        .iter()
        .map(|told| (&told["incident"]["cause"], &told["incident"]["host"]))
        .collect();
    let wanted = [
        ("upstream_error", "127.0.0.1"),
        ("upstream_error", "127.0.0.2"),
        ("wrong_file_type", "127.0.0.1"),
    ];
    let wanted: Vec<_> = wanted
        .map(|(cause, host)| (Value::from(cause), Value::from(host)))
        .into();
    assert_eq!(
        told,
        wanted
            .iter()
            .map(|(cause, host)| (cause, host))
            .collect::<Vec<_>>()
    );
}

#[test]
fn successful_fetches_end_incident_of_host() {
    let (origin, hook) = (Origin::start(), hook());
    let stored = ["/other-1.0.tar.gz", "/another-1.0.tar.gz"];
    for path in [PATH, "/second-1.0.tar.gz", "/third-1.0.tar.gz"] {
        origin.serve(path, Reply::status(503));
    }
    for path in stored {
        origin.serve(path, Reply::file(&archive(1, 5000)));
    }
    let mut gateway = posting(&origin, &hook).start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    let alert = await_posts(&hook, 1).remove(0);
    assert_eq!(alert["incident"]["ended"], Value::Null);
    // An error of several targets is one of the host.
    let second = origin.url("/second-1.0.tar.gz");
    gateway.get(&second).send().assert_status(502);
    await_incident(&gateway, "upstream_error", |incident| {
        incident["count"] == 2
    });
    for path in stored {
        gateway.get(&origin.url(path)).send().assert_status(200);
        gateway.await_stored(&origin.url(path));
    }
    let recovery = await_posts(&hook, 2).remove(1);
    assert_eq!(
        (&recovery["event"], &recovery["incident"]["state"]),
        (&"recovery".into(), &"recovered".into())
    );
    assert_eq!(recovery["incident"]["id"], alert["incident"]["id"]);
    assert!(recovery["incident"]["ended"].is_string(), "{recovery}");
    // The host fails again at once: the incident reopens without a second alert.
    gateway
        .get(&origin.url("/third-1.0.tar.gz"))
        .send()
        .assert_status(502);
    let again = await_incident(&gateway, "upstream_error", |incident| {
        incident["state"] == "open"
    });
    assert_eq!(
        (&again["id"], &again["count"]),
        (&alert["incident"]["id"], &3.into())
    );
    gateway.stop();
    assert_eq!(posts(&hook).len(), 2);
}

#[test]
fn wrong_url_is_listed_without_alert() {
    let (origin, hook) = (Origin::start(), hook());
    let mut gateway = posting(&origin, &hook).start();
    gateway.get(&origin.url(PATH)).send().assert_status(404);
    let listed = await_incident(&gateway, "not_found", |incident| {
        incident["state"] == "open"
    });
    assert_eq!(
        (&listed["severity"], &listed["alerted"]),
        (&Value::from("notice"), &Value::Null)
    );
    gateway.stop();
    assert!(posts(&hook).is_empty());
}

#[test]
fn full_disk_is_one_incident_of_instance() {
    let (origin, hook) = (Origin::start(), hook());
    let body = archive(7, 3 << 20);
    let small = archive(8, 5000);
    for (path, body) in [
        (PATH, &body),
        ("/y-1.0.tar.gz", &body),
        ("/small-1.0.tar.gz", &small),
    ] {
        origin.serve(path, Reply::file(body));
    }
    let mut gateway = posting(&origin, &hook)
        .text("cache.max_size", "1MiB")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.assert_serves(&origin.url("/y-1.0.tar.gz"), &body);
    let listed = await_incident(&gateway, "no_space", |incident| incident["count"] == 2);
    assert_eq!(listed["host"], Value::Null);
    gateway.assert_serves(&origin.url("/small-1.0.tar.gz"), &small);
    let told = await_posts(&hook, 2);
    assert_eq!(
        (&told[0]["event"], &told[1]["event"]),
        (&"alert".into(), &"recovery".into())
    );
    let objects = gateway.cache().join("objects");
    std::fs::remove_dir_all(&objects).expect("the folder can be removed");
    std::fs::write(&objects, "no folder").expect("a file can be written in its place");
    gateway.get(&origin.url("/z-1.0.tar.gz")).send();
    origin.serve("/broken-1.0.tar.gz", Reply::file(&small));
    gateway.get(&origin.url("/broken-1.0.tar.gz")).send();
    assert_eq!(
        await_posts(&hook, 3)[2]["incident"]["cause"],
        "store_failed"
    );
    std::fs::remove_file(&objects).expect("the file exists");
    gateway.stop();
}

#[test]
fn policy_denial_is_no_incident() {
    let (origin, hook) = (Origin::start(), hook());
    origin.serve(PATH, Reply::redirect(302, "http://192.0.2.1/x-7.0.tar.gz"));
    origin.serve("/large-1.0.tar.gz", Reply::file(&archive(9, 5000)));
    let mut gateway = posting(&origin, &hook)
        .text("policy.max_object_size", "1KiB")
        .start();
    for path in [PATH, "/large-1.0.tar.gz"] {
        gateway.get(&origin.url(path)).send().assert_status(403);
        gateway.await_fetch(&origin.url(path));
    }
    assert_eq!(incidents(&gateway), Vec::<Value>::new());
    gateway.stop();
    assert!(posts(&hook).is_empty());
}

#[test]
fn peer_failure_is_reported_once() {
    let (origin, hook) = (Origin::start(), hook());
    let gate = Gate::new();
    origin.serve(PATH, Reply::status(500).gate_before_head(&gate));
    let gateway = posting(&origin, &hook).start();
    let sibling = gateway.sibling().start();
    let url = origin.url(PATH);
    let first = gateway.get(&url).start();
    gate.await_reached(1);
    let second = sibling.get(&url).start();
    sibling.await_at_lease(&url);
    gate.open();
    for answer in [first, second] {
        answer.head().finish().assert_status(502);
    }
    sibling.await_fetch(&url);
    assert_eq!(origin.count(PATH), 1);
    drop((gateway, sibling));
    assert_eq!(posts(&hook).len(), 1);
}

#[test]
fn incidents_are_visible_to_allowed_clients_only() {
    let (origin, hook) = (Origin::start(), hook());
    origin.serve(PATH, Reply::status(500));
    let builder = posting(&origin, &hook).set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]");
    let gateway = builder
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    let page = |client: &str| {
        gateway
            .operate("GET", "/api/v1/incidents")
            .header("X-Forwarded-For", client)
            .send()
    };
    page("198.51.100.1").assert_status(403);
    let shown = page("10.1.2.3");
    shown.assert_body(200, b"{\"incidents\":[],\"total\":0,\"next\":null}\n");
    assert_eq!(
        (shown.wants("content-type"), shown.wants("cache-control")),
        ("application/json", "no-store")
    );
    gateway
        .request("POST", "/api/v1/incidents")
        .header("X-Forwarded-For", "10.1.2.3")
        .send()
        .assert_status(405);
    gateway
        .get(&origin.url(PATH))
        .header("X-Forwarded-For", "10.1.2.3")
        .send()
        .assert_status(502);
    eventually("the incident is listed", || {
        page("10.1.2.3")
            .text()
            .contains("\"upstream_error\"")
            .then_some(())
    });
    assert!(!page("198.51.100.1").text().contains("/pub/"));
}
