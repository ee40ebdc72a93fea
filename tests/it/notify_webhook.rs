//! The webhook: signed, tried again, given up, and never in anybody's way.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Builder, Gate, Gateway, Log, Origin, Reply, Tool, archive};
use crate::notify::{await_posts, hook, incidents, posting, posts};

const HOOK: &str = "/hook";
const PATH: &str = "/pub/x-1.0.tar.gz";
const SECRET: &str = "S3CRET";

/// An origin that fails at `PATH` and gives files elsewhere.
fn failing() -> Origin {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(500));
    origin
}

/// Begins an incident.
#[track_caller]
fn fail(gateway: &Gateway, origin: &Origin) {
    gateway.get(&origin.url(PATH)).send().assert_status(502);
}

/// How a delivery ended, as the log tells it.
#[track_caller]
fn await_end(gateway: &Gateway, outcome: &str) -> Value {
    gateway.log().wait_for(outcome, |event| event["by"] == "webhook" && event["message"] == outcome)
}

#[test]
fn a_post_is_signed_together_with_its_time() {
    let (origin, hook) = (failing(), hook());
    let gateway = posting(&origin, &hook).text("notify.webhook_secret", SECRET).start();
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    let asked = hook.request(HOOK);
    assert_eq!((asked.method.as_str(), asked.header("content-type")), ("POST", Some("application/json")));
    let timestamp = asked.header("x-millpond-timestamp").expect("it says when");
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs()
        - timestamp.parse::<u64>().expect("it is a number");
    assert!(age < 60, "{age} s old");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let signed = [timestamp.as_bytes(), b".", &asked.body].concat();
    std::fs::write(folder.path().join("signed"), signed).expect("the folder can be written");
    let run =
        Tool::new("openssl", "openssl", folder.path()).args(&["dgst", "-sha256", "-hmac", SECRET, "signed"]).run();
    run.assert_success();
    let hex = run.stdout.trim().rsplit(' ').next().expect("openssl says it last").to_owned();
    assert_eq!(asked.header("x-millpond-signature"), Some(format!("sha256={hex}").as_str()));
}

#[test]
fn without_a_secret_nothing_is_signed() {
    let (origin, hook) = (failing(), hook());
    let gateway = posting(&origin, &hook).start();
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    assert_eq!(hook.request(HOOK).header("x-millpond-signature"), None);
}

#[test]
fn a_webhook_that_fails_is_tried_again() {
    let (origin, hook) = (failing(), Origin::start());
    hook.script(HOOK, vec![Reply::status(500), Reply::status(204)]);
    let gateway = posting(&origin, &hook).start();
    fail(&gateway, &origin);
    assert_eq!(await_end(&gateway, "told")["attempt"], 2);
    let told = posts(&hook);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1], "a second delivery can be known");
}

#[test]
fn a_webhook_that_stays_away_is_given_up() {
    let (origin, hook) = (failing(), hook());
    let gateway = posting(&origin, &hook).start();
    hook.stop();
    fail(&gateway, &origin);
    assert_eq!(await_end(&gateway, "could not be told")["attempt"], 4);
    assert_eq!(incidents(&gateway).len(), 1, "it is listed all the same");
}

#[test]
fn a_webhook_that_refuses_or_sends_elsewhere_is_not_asked_again() {
    for reply in [Reply::status(400), Reply::redirect(307, "/elsewhere")] {
        let (origin, hook) = (failing(), Origin::start());
        hook.serve(HOOK, reply);
        let gateway = posting(&origin, &hook).start();
        fail(&gateway, &origin);
        assert_eq!(await_end(&gateway, "could not be told")["attempt"], 1);
        assert_eq!(hook.asked(), [HOOK]);
    }
}

#[test]
fn a_silent_webhook_delays_neither_fetches_nor_the_end() {
    let (origin, hook) = (failing(), Origin::start());
    let gate = Gate::new();
    hook.serve(HOOK, Reply::status(204).gate_before_head(&gate));
    let body = archive(1, 5000);
    let mut gateway = posting(&origin, &hook).start();
    fail(&gateway, &origin);
    gate.await_reached(1);
    for number in 0..20 {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
    }
    // The gate is shut to the end: the webhook's own time limit is longer than what a stop waits for it.
    let stopping = Instant::now();
    gateway.stop();
    assert!(stopping.elapsed() < Duration::from_secs(8), "{:?}", stopping.elapsed());
    assert_eq!(hook.total(), 1, "the recovery waits behind the alert");
}

#[test]
fn a_proxy_of_the_environment_does_not_see_the_posts() {
    let (origin, hook, proxy) = (failing(), hook(), Origin::start());
    let builder = posting(&origin, &hook).env("http_proxy", &proxy.url("")).env("ALL_PROXY", &proxy.url(""));
    let gateway = builder.start();
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    assert_eq!(proxy.connections(), 0);
}

/// What was told by a gateway of this configuration, and its whole log.
fn told_by(origin: &Origin, hook: &Origin, configure: impl FnOnce(Builder) -> Builder) -> (Vec<Value>, Log) {
    let builder = configure(posting(origin, hook)).text("log.level", "trace");
    let mut gateway = builder.start();
    fail(&gateway, origin);
    gateway.log().wait_for("a delivery", |event| event["by"] == "webhook" && event["attempt"].is_u64());
    let log = gateway.log().clone();
    gateway.stop();
    (posts(hook), log)
}

#[test]
fn secrets_are_in_no_log() {
    let (origin, hook) = (failing(), Origin::start());
    let path = format!("/{SECRET}/hook");
    for replies in [vec![Reply::status(500), Reply::status(400)], vec![Reply::status(204)]] {
        hook.script(&path, replies);
        let (_, log) = told_by(&origin, &hook, |builder| {
            let builder = builder.text("notify.webhook_url", &hook.url(&path)).text("notify.webhook_secret", SECRET);
            let smtp = format!("smtp://user:{SECRET}@127.0.0.1:9");
            let builder = builder.text("notify.smtp_url", &smtp).text("notify.mail_from", "millpond@example.org");
            builder.set("notify.mail_to", "[\"ops@example.org\"]")
        });
        assert_eq!(log.text().lines().find(|line| line.contains(SECRET)), None);
    }
    assert!(hook.count(&path) >= 2);
}

#[test]
fn secrets_may_lie_in_files() {
    let (origin, hook) = (failing(), hook());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.to_str().expect("the path is text").to_owned()
    };
    let url = file("url", &format!("{}\n", hook.url(HOOK)));
    let by_file = told_by(&origin, &hook, |builder| {
        let builder = builder.text("notify.webhook_url", "").text("notify.webhook_url_file", &url);
        builder.text("notify.webhook_secret_file", &file("secret", &format!("{SECRET}\r\n")))
    });
    assert_eq!(by_file.0.len(), 1);
    let asked = hook.request(HOOK);
    let timestamp = asked.header("x-millpond-timestamp").expect("it is signed");
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(SECRET.as_bytes()).expect("any key fits");
    hmac::Mac::update(&mut mac, &[timestamp.as_bytes(), b".", &asked.body].concat());
    let signature = format!("sha256={}", hex::encode(hmac::Mac::finalize(mac).into_bytes()));
    assert_eq!(asked.header("x-millpond-signature"), Some(signature.as_str()), "a line's end is no part of a secret");
    assert!(!by_file.1.text().contains(SECRET));
}

#[test]
fn where_it_is_told_changes_with_a_restart() {
    let (origin, hook) = (failing(), hook());
    let mut gateway = posting(&origin, &hook).start();
    let other = crate::notify::hook();
    gateway.reload(|builder| builder.text("notify.webhook_url", &other.url(HOOK)));
    gateway.log().wait_for_line("the restart", |line| line.contains("notify") && line.contains("need a restart"));
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    gateway.restart();
    fail(&gateway, &origin);
    await_posts(&other, 1);
    assert_eq!(posts(&hook).len(), 1);
}
