//! `docs/reference/metrics.md`: all families, as `/metrics` of a fresh process has them.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_generated, head, row};
use crate::harness::Gateway;

/// Names of the labels of a series.
fn labels_of(series: &str) -> Vec<&str> {
    let inside = series.split_once('{').map_or("", |(_, rest)| rest);
    let pairs = inside.trim_end_matches('}').split(',');
    pairs
        .filter_map(|pair| pair.split_once('=').map(|(name, _)| name))
        .filter(|name| *name != "le")
        .collect()
}

#[test]
fn metrics_page_has_all_families() {
    // Only a node of a cluster has the families of a cluster, and only with Redis those of Redis.
    let node = Gateway::builder()
        .text("cluster.secret", "a secret of all nodes")
        .text("cluster.advertise", "http://127.0.0.1:8080")
        .text("cluster.redis_url", "redis://127.0.0.1:1");
    let node = node.set("cluster.peers", "[\"http://127.0.0.1:9\"]");
    let gateway = node.start();
    let page = gateway.request("GET", "/metrics").send().text();
    let mut text = head(&["metric", "type", "labels", "meaning"]);
    let mut help: BTreeMap<&str, &str> = BTreeMap::new();
    let lines: Vec<_> = page.lines().collect();
    for line in &lines {
        if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
        {
            help.insert(name, meaning);
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        else {
            continue;
        };
        let suffix = if kind == "histogram" { "_bucket" } else { "" };
        let series = lines
            .iter()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(suffix));
        let labels: BTreeSet<_> = series
            .filter(|rest| rest.starts_with(['{', ' ']))
            .flat_map(labels_of)
            .collect();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        text += &row(&[&format!("`{name}`"), kind, &labels.join(", "), help[name]]);
    }
    assert_generated("docs/reference/metrics.md", "families", &text);
}
