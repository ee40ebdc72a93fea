//! Incidents: what is one, what is told of it, what is only listed, and when it is over.

use serde_json::Value;

use crate::harness::{Builder, Gate, Gateway, Origin, Reply, Stop, all_at_once, archive, eventually, sha256};

const HOOK: &str = "/hook";
const PATH: &str = "/pub/x-1.0.tar.gz";

/// A server that takes every post.
pub fn hook() -> Origin {
    let hook = Origin::start();
    hook.serve(HOOK, Reply::status(204));
    hook
}

/// A gateway that asks `origin` once, remembers no failure, and posts to `hook`. The policy does not let it fetch from there.
pub fn posting(origin: &Origin, hook: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt().text("cache.absent_ttl", "1ms");
    builder.text("notify.webhook_url", &hook.url(HOOK))
}

/// The posts so far, as JSON.
pub fn posts(hook: &Origin) -> Vec<Value> {
    let json = |body: &[u8]| serde_json::from_slice(body).expect("a post is JSON");
    hook.requests(HOOK).iter().map(|asked| json(&asked.body)).collect()
}

#[track_caller]
pub fn await_posts(hook: &Origin, count: usize) -> Vec<Value> {
    eventually("it was posted", || Some(posts(hook)).filter(|posts| posts.len() >= count))
}

/// What the page lists.
#[track_caller]
pub fn incidents(gateway: &Gateway) -> Vec<Value> {
    let answer = gateway.request("GET", "/api/v1/incidents").send();
    answer.assert_status(200);
    let page: Value = serde_json::from_slice(&answer.body).expect("the page is JSON");
    page["incidents"].as_array().expect("it is a list").clone()
}

/// Waits for the only incident of a cause to be as wanted.
#[track_caller]
fn await_incident(gateway: &Gateway, cause: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the incident is listed so", || {
        let mut found = incidents(gateway).into_iter().filter(|incident| incident["cause"] == cause);
        let first = found.next().filter(&wanted);
        assert!(found.next().is_none(), "one incident of a cause and a host");
        first
    })
}

#[test]
fn twenty_fetches_from_a_dead_host_are_one_alert() {
    let (origin, hook) = (Origin::start(), hook());
    let path = |number: usize| format!("/pub/x-{number}.tar.gz");
    (0..20).for_each(|number| origin.serve(&path(number), Reply::status(204).stop_before_head(Stop::Cut)));
    let mut gateway = posting(&origin, &hook).start();
    let statuses = all_at_once(20, |number| gateway.get(&origin.url(&path(number))).send().status);
    assert_eq!(statuses, [504; 20]);
    let listed = await_incident(&gateway, "silent", |incident| incident["count"] == 20);
    assert_eq!((&listed["host"], &listed["state"]), (&Value::from("127.0.0.1"), &Value::from("open")));
    assert_eq!(listed["severity"], "alert");
    assert_eq!(listed["targets"].as_array().map(Vec::len), Some(8), "some of the targets are shown");
    let told = &await_posts(&hook, 1)[0];
    assert_eq!((&told["version"], &told["occasion"]), (&Value::from(1), &Value::from("alert")));
    assert_eq!(told["instance"], "mill-test");
    assert_eq!(told["summary"], "127.0.0.1 does not answer, or breaks off");
    assert_eq!(told["incident"]["id"], listed["id"]);
    // What waits to be told is told before the end.
    gateway.stop();
    assert_eq!(posts(&hook).len(), 1);
}

#[test]
fn another_host_and_another_cause_are_other_alerts() {
    let (origin, hook) = (Origin::start(), hook());
    let other = Origin::start_at("127.0.0.2");
    for origin in [&origin, &other] {
        origin.serve(PATH, Reply::status(500));
    }
    origin.serve("/page.tar.gz", Reply::html());
    let mut gateway = posting(&origin, &hook).origin(&other).start();
    for url in [origin.url(PATH), other.url(PATH), origin.url("/page.tar.gz"), origin.url(PATH)] {
        gateway.get(&url).send().assert_status(502);
    }
    gateway.stop();
    let told = posts(&hook);
    let told: Vec<_> = told.iter().map(|told| (&told["incident"]["cause"], &told["incident"]["host"])).collect();
    let wanted = [("status", "127.0.0.1"), ("status", "127.0.0.2"), ("impostor", "127.0.0.1")];
    let wanted: Vec<_> = wanted.map(|(cause, host)| (Value::from(cause), Value::from(host))).into();
    assert_eq!(told, wanted.iter().map(|(cause, host)| (cause, host)).collect::<Vec<_>>());
}

#[test]
fn a_host_that_gives_files_again_has_recovered() {
    let (origin, hook) = (Origin::start(), hook());
    let stored = ["/other.tar.gz", "/another.tar.gz"];
    for path in [PATH, "/third.tar.gz"] {
        origin.serve(path, Reply::status(503));
    }
    for path in stored {
        origin.serve(path, Reply::file(&archive(1, 5000)));
    }
    let mut gateway = posting(&origin, &hook).start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    let alert = await_posts(&hook, 1).remove(0);
    assert_eq!(alert["incident"]["ended"], Value::Null);
    for path in stored {
        gateway.get(&origin.url(path)).send().assert_status(200);
        gateway.await_stored(&origin.url(path));
    }
    let recovery = await_posts(&hook, 2).remove(1);
    assert_eq!((&recovery["occasion"], &recovery["incident"]["state"]), (&"recovery".into(), &"recovered".into()));
    assert_eq!(recovery["incident"]["id"], alert["incident"]["id"]);
    assert!(recovery["incident"]["ended"].is_string(), "{recovery}");
    // It comes back at once: the same incident, and no second alert so soon.
    gateway.get(&origin.url("/third.tar.gz")).send().assert_status(502);
    let again = await_incident(&gateway, "status", |incident| incident["state"] == "open");
    assert_eq!((&again["id"], &again["count"]), (&alert["incident"]["id"], &2.into()));
    gateway.stop();
    assert_eq!(posts(&hook).len(), 2);
}

#[test]
fn a_wrong_url_is_listed_and_told_to_nobody() {
    let (origin, hook) = (Origin::start(), hook());
    let mut gateway = posting(&origin, &hook).start();
    gateway.get(&origin.url(PATH)).send().assert_status(404);
    let listed = await_incident(&gateway, "absent", |incident| incident["state"] == "open");
    assert_eq!((&listed["severity"], &listed["alerted"]), (&Value::from("notice"), &Value::Null));
    gateway.stop();
    assert!(posts(&hook).is_empty());
}

#[test]
fn what_was_kept_and_is_gone_or_changed_is_an_alert() {
    let (origin, hook) = (Origin::start(), hook());
    let body = archive(3, 5000);
    origin
        .script(PATH, vec![Reply::file(&body), Reply::status(404), Reply::file(&archive(4, 5000)), Reply::file(&body)]);
    let url = origin.url(PATH);
    let mut gateway = posting(&origin, &hook).start();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.restart();
    std::fs::remove_file(gateway.object_path(&body)).expect("the object is there");
    gateway.get(&url).send().assert_status(404);
    assert_eq!(await_posts(&hook, 1)[0]["incident"]["cause"], "gone");
    // The head may be out before the digest is known.
    eventually("the changed bytes are told", || {
        gateway.get(&url).send();
        (posts(&hook).len() >= 2).then_some(())
    });
    assert_eq!(posts(&hook)[1]["incident"]["cause"], "changed");
    eventually("the old bytes are back", || (gateway.get(&url).send().status == 200).then_some(()));
    gateway.stop();
    let told = posts(&hook);
    let mut recovered: Vec<_> = told[2..].iter().map(|told| told["incident"]["cause"].to_string()).collect();
    recovered.sort();
    assert_eq!(recovered, ["\"changed\"", "\"gone\""]);
}

#[test]
fn other_bytes_than_a_client_expects_are_over_when_that_target_is_stored() {
    let (origin, hook) = (Origin::start(), hook());
    let (wrong, right) = (archive(5, 5000), archive(6, 5000));
    origin.script(PATH, vec![Reply::file(&wrong), Reply::file(&right)]);
    origin.serve("/other.tar.gz", Reply::file(&right));
    let mut gateway = posting(&origin, &hook).start();
    let ask = || gateway.get(&origin.url(PATH)).header("X-Expected-Sha256", &sha256(&right)).send();
    ask();
    let alert = await_posts(&hook, 1).remove(0);
    assert_eq!(alert["incident"]["cause"], "mismatch");
    let detail = alert["incident"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(&sha256(&wrong)) && detail.contains(&sha256(&right)), "{detail}");
    gateway.assert_serves(&origin.url("/other.tar.gz"), &right);
    gateway.await_stored(&origin.url("/other.tar.gz"));
    await_incident(&gateway, "mismatch", |incident| incident["state"] == "open");
    assert_eq!(posts(&hook).len(), 1, "another target says nothing of it");
    ask().assert_body(200, &right);
    assert_eq!(await_posts(&hook, 2)[1]["occasion"], "recovery");
    gateway.stop();
}

#[test]
fn a_disk_that_keeps_nothing_is_one_incident_of_the_instance() {
    let (origin, hook) = (Origin::start(), hook());
    let body = archive(7, 3 << 20);
    let small = archive(8, 5000);
    for (path, body) in [(PATH, &body), ("/y.tar.gz", &body), ("/small.tar.gz", &small)] {
        origin.serve(path, Reply::file(body));
    }
    let mut gateway = posting(&origin, &hook).text("cache.max_size", "1MiB").start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.assert_serves(&origin.url("/y.tar.gz"), &body);
    let listed = await_incident(&gateway, "no_space", |incident| incident["count"] == 2);
    assert_eq!(listed["host"], Value::Null);
    gateway.assert_serves(&origin.url("/small.tar.gz"), &small);
    let told = await_posts(&hook, 2);
    assert_eq!((&told[0]["occasion"], &told[1]["occasion"]), (&"alert".into(), &"recovery".into()));
    let objects = gateway.cache().join("objects");
    std::fs::remove_dir_all(&objects).expect("the folder can be removed");
    std::fs::write(&objects, "no folder").expect("a file can lie in its place");
    gateway.get(&origin.url("/z.tar.gz")).send();
    origin.serve("/broken.tar.gz", Reply::file(&small));
    gateway.get(&origin.url("/broken.tar.gz")).send();
    assert_eq!(await_posts(&hook, 3)[2]["incident"]["cause"], "store_failed");
    std::fs::remove_file(&objects).expect("it is there");
    gateway.stop();
}

#[test]
fn what_policy_refuses_is_no_incident() {
    let (origin, hook) = (Origin::start(), hook());
    origin.serve(PATH, Reply::redirect(302, "http://192.0.2.1/x.tar.gz"));
    origin.serve("/large.tar.gz", Reply::file(&archive(9, 5000)));
    let mut gateway = posting(&origin, &hook).text("policy.max_object_size", "1KiB").start();
    for path in [PATH, "/large.tar.gz"] {
        gateway.get(&origin.url(path)).send().assert_status(403);
        gateway.await_fetch(&origin.url(path));
    }
    assert_eq!(incidents(&gateway), Vec::<Value>::new());
    gateway.stop();
    assert!(posts(&hook).is_empty());
}

#[test]
fn what_one_process_was_told_its_neighbour_does_not_tell_again() {
    let (origin, hook) = (Origin::start(), hook());
    let gate = Gate::new();
    origin.serve(PATH, Reply::status(500).gate_before_head(&gate));
    let gateway = posting(&origin, &hook).start();
    let sibling = gateway.sibling().start();
    let url = origin.url(PATH);
    let first = gateway.get(&url).start();
    gate.await_reached(1);
    let second = sibling.get(&url).start();
    sibling.await_at_claim(&url);
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
fn incidents_are_shown_to_whom_files_are_served() {
    let (origin, hook) = (Origin::start(), hook());
    origin.serve(PATH, Reply::status(500));
    let builder = posting(&origin, &hook).set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]");
    let gateway = builder.set("policy.allow_clients", "[\"10.0.0.0/8\"]").start();
    let page = |client: &str| gateway.request("GET", "/api/v1/incidents").header("X-Forwarded-For", client).send();
    page("198.51.100.1").assert_status(403);
    let shown = page("10.1.2.3");
    shown.assert_body(200, b"{\"incidents\":[]}\n");
    assert_eq!((shown.wants("content-type"), shown.wants("cache-control")), ("application/json", "no-store"));
    gateway.request("POST", "/api/v1/incidents").header("X-Forwarded-For", "10.1.2.3").send().assert_status(405);
    gateway.get(&origin.url(PATH)).header("X-Forwarded-For", "10.1.2.3").send().assert_status(502);
    eventually("it is listed", || page("10.1.2.3").text().contains("\"status\"").then_some(()));
    assert!(!page("198.51.100.1").text().contains("/pub/"));
}
