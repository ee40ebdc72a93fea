//! Private addresses: they are refused in every notation and after name resolution.

use crate::harness::{Gateway, Origin, Reply, Scene, archive};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn private_addresses_are_refused_at_every_endpoint() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 2000)));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("policy.allow_networks", "[]")
        .start();
    let port = origin.port();
    for host in [
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[fe80::a9fe:a9fe]",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "[ff02::1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:db8::1]",
        "[::ffff:7f00:1]",
        "[::ffff:a00:1]",
    ] {
        let url = format!("http://{host}:{port}{PATH}");
        for request in [
            gateway.get(&url),
            gateway.proxied("GET", &url),
            gateway.proxied("POST", &url),
        ] {
            request.send().assert_problem(403);
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn metadata_addresses_must_be_allowed_alone() {
    let networks = "[\"169.254.0.0/16\", \"100.64.0.0/10\", \"168.63.0.0/16\", \"fc00::/7\", \
                    \"::ffff:0:0/96\", \"64:ff9b::/96\", \"2002::/16\", \"192.0.0.0/24\"]";
    let gateway = Gateway::builder()
        .port(80)
        .relay()
        .set("policy.allow_networks", networks)
        .start();
    for host in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "[fd00:ec2::254]",
        "[fd00:ec2::23]",
        "[fd20:ce::254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b::a83f:8110]",
        "[2002:a9fe:a9fe::1]",
        "[2002:a83f:8110::]",
    ] {
        let url = format!("http://{host}{PATH}");
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            let answer = request.send();
            answer.assert_problem(403);
            assert_eq!(answer.head.reason, "Private Address Not Allowed", "{host}");
        }
    }
}

#[test]
fn unusual_address_notations_are_refused() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 2000)));
    let refusing = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("policy.allow_networks", "[]")
        .start();
    // Unusual notations are refused even for an allowed address.
    let allowing = Gateway::builder().origin(&origin).relay().start();
    let port = origin.port();
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127%2e0.0.1",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::1%25lo]",
        "[::1%lo]",
        "127.0.0.1%00",
        "127.0.0.1%2f",
    ] {
        let url = format!("http://{host}:{port}{PATH}");
        for gateway in [&refusing, &allowing] {
            let status = gateway.get(&url).send().status;
            assert!(matches!(status, 403 | 404), "{host}: {status}");
            let status = gateway.proxied("GET", &url).send().status;
            assert!(matches!(status, 400 | 403), "{host}: {status}");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn name_is_checked_by_its_resolved_address() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(2, 2000)));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("policy.allow_networks", "[]")
        .start();
    for host in ["localhost", "LocalHost", "localhost."] {
        let url = format!("http://{host}:{}{PATH}", origin.port());
        for request in [
            gateway.get(&url),
            gateway.proxied("GET", &url),
            gateway.proxied("POST", &url),
        ] {
            let answer = request.send();
            answer.assert_problem(403);
            assert!(
                answer.text().contains("allow_networks"),
                "{}",
                answer.text()
            );
        }
    }
    assert_eq!(
        origin.connections(),
        0,
        "the address is checked before the connection"
    );
}

#[test]
fn only_allowed_networks_are_reachable() {
    let (first, second) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(3, 2000);
    first.serve(PATH, Reply::file(&body));
    second.serve(PATH, Reply::file(&body));
    let builder = Gateway::builder().origin(&first).origin(&second).relay();
    let gateway = builder
        .set("policy.allow_networks", "[\"127.0.0.2/32\"]")
        .start();
    gateway.get(&first.url(PATH)).send().assert_problem(403);
    gateway.assert_serves(&second.url(PATH), &body);
    assert_eq!(first.connections(), 0);
}

#[test]
fn connection_uses_checked_address_of_name() {
    // `localhost` may have more addresses; the gateway skips those that are not allowed.
    let (origin, gateway, body, _) = Scene::of(PATH, archive(4, 2000))
        .gateway(|builder| {
            builder
                .relay()
                .set("policy.allow_networks", "[\"127.0.0.1/32\"]")
        })
        .start();
    gateway.assert_serves(&origin.named_url(PATH), &body);
    let asked = origin.request(PATH);
    assert_eq!(
        asked.header("host"),
        Some(format!("localhost:{}", origin.port()).as_str())
    );
}

#[test]
fn allowed_ipv6_network_is_fetched_from() {
    let origin = Origin::start_at("::1");
    let body = archive(5, 2000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("policy.allow_networks", "[\"::1/128\"]")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway
        .proxied("GET", &format!("http://[0:0::1]:{}{PATH}", origin.port()))
        .send()
        .assert_problem(400);
    let asked = origin.request(PATH);
    assert_eq!(
        asked.header("host"),
        Some(origin.address().to_string().as_str())
    );
}
