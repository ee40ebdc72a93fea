//! Limits in nginx: requests that it refuses before they reach the gateway.

use std::net::Ipv6Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{
    Answer, Builder, Gate, Gateway, Nginx, Origin, Reply, Request, Tool, archive,
};
use crate::nginx::requests::behind_nginx;

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Limits that a test can exceed and that do not reset during the test.
const RATE: [&str; 2] = ["rate=200r/s", "rate=1r/m"];
const BURST: [&str; 2] = ["burst=2000 nodelay", "burst=2 nodelay"];

#[track_caller]
fn assert_over_limit(answer: &Answer) {
    answer.assert_problem(429);
    assert_eq!(answer.wants("retry-after"), "1");
    assert!(answer.wants("content-type").starts_with("text/plain"));
}

#[test]
fn requests_over_rate_get_429() {
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::builder(&[&gateway])
        .change("http.conf", RATE[0], RATE[1])
        .change("http.conf", BURST[0], BURST[1])
        .start();
    for _ in 0..3 {
        nginx.request("GET", "/healthz").send().assert_status(200);
    }
    for _ in 0..3 {
        assert_over_limit(&nginx.request("GET", "/healthz").send());
    }
    // Another client is not limited.
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = format!("http://{}/healthz", nginx.addr());
    Tool::curl(folder.path())
        .args(&["-f", "--interface", "127.0.0.2", &url])
        .run()
        .assert_success();
}

#[test]
fn excess_downloads_get_429_and_others_finish() {
    let origin = Origin::start();
    let body = archive(1, 50_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(20_000, &gate));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::builder(&[&gateway])
        .change(
            "http.conf",
            "limit_conn downloads 2000",
            "limit_conn downloads 2",
        )
        .start();
    let mut under_way: Vec<_> = (0..2)
        .map(|_| nginx.get(&origin.url(PATH)).open())
        .collect();
    assert_over_limit(&nginx.request("GET", "/healthz").send());
    gate.open();
    for answer in under_way.drain(..) {
        answer.finish().assert_body(200, &body);
    }
    crate::harness::eventually("a permit is free again", || {
        (nginx.request("GET", "/healthz").send().status == 200).then_some(())
    });
}

#[test]
fn exempt_networks_are_not_limited() {
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::builder(&[&gateway])
        .change("http.conf", RATE[0], RATE[1])
        .change("http.conf", BURST[0], BURST[1])
        .change("exempt.conf", "# 10.20.0.0/16 1;", "127.0.0.0/8 1;")
        .start();
    for _ in 0..10 {
        nginx.request("GET", "/healthz").send().assert_status(200);
    }
    // IPv6 is not exempt.
    let at_v6 = || Request::new(nginx.addr_v6(), "GET", "/healthz").send();
    let statuses: Vec<_> = (0..4).map(|_| at_v6().status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn proxy_port_closes_excess_connections() {
    let origin = Origin::start();
    let body = archive(2, 50_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(20_000, &gate));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::builder(&[&gateway])
        .change(
            "stream.conf",
            "limit_conn tunnels 2000",
            "limit_conn tunnels 2",
        )
        .start();
    let ask = || nginx.proxied("GET", &origin.url(PATH));
    let under_way: Vec<_> = (0..2).map(|_| ask().open()).collect();
    assert!(
        ask().start().head_if_any().is_none(),
        "the third connection is closed"
    );
    gate.open();
    for answer in under_way {
        answer.finish().assert_body(200, &body);
    }
}

#[test]
fn gateway_limit_answers_before_nginx_limit() {
    let gateway = limited(Gateway::builder()).start();
    let nginx = Nginx::before(&gateway);
    let statuses: Vec<_> = (0..4)
        .map(|_| nginx.request("GET", "/https://example.org/").send())
        .collect();
    let last = statuses.last().expect("four responses were received");
    last.assert_problem(429);
    assert!(
        last.header("via").is_some(),
        "the response comes from the gateway: {:?}",
        last.head
    );
    assert!(last.header("retry-after").is_some());
}

fn limited(builder: Builder) -> Builder {
    let builder = builder
        .behind_nginx()
        .set("policy.allow_hosts", "[\"nobody.example\"]");
    builder
        .set("limits.requests_per_second", "1")
        .set("limits.burst", "1")
}

#[test]
fn ipv6_client_is_limited_by_its_network() {
    let Some(network) = Network::new() else {
        eprintln!("SKIPPED: creating a network namespace needs root and kernel support");
        return;
    };
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::builder(&[&gateway])
        .change("http.conf", RATE[0], RATE[1])
        .change("http.conf", BURST[0], BURST[1])
        .change("http.conf", "listen [::1]:", "listen [::]:")
        .start();
    let url = format!("http://[{}]:{}/healthz", network.here, nginx.addr().port());
    let status = |address: &str| network.curl(address, &url);
    // Three clients of one /64 share its limit. Address bytes that equal a line feed
    // (0x0a) change nothing.
    let of_one = [
        "fd00:a0a:0:a::2",
        "fd00:a0a:0:a:a0a:a0a:a0a:a0a",
        "fd00:a0a:0:a:ffff::",
        "fd00:a0a:0:a::3",
    ];
    assert_eq!(of_one.map(status), ["200", "200", "200", "429"]);
    assert_eq!(
        status("fd00:a0a:0:b::2"),
        "200",
        "the next network has its own limit"
    );
}

#[track_caller]
fn ip(arguments: &[&str]) {
    Tool::new("ip", "iproute2", Path::new("/"))
        .args(arguments)
        .run()
        .assert_success();
}

/// A network namespace, connected to this one by a veth pair. Dropping it removes the namespace.
struct Network {
    name: String,
    here: Ipv6Addr,
}

impl Network {
    /// Creates the namespace. Returns `None` if that is not permitted.
    fn new() -> Option<Self> {
        let name = format!("mp{}", std::process::id());
        if Tool::new("ip", "iproute2", Path::new("/"))
            .args(&["netns", "add", &name])
            .run()
            .code
            != Some(0)
        {
            return None;
        }
        let network = Self {
            here: "fd00:a0a::1".parse().expect("the address is valid"),
            name,
        };
        let Self { name, here } = &network;
        ip(&[
            "link", "add", name, "type", "veth", "peer", "name", "there", "netns", name,
        ]);
        ip(&["addr", "add", &format!("{here}/32"), "dev", name, "nodad"]);
        ip(&["link", "set", name, "up"]);
        for address in [
            "fd00:a0a:0:a::2",
            "fd00:a0a:0:a:a0a:a0a:a0a:a0a",
            "fd00:a0a:0:a:ffff::",
            "fd00:a0a:0:a::3",
            "fd00:a0a:0:b::2",
        ] {
            ip(&[
                "-n",
                name,
                "addr",
                "add",
                &format!("{address}/32"),
                "dev",
                "there",
                "nodad",
            ]);
        }
        ip(&["-n", name, "link", "set", "there", "up"]);
        Some(network)
    }

    /// Returns the status of a request from an address in the namespace.
    fn curl(&self, address: &str, url: &str) -> String {
        let arguments = [
            "netns",
            "exec",
            &self.name,
            "curl",
            "-qgs",
            "--max-time",
            "20",
            "-o",
            "/dev/null",
        ];
        let curl = Tool::new("ip", "iproute2", Path::new("/")).args(&arguments);
        curl.args(&["-w", "%{http_code}", "--interface", address, url])
            .run()
            .stdout
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The veth pair is removed with the namespace.
        let delete = Command::new("ip")
            .args(["netns", "del", &self.name])
            .stderr(Stdio::null())
            .status();
        assert!(
            delete.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the network is removed"
        );
    }
}
