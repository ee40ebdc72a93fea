//! The webhook: signatures, retries, and failures that must not delay fetches.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Builder, Gate, Gateway, Log, Origin, Reply, Tool, archive};
use crate::notify::incidents::{await_posts, hook, incidents, posting, posts};

const HOOK: &str = "/hook";
const PATH: &str = "/pub/x-1.0.tar.gz";
const SECRET: &str = "S3CRET";

/// Starts an origin that fails at `PATH`.
fn failing() -> Origin {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(500));
    origin
}

/// Makes a fetch fail, which opens an incident.
#[track_caller]
fn fail(gateway: &Gateway, origin: &Origin) {
    gateway.get(&origin.url(PATH)).send().assert_status(502);
}

/// Returns the log event of a delivery's result.
#[track_caller]
fn await_end(gateway: &Gateway, outcome: &str) -> Value {
    gateway.log().wait_for(outcome, |event| {
        event["by"] == "webhook" && event["message"] == outcome
    })
}

#[test]
fn webhook_post_is_signed_with_timestamp() {
    let (origin, hook) = (failing(), hook());
    let gateway = posting(&origin, &hook)
        .text("notify.webhook_secret", SECRET)
        .start();
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    let asked = hook.request(HOOK);
    assert_eq!(
        (asked.method.as_str(), asked.header("content-type")),
        ("POST", Some("application/json"))
    );
    let timestamp = asked
        .header("x-millpond-timestamp")
        .expect("the post has a timestamp");
    let age = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is later than 1970")
        .as_secs()
        - timestamp.parse::<u64>().expect("the timestamp is a number");
    assert!(age < 60, "{age} s old");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let signed = [timestamp.as_bytes(), b".", &asked.body].concat();
    std::fs::write(folder.path().join("signed"), signed).expect("the folder can be written");
    let run = Tool::new("openssl", "openssl", folder.path())
        .args(&["dgst", "-sha256", "-hmac", SECRET, "signed"])
        .run();
    run.assert_success();
    let hex = run
        .stdout
        .trim()
        .rsplit(' ')
        .next()
        .expect("openssl prints the digest last")
        .to_owned();
    assert_eq!(
        asked.header("x-millpond-signature"),
        Some(format!("sha256={hex}").as_str())
    );
}

#[test]
fn post_without_secret_is_unsigned() {
    let (origin, hook) = (failing(), hook());
    let gateway = posting(&origin, &hook).start();
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    assert_eq!(hook.request(HOOK).header("x-millpond-signature"), None);
}

#[test]
fn failed_webhook_post_is_retried() {
    let (origin, hook) = (failing(), Origin::start());
    hook.script(HOOK, vec![Reply::status(500), Reply::status(204)]);
    let gateway = posting(&origin, &hook).start();
    fail(&gateway, &origin);
    assert_eq!(await_end(&gateway, "notification delivered")["attempt"], 2);
    let told = posts(&hook);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1], "a retry sends the same post");
}

#[test]
fn unreachable_webhook_is_given_up() {
    let (origin, hook) = (failing(), hook());
    let gateway = posting(&origin, &hook).start();
    hook.stop();
    fail(&gateway, &origin);
    assert_eq!(
        await_end(&gateway, "notification failed, giving up")["attempt"],
        4
    );
    assert_eq!(incidents(&gateway).len(), 1, "the incident is still listed");
}

#[test]
fn rejecting_or_redirecting_webhook_is_not_retried() {
    for reply in [Reply::status(400), Reply::redirect(307, "/elsewhere")] {
        let (origin, hook) = (failing(), Origin::start());
        hook.serve(HOOK, reply);
        let gateway = posting(&origin, &hook).start();
        fail(&gateway, &origin);
        assert_eq!(
            await_end(&gateway, "notification failed, giving up")["attempt"],
            1
        );
        assert_eq!(hook.asked(), [HOOK]);
    }
}

#[test]
fn silent_webhook_delays_neither_fetches_nor_shutdown() {
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
    // The gate stays closed: the timeout of a post is longer than the wait at shutdown.
    let stopping = Instant::now();
    gateway.stop();
    assert!(
        stopping.elapsed() < Duration::from_secs(8),
        "{:?}",
        stopping.elapsed()
    );
    assert_eq!(hook.total(), 1, "the recovery is queued behind the alert");
}

#[test]
fn webhook_ignores_proxy_environment_variables() {
    let (origin, hook, proxy) = (failing(), hook(), Origin::start());
    let builder = posting(&origin, &hook)
        .env("http_proxy", &proxy.url(""))
        .env("ALL_PROXY", &proxy.url(""));
    let gateway = builder.start();
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    assert_eq!(proxy.connections(), 0);
}

/// Returns the posts of a gateway with this configuration, and its log.
fn told_by(
    origin: &Origin,
    hook: &Origin,
    configure: impl FnOnce(Builder) -> Builder,
) -> (Vec<Value>, Log) {
    let builder = configure(posting(origin, hook)).text("log.level", "trace");
    let mut gateway = builder.start();
    fail(&gateway, origin);
    gateway.log().wait_for("a delivery", |event| {
        event["by"] == "webhook" && event["attempt"].is_u64()
    });
    let log = gateway.log().clone();
    gateway.stop();
    (posts(hook), log)
}

#[test]
fn logs_contain_no_notify_secrets() {
    let (origin, hook) = (failing(), Origin::start());
    let path = format!("/{SECRET}/hook");
    for replies in [
        vec![Reply::status(500), Reply::status(400)],
        vec![Reply::status(204)],
    ] {
        hook.script(&path, replies);
        let (_, log) = told_by(&origin, &hook, |builder| {
            let builder = builder
                .text("notify.webhook_url", &hook.url(&path))
                .text("notify.webhook_secret", SECRET);
            let smtp = format!("smtp://user:{SECRET}@127.0.0.1:9");
            let builder = builder
                .text("notify.smtp_url", &smtp)
                .text("notify.mail_from", "millpond@example.org");
            builder.set("notify.mail_to", "[\"ops@example.org\"]")
        });
        assert_eq!(log.text().lines().find(|line| line.contains(SECRET)), None);
    }
    assert!(hook.count(&path) >= 2);
}

#[test]
fn notify_secrets_can_be_read_from_files() {
    let (origin, hook) = (failing(), hook());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path.to_str().expect("the path is text").to_owned()
    };
    let url = file("url", &format!("{}\n", hook.url(HOOK)));
    let by_file = told_by(&origin, &hook, |builder| {
        let builder = builder
            .text("notify.webhook_url", "")
            .text("notify.webhook_url_file", &url);
        builder.text(
            "notify.webhook_secret_file",
            &file("secret", &format!("{SECRET}\r\n")),
        )
    });
    assert_eq!(by_file.0.len(), 1);
    let asked = hook.request(HOOK);
    let timestamp = asked
        .header("x-millpond-timestamp")
        .expect("the post is signed");
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(SECRET.as_bytes())
        .expect("any key length is valid");
    hmac::Mac::update(
        &mut mac,
        &[timestamp.as_bytes(), b".", &asked.body].concat(),
    );
    let signature = format!(
        "sha256={}",
        hex::encode(hmac::Mac::finalize(mac).into_bytes())
    );
    assert_eq!(
        asked.header("x-millpond-signature"),
        Some(signature.as_str()),
        "the end of the line is not part of the secret"
    );
    assert!(!by_file.1.text().contains(SECRET));
}

#[test]
fn webhook_url_changes_with_restart_only() {
    let (origin, hook) = (failing(), hook());
    let mut gateway = posting(&origin, &hook).start();
    let other = crate::notify::incidents::hook();
    gateway.reload(|builder| builder.text("notify.webhook_url", &other.url(HOOK)));
    gateway.log().wait_for_line("the restart", |line| {
        line.contains("notify") && line.contains("need a restart")
    });
    fail(&gateway, &origin);
    await_posts(&hook, 1);
    gateway.restart();
    fail(&gateway, &origin);
    await_posts(&other, 1);
    assert_eq!(posts(&hook).len(), 1);
}
