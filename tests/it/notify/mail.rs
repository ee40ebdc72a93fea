//! Incident mail, sent to a real mail server.

use serde_json::Value;

use crate::harness::{Authority, Builder, Gateway, Origin, Reply, Smtp, archive, eventually};

const PATH: &str = "/pub/x-1.0.tar.gz";
const PASSWORD: &str = "S3CRET/?@";
/// The password percent-encoded for a URL.
const SPELLED: &str = "S3CRET%2F%3F%40";

fn failing() -> Origin {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(500));
    origin
}

fn mailing(origin: &Origin, smtp_url: &str) -> Builder {
    let builder = Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "1ms");
    let builder = builder
        .text("notify.smtp_url", smtp_url)
        .text("notify.mail_from", "Mill <mill@example.org>");
    builder.set(
        "notify.mail_to",
        "[\"ops@example.org\", \"Second <second@example.org>\"]",
    )
}

#[track_caller]
fn await_end(gateway: &Gateway, outcome: &str) -> Value {
    gateway.log().wait_for(outcome, |event| {
        event["by"] == "mail" && event["message"] == outcome
    })
}

/// Returns the header lines and the body lines of a mail.
fn parts(mail: &Value) -> (Vec<String>, Vec<String>) {
    let text = mail["text"]
        .as_str()
        .expect("a mail is text")
        .replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").expect("a mail has a head");
    let lines = |text: &str| text.lines().map(str::to_owned).collect();
    (lines(&head.replace("\n ", " ")), lines(body))
}

#[test]
fn incident_and_recovery_send_one_mail_each() {
    let (origin, smtp) = (failing(), Smtp::start());
    origin.serve("/second-1.0.tar.gz", Reply::status(503));
    origin.serve("/third-1.0.tar.gz", Reply::file(&archive(1, 5000)));
    let mut gateway = mailing(&origin, &format!("smtp://{}", smtp.authority())).start();
    for (path, status) in [
        (PATH, 502),
        ("/second-1.0.tar.gz", 502),
        ("/third-1.0.tar.gz", 200),
    ] {
        gateway.get(&origin.url(path)).send().assert_status(status);
        gateway.await_fetch(&origin.url(path));
    }
    let mails = smtp.await_mails(2);
    gateway.stop();
    assert_eq!(smtp.events("mail").len(), 2);
    assert_eq!(mails[0]["from"], "mill@example.org");
    assert_eq!(
        mails[0]["to"],
        serde_json::json!(["ops@example.org", "second@example.org"])
    );
    let (head, body) = parts(&mails[0]);
    for line in [
        "From: Mill <mill@example.org>",
        "Subject: [millpond mill-test] ALERT: 127.0.0.1 returns an error",
        "Auto-Submitted: auto-generated",
        "Content-Type: text/plain; charset=utf-8",
    ] {
        assert!(
            head.iter().any(|own| own == line),
            "{line:?} is not in {head:#?}"
        );
    }
    assert!(
        head.iter().any(|line| line.starts_with("Date: "))
            && head.iter().any(|line| line.starts_with("Message-ID: "))
    );
    for line in [
        "Cause:     upstream_error",
        "Host:      127.0.0.1",
        "Fetches:   1",
        "Detail:    the origin answered 500",
        &format!("Target:    {}", origin.url(PATH)),
        "Instance:  mill-test",
    ] {
        assert!(
            body.iter().any(|own| own == line),
            "{line:?} is not in {body:#?}"
        );
    }
    let (head, body) = parts(&mails[1]);
    assert!(
        head.iter()
            .any(|line| line.contains("RECOVERED: 127.0.0.1")),
        "{head:#?}"
    );
    assert!(
        body.iter().any(|line| line == "Fetches:   2")
            && body.iter().any(|line| line.starts_with("Ended:"))
    );
}

#[test]
fn deferred_mail_is_retried_and_rejected_is_not() {
    let origin = failing();
    let busy = Smtp::answering(&["451 later", "250 taken"]);
    let gateway = mailing(&origin, &format!("smtp://{}", busy.authority())).start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    assert_eq!(await_end(&gateway, "notification delivered")["attempt"], 2);
    // The mail server reports the mails with a delay.
    let has_seen = |server: &Smtp, count| (server.events("mail").len() == count).then_some(());
    eventually("the server got two mails", || has_seen(&busy, 2));
    let strict = Smtp::answering(&["550 not here"]);
    let gateway = mailing(&origin, &format!("smtp://{}", strict.authority())).start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    assert_eq!(
        await_end(&gateway, "notification failed, giving up")["attempt"],
        1
    );
    eventually("the server got one mail", || has_seen(&strict, 1));
}

#[test]
fn password_is_sent_over_tls_only() {
    let origin = failing();
    let authority = Authority::new();
    for is_implicit in [false, true] {
        let smtp = Smtp::with_tls(&authority, is_implicit, "mill", PASSWORD);
        let scheme = if is_implicit { "smtps" } else { "smtp" };
        let url = format!("{scheme}://mill:{SPELLED}@{}", smtp.authority());
        let gateway = mailing(&origin, &url).authority(&authority).start();
        gateway.get(&origin.url(PATH)).send().assert_status(502);
        let mail = smtp.await_mails(1).remove(0);
        assert_eq!(
            (&mail["is_encrypted"], &mail["is_authenticated"]),
            (&true.into(), &true.into()),
            "{url}"
        );
    }
    let open = Smtp::with_password("mill", PASSWORD);
    let gateway = mailing(
        &origin,
        &format!("smtp://mill:{SPELLED}@{}", open.authority()),
    )
    .start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    await_end(&gateway, "notification failed, giving up");
    assert!(open.events("login").is_empty() && open.events("mail").is_empty());
    assert!(!gateway.log().text().contains("S3CRET"));
}

#[test]
fn starttls_requires_trusted_certificate() {
    let origin = failing();
    let authority = Authority::new();
    let smtp = Smtp::with_tls(&authority, false, "mill", PASSWORD);
    let url = format!("smtp://{}", smtp.authority());
    let gateway = mailing(&origin, &url).authority(&Authority::new()).start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    let why = await_end(&gateway, "notification failed, giving up");
    assert!(
        why["why"]
            .as_str()
            .is_some_and(|why| why.to_lowercase().contains("certificate")),
        "{why}"
    );
    let beside = Smtp::with_tls(&authority, false, "mill", PASSWORD);
    let url = format!("smtp://mill:{SPELLED}@{}?tls=none", beside.authority());
    let gateway = mailing(&origin, &url).start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    assert_eq!(
        beside.await_mails(1)[0]["is_encrypted"],
        false,
        "`tls=none` disables TLS"
    );
}

#[test]
fn unreachable_mail_server_does_not_delay_webhook() {
    let (origin, hook) = (failing(), crate::notify::incidents::hook());
    let smtp = Smtp::start();
    let url = format!("smtp://{}", smtp.authority());
    drop(smtp);
    let gateway = mailing(&origin, &url)
        .text("notify.webhook_url", &hook.url("/hook"))
        .start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    crate::notify::incidents::await_posts(&hook, 1);
    assert_eq!(
        await_end(&gateway, "notification failed, giving up")["attempt"],
        4
    );
}
