//! Webhook posts in the form that a chat system takes: templates and their placeholders.

use serde_json::{Value, json};

use crate::harness::{Origin, Reply};
use crate::notify::config::assert_refused;
use crate::notify::incidents::{await_posts, hook, incidents, posting};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Fails one fetch, and returns the body that a webhook with the template gets.
fn posted(template: &str) -> Value {
    let (origin, hook) = (Origin::start(), hook());
    origin.serve(PATH, Reply::status(500));
    let gateway = posting(&origin, &hook)
        .set("notify.webhook_template", &format!("'''{template}'''"))
        .start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    let body = await_posts(&hook, 1).remove(0);
    let listed = &incidents(&gateway)[0];
    assert_eq!(listed["targets"][0], origin.url(PATH));
    // Ports and times of a run become names.
    let text = body
        .to_string()
        .replace(&origin.url(PATH), "TARGET")
        .replace(listed["id"].as_str().expect("an incident has an id"), "ID");
    serde_json::from_str(&text).expect("the body is JSON")
}

#[test]
fn template_forms_body_of_chat_system() {
    let template = r#"{"msgtype": "text", "at": {"isAtAll": false, "ids": [1, null]},
        "text": {"content": "{instance} {event} {severity}: {summary} ({cause}, {count}x) {target}"}
        }"#;
    assert_eq!(
        posted(template),
        json!({
            "msgtype": "text",
            "at": {"isAtAll": false, "ids": [1, null]},
            "text": {"content": "mill-test alert alert: 127.0.0.1 returns an error \
                                 (upstream_error, 1x) TARGET"},
        })
    );
}

#[test]
fn literal_braces_and_unicode_stay() {
    let template = r#"{"text": "{{{host}}} } 告警 {{summary}} {id}\n"}"#;
    assert_eq!(
        posted(template),
        json!({"text": "{127.0.0.1} } 告警 {summary} ID\n"})
    );
}

#[test]
fn facts_stay_inside_their_strings() {
    let (origin, hook) = (Origin::start(), hook());
    // A name with quotes and placeholders.
    let path = "/pub/%22%7D%5D,%7Bsummary%7D-1.0.tar.gz";
    origin.serve(path, Reply::status(500));
    let gateway = posting(&origin, &hook)
        .set(
            "notify.webhook_template",
            r#"'{"a": ["{target}", "{detail}"], "b": "{event}"}'"#,
        )
        .start();
    gateway.get(&origin.url(path)).send().assert_status(502);
    let body = await_posts(&hook, 1).remove(0);
    let fields = body.as_object().expect("the body is an object").keys();
    assert_eq!(fields.collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(body["a"].as_array().map(Vec::len), Some(2));
    assert_eq!(body["a"][0], incidents(&gateway)[0]["targets"][0]);
    assert_eq!(body["a"][1], incidents(&gateway)[0]["detail"]);
    assert_eq!(body["b"], "alert");
}

#[test]
fn invalid_templates_are_configuration_errors() {
    let url = "webhook_url = \"https://alerts.example.org/hook\"";
    let refused = |template: &str, reason: &str| {
        let lines = format!("{url}\nwebhook_template = '''{template}'''");
        assert_refused(&lines, &["notify.webhook_template", reason]);
    };
    refused("text", "must be JSON");
    refused("[\"{summary}\"]", "must be a JSON object");
    refused(r#"{"text": "{sumary}"}"#, "unknown placeholder {sumary}");
    refused(r#"{"text": "{sumary}"}"#, "{summary}");
    refused(r#"{"text": "{summary"}"#, "has { without }");
    refused(r#"{"text": "{}"}"#, "unknown placeholder {}");
    refused(
        &format!("{{\"text\": \"{}\"}}", "x".repeat(20_000)),
        "at most 16384 bytes",
    );
    refused(&"{\"a\":".repeat(1000), "must be JSON");
    assert_refused(
        r#"webhook_template = '{"text": "{summary}"}'"#,
        &["notify.webhook_template", "needs notify.webhook_url"],
    );
}
