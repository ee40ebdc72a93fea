//! Redirects of origins: the gateway follows them, checks every hop, and stores the
//! body under the first URL.

use crate::harness::{Gateway, Origin, Reply, Scene, archive, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn redirects_are_followed_and_stored_under_first_url() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(1, 20_000);
    origin.serve("/pub/files/y-1.0.tar.gz", Reply::file(&body));
    origin.serve("/y-1.0.tar.gz", Reply::file(&body));
    origin.serve("/pub/files/y-1.0.tar.gz?mirror=1", Reply::file(&body));
    other.serve("/y-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .one_attempt()
        .start();
    let locations = [
        origin.url("/y-1.0.tar.gz"),
        other.url("/y-1.0.tar.gz"),
        format!("//{}/y-1.0.tar.gz", other.address()),
        "/y-1.0.tar.gz".to_owned(),
        "files/y-1.0.tar.gz".to_owned(),
        "./files/../files/y-1.0.tar.gz".to_owned(),
        "../y-1.0.tar.gz".to_owned(),
        "files/y-1.0.tar.gz?mirror=1".to_owned(),
        "/y-1.0.tar.gz#fragment".to_owned(),
    ];
    for (number, location) in locations.iter().enumerate() {
        for status in [301, 302, 303, 307, 308] {
            let path = format!("/pub/x-{number}-{status}.tar.gz");
            origin.serve(&path, Reply::redirect(status, location));
            gateway.assert_serves(&origin.url(&path), &body);
            gateway.await_stored(&origin.url(&path));
            gateway
                .assert_serves(&origin.url(&path), &body)
                .assert_cache(&["hit"]);
            assert_eq!(origin.count(&path), 1, "{location}");
        }
    }
    assert_eq!(gateway.objects().len(), 1);
    assert_eq!(
        gateway.records().len(),
        locations.len() * 5,
        "each first URL has a record, hops have none"
    );
}

#[test]
fn redirect_chain_is_limited() {
    let origin = Origin::start();
    let body = archive(2, 5000);
    for number in 0..4 {
        origin.serve(
            &format!("/{number}.tar.gz"),
            Reply::redirect(302, &format!("/{}.tar.gz", number + 1)),
        );
    }
    origin.serve("/4.tar.gz", Reply::file(&body));
    let within = |limit: &str| {
        Gateway::builder()
            .origin(&origin)
            .relay()
            .one_attempt()
            .set("fetch.max_redirects", limit)
            .start()
    };
    within("4").assert_serves(&origin.url("/0.tar.gz"), &body);
    let gateway = within("3");
    gateway
        .get(&origin.url("/0.tar.gz"))
        .send()
        .assert_problem(502);
    gateway.assert_serves(&origin.url("/1.tar.gz"), &body);
}

#[test]
fn redirect_loop_ends() {
    let (origin, gateway, url) =
        Scene::replying("/a-1.0.tar.gz", Reply::redirect(302, "/b-1.0.tar.gz"));
    origin.serve("/b-1.0.tar.gz", Reply::redirect(302, "/a-1.0.tar.gz"));
    origin.serve("/self-1.0.tar.gz", Reply::redirect(301, "/self-1.0.tar.gz"));
    gateway.get(&url).send().assert_problem(502);
    gateway
        .get(&origin.url("/self-1.0.tar.gz"))
        .send()
        .assert_problem(502);
    assert!(
        origin.total() <= 22,
        "the limit is ten redirects: {}",
        origin.total()
    );
}

#[test]
fn invalid_redirect_is_refused() {
    let origin = Origin::start();
    origin.serve("/none-1.0.tar.gz", Reply::status(302));
    for (number, location) in [
        "",
        "http://",
        "http:///x-7.0.tar.gz",
        "http://a b/",
        "http://127.0.0.1\\@x/",
    ]
    .iter()
    .enumerate()
    {
        origin.serve(&format!("/{number}.tar.gz"), Reply::redirect(302, location));
    }
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .set("fetch.max_redirects", "2")
        .start();
    for path in [
        "/none-1.0.tar.gz",
        "/0.tar.gz",
        "/1.tar.gz",
        "/2.tar.gz",
        "/3.tar.gz",
        "/4.tar.gz",
    ] {
        let answer = gateway.get(&origin.url(path)).send();
        assert!(
            matches!(answer.status, 403 | 502),
            "{path}: {}",
            answer.status
        );
        answer.assert_problem(answer.status);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn redirect_hops_are_checked_by_policy() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let closed = Origin::start();
    let body = archive(3, 5000);
    for origin in [&other, &closed, &origin] {
        origin.serve("/y-1.0.tar.gz", Reply::file(&body));
    }
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .one_attempt()
        .set("policy.allow_networks", "[\"127.0.0.1/32\"]")
        .set("policy.deny_hosts", "[\"localhost\"]")
        .start();
    let port = origin.port();
    let locations = [
        other.url("/y-1.0.tar.gz"),
        closed.url("/y-1.0.tar.gz"),
        origin.named_url("/y-1.0.tar.gz"),
        format!("http://[::1]:{port}/y-1.0.tar.gz"),
        format!("http://[::ffff:127.0.0.1]:{port}/y-1.0.tar.gz"),
        format!("http://0.0.0.0:{port}/y-1.0.tar.gz"),
        format!("http://2130706433:{port}/y-1.0.tar.gz"),
        format!("http://0x7f.1:{port}/y-1.0.tar.gz"),
        format!("http://127.1:{port}/y-1.0.tar.gz"),
        format!("http://169.254.169.254:{port}/latest/meta-data/"),
        format!("http://10.0.0.1:{port}/y-1.0.tar.gz"),
        format!("ftp://127.0.0.1:{}/y-1.0.tar.gz", closed.port()),
        format!("ftp://user:password@127.0.0.1:{port}/y-1.0.tar.gz"),
        "file:///etc/passwd".to_owned(),
        format!("http://user:password@127.0.0.1:{port}/y-1.0.tar.gz"),
    ];
    for (number, location) in locations.iter().enumerate() {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::redirect(302, location));
        let answer = gateway.get(&origin.url(&path)).send();
        assert!(
            matches!(answer.status, 403 | 502),
            "{location}: {} {}",
            answer.status,
            answer.text()
        );
        answer.assert_problem(answer.status);
        // A later hop is checked like the first.
        let path = format!("/z-{number}.tar.gz");
        origin.serve(&path, Reply::redirect(302, &format!("/x-{number}.tar.gz")));
        let again = gateway.proxied("GET", &origin.url(&path)).send();
        assert!(
            matches!(again.status, 403 | 502),
            "{location}: {}",
            again.status
        );
    }
    assert_eq!(
        other.total() + closed.total() + origin.count("/y-1.0.tar.gz"),
        0,
        "no denied hop was requested"
    );
    gateway.assert_nothing_stored();
}

#[test]
fn denied_hop_names_its_rule() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    origin.serve(PATH, Reply::redirect(302, &other.url("/y-7.0.tar.gz")));
    let builder = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .one_attempt();
    let gateway = builder
        .set("policy.allow_networks", "[\"127.0.0.1/32\"]")
        .start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_problem(403);
    assert!(
        answer.text().contains("allow_networks"),
        "{}",
        answer.text()
    );
}

#[test]
fn host_and_suffix_rules_ignore_hops() {
    let origin = Origin::start();
    let body = archive(4, 5000);
    origin.serve("/blob.mp3", Reply::file(&body));
    origin.serve(PATH, Reply::redirect(302, &origin.named_url("/blob.mp3")));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder
        .set("policy.allow_hosts", "[\"127.0.0.1\"]")
        .set("policy.allow_suffixes", "[\".tar.gz\"]")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway
        .get(&origin.named_url(PATH))
        .send()
        .assert_problem(403);
    gateway
        .get(&origin.url("/blob.mp3"))
        .send()
        .assert_problem(403);
}

#[test]
fn first_url_decides_cacheability_class() {
    let (origin, gateway, body, _) = Scene::relaying("/blob", archive(5, 5000));
    origin.serve(PATH, Reply::redirect(302, "/blob"));
    origin.serve("/latest", Reply::redirect(302, PATH));
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    for _ in 0..2 {
        gateway
            .assert_serves(&origin.url("/latest"), &body)
            .assert_cache(&["class=revalidate"]);
    }
    assert_eq!(origin.count("/latest"), 2);
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn record_names_source_of_content() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(6, 5000);
    origin.serve(
        PATH,
        Reply::redirect(302, &other.url("/secret/path/y-7.0.tar.gz")),
    );
    other.serve("/secret/path/y-7.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    let record = std::fs::read_to_string(&gateway.records_of(&origin.url(PATH))[0])
        .expect("a record can be read");
    let record: serde_json::Value = serde_json::from_str(&record).expect("a record is JSON");
    assert_eq!(record["uri"], origin.url(PATH));
    assert_eq!(record["sha256"], sha256(&body));
    assert!(
        record["source"]
            .as_str()
            .is_some_and(|source| source.contains("127.0.0.2")),
        "{record}"
    );
}

#[test]
fn proxy_endpoint_follows_redirects_of_cacheable_target() {
    let origin = Origin::start();
    let body = archive(7, 5000);
    origin.serve(PATH, Reply::redirect(302, "/y-7.0.tar.gz"));
    origin.serve("/y-7.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder().origin(&origin).start();
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&origin.url(PATH));
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_cache(&["hit"]);
}

#[test]
fn pass_through_hops_are_checked_by_policy() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    other.serve("/y", Reply::ok(&b"secret\n".to_vec().into()));
    let builder = Gateway::builder().origin(&origin).origin(&other).relay();
    let gateway = builder
        .set("policy.allow_networks", "[\"127.0.0.1/32\"]")
        .start();
    for (number, location) in [
        other.url("/y"),
        "http://169.254.169.254/".to_owned(),
        format!("http://127.1:{}/y", origin.port()),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/{number}.html");
        origin.serve(&path, Reply::redirect(302, location));
        let answer = gateway.get(&origin.url(&path)).send();
        assert!(
            matches!(answer.status, 403 | 502),
            "{location}: {}",
            answer.status
        );
        answer.assert_problem(answer.status);
    }
    assert_eq!(other.total(), 0);
}
