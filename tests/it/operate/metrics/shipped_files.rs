//! Tests of the dashboard, the alert rules and the documentation: they name metrics that a fresh
//! process exports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Samples;
use crate::harness::{Gateway, Tool};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).expect("a shipped file can be read")
}

/// Returns the metrics that a text names.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        let prefixes = ["millpond_", "process_"];
        prefixes.iter().any(|prefix| word.starts_with(prefix))
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Collects the texts of all expressions and queries of a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => {
                        found.push(text.clone());
                    }
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                expressions(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn fresh_process_exports_all_named_metrics() {
    // Only a node of a cluster has the families of a cluster.
    let node = Gateway::builder()
        .text("cluster.secret", "a secret of all nodes")
        .text("cluster.advertise", "http://127.0.0.1:8080")
        .text("cluster.redis_url", "redis://127.0.0.1:1");
    let gateway = node.start();
    let page = gateway.request("GET", "/metrics").send().text();
    let samples = Samples::parse(&page);
    let exported: BTreeSet<_> = samples.names().map(str::to_owned).collect();
    let dashboard = serde_json::from_str(&read("config/grafana-dashboard.json"));
    let dashboard: Value = dashboard.expect("the dashboard is valid JSON");
    let mut queries = Vec::new();
    expressions(&dashboard, &mut queries);
    assert!(queries.len() > 40, "the dashboard has expressions");
    let rules = read("config/alerts.yml");
    for (file, text) in [("dashboard", queries.join("\n")), ("rules", rules)] {
        let named = metrics_in(&text);
        assert!(named.len() > 10, "the {file} names metrics");
        let unknown: Vec<_> = named.difference(&exported).collect();
        assert!(unknown.is_empty(), "the {file} names {unknown:?}");
    }
    // Every family is documented, and the documentation names no other one.
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<_> = families
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    let guide = read("docs/reference/metrics.md");
    let table = guide.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<_> = table.flat_map(metrics_in).collect();
    assert_eq!(documented, families);
    let named = metrics_in(&guide);
    let unknown: Vec<_> = named.difference(&families).collect();
    let unknown: Vec<_> = unknown
        .into_iter()
        .filter(|name| !exported.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "the guide names {unknown:?}");
}

#[test]
fn promtool_accepts_page_and_rules() {
    let gateway = Gateway::builder().start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let page = gateway.request("GET", "/metrics").send();
    assert_eq!(
        page.wants("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    std::fs::write(folder.path().join("page"), page.text()).expect("the folder can be written");
    let check = Tool::new("sh", "prometheus", folder.path());
    let checked = check.args(&["-c", "promtool check metrics < page"]).run();
    checked.assert_success();
    assert_eq!(
        checked.stderr + &checked.stdout,
        "",
        "promtool has no remark"
    );
    let rules = shipped("config/alerts.yml");
    let rules = rules.to_str().expect("the path is text");
    let check = Tool::new("promtool", "prometheus", folder.path());
    check
        .args(&["check", "rules", rules])
        .run()
        .assert_success();
}
