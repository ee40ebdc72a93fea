//! The fields of the log are those that its documentation lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::harness::{Builder, Reply, Scene, archive};
use crate::intercept::harness::Intercepting;

/// Fields that every event has.
const COMMON: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Fields of one documented event: the name, and whether every such event has it.
type Fields = BTreeMap<String, bool>;

/// Reads the tables of `docs/reference/log.md`. A heading names one event or two.
fn documented() -> BTreeMap<String, Fields> {
    let page = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/log.md"),
    )
    .expect("the documentation can be read");
    let mut events: BTreeMap<String, Fields> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let quoted = heading.split('`').skip(1).step_by(2);
            names = quoted.map(str::to_owned).collect();
        } else if let Some(row) = line.strip_prefix("| `") {
            let (field, meaning) = row.split_once('`').expect("a field is quoted");
            let is_always_there = !meaning.contains("if any");
            for name in &names {
                // A row of two events names the one that has the field.
                let others = names.iter().filter(|other| *other != name);
                if !others
                    .clone()
                    .any(|other| meaning.contains(&format!("(`{other}`)")))
                {
                    let fields = events.entry(name.clone()).or_default();
                    fields.insert(field.to_owned(), is_always_there);
                }
            }
        }
    }
    events
}

/// Lets the gateway log every documented event with every field.
fn logged() -> Vec<Value> {
    let (origin, mut gateway, _, url) = Scene::of("/x-1.0.tar.gz", archive(1, 5000))
        .gateway(Builder::relay)
        .start();
    origin.serve("/absent-1.0.tar.gz", Reply::status(404));
    for _ in 0..2 {
        gateway.assert_serves(&url, &archive(1, 5000));
        gateway.await_stored(&url);
    }
    gateway
        .get(&origin.url("/absent-1.0.tar.gz"))
        .send()
        .assert_status(404);
    let log = gateway.log().clone();
    gateway.stop();
    let mut events = log.events();
    let stage = Intercepting::start();
    let refused = stage.curl().args(&[&stage.url("/absent-1.0.tar.gz")]).run();
    refused.assert_success();
    stage.inner_request("/absent-1.0.tar.gz");
    events.extend(stage.gateway.log().events());
    events
}

#[test]
fn log_has_exactly_the_documented_fields() {
    let (documented, events) = (documented(), logged());
    assert!(documented.len() >= 7, "{documented:?}");
    for (name, fields) in &documented {
        let found: Vec<_> = events
            .iter()
            .filter(|event| event["message"] == name.as_str())
            .collect();
        assert!(!found.is_empty(), "the test logs no event {name}");
        let mut seen = BTreeSet::new();
        for event in found {
            let object = event.as_object().expect("an event is an object");
            let own = object.keys().filter(|key| !COMMON.contains(&key.as_str()));
            for key in own {
                assert!(
                    fields.contains_key(key),
                    "{name} has the undocumented field {key}"
                );
                seen.insert(key.clone());
            }
            for (field, is_always_there) in fields {
                assert!(
                    !is_always_there || object.contains_key(field),
                    "an event {name} lacks {field}: {event}"
                );
            }
        }
        let missing: Vec<_> = fields
            .keys()
            .filter(|field| !seen.contains(*field))
            .collect();
        assert!(missing.is_empty(), "{name} never has {missing:?}");
    }
}
