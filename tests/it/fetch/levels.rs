//! Levels of gateways, each of which fetches through the next one: nodes of a cluster, a company,
//! and a country.

use crate::harness::{Builder, Gateway, Origin, Reply, all_at_once, archive, eventually};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Readers of each node at the same time.
const READERS: usize = 4;

fn rule_for(above: &Gateway) -> String {
    let proxy = above.proxy_addr();
    format!("host = \"127.0.0.1\"\negress_proxy = \"http://{proxy}\"")
}

/// Returns the values of `Via`, of which each level may add a line.
fn via(headers: &[(String, String)]) -> String {
    let lines = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("via"));
    let lines: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
    lines.join(", ")
}

#[track_caller]
fn assert_hit(level: &Gateway, url: &str, body: &[u8]) {
    let answer = level.assert_serves(url, body);
    let status = answer.wants("cache-status");
    assert!(status.contains("; hit"), "{status}");
}

fn level(origin: &Origin, name: &str) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder.text("gateway.name", name)
}

/// Starts two nodes, their company, and the country of the company.
fn three_levels(origin: &Origin) -> ([Gateway; 2], Gateway, Gateway) {
    let country = level(origin, "country").start();
    let company = level(origin, "company").rule(&rule_for(&country)).start();
    let node = |name| level(origin, name).rule(&rule_for(&company)).start();
    ([node("node-1"), node("node-2")], company, country)
}

#[test]
fn three_levels_ask_origin_once() {
    let origin = Origin::start();
    let body = archive(1, 2_000_000);
    origin.serve(PATH, Reply::file(&body));
    let (nodes, company, country) = three_levels(&origin);
    let url = origin.url(PATH);
    all_at_once(2 * READERS, |at| {
        nodes[at % 2].assert_serves(&url, &body);
    });
    assert_eq!(origin.count(PATH), 1);
    // A shared request belongs to no client, so that each level names itself only.
    assert_eq!(via(&origin.request(PATH).headers), "1.1 country");
    for level in nodes.iter().chain([&company, &country]) {
        level.await_stored(&url);
    }
    origin.shut_down();
    drop(country);
    // The next level has it, and then the nodes have it too.
    assert_hit(&company, &url, &body);
    drop(company);
    for node in &nodes {
        assert_hit(node, &url, &body);
    }
}

#[test]
fn via_names_all_levels() {
    let origin = Origin::start();
    let body = archive(2, 3000);
    // A signed URL is passed through for one client alone.
    let path = "/page?token=a";
    origin.serve(path, Reply::ok(&body));
    let (nodes, _company, _country) = three_levels(&origin);
    let answer = nodes[0].get(&origin.url(path)).send();
    answer.assert_body(200, &body);
    let sent = via(&origin.request(path).headers);
    assert_eq!(sent, "1.1 node-1, 1.1 company, 1.1 country");
    assert_eq!(answer.wants("via"), "1.1 node-1");
}

#[test]
fn loop_of_levels_is_refused() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(3, 3000)));
    let (nodes, _company, mut country) = three_levels(&origin);
    let rule = rule_for(&nodes[0]);
    country.reload(|builder| builder.rule(&rule));
    eventually("the configuration is reloaded", || {
        country.log().text().contains("reloaded").then_some(())
    });
    let answer = nodes[0].get(&origin.url(PATH)).send();
    answer.assert_status(508);
    assert_eq!(origin.total(), 0);
}
