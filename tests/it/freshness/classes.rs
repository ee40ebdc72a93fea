//! Which names are kept: the table `tests/classes.tsv`, and what a client sees of a name whose
//! bytes change.

use millpond::limits::LimitsConfig;
use millpond::model::Target;
use millpond::policy::{Class, Config, Policy};

use crate::harness::{Builder, Gateway, Origin, Reply, Scene, archive, marked};

#[test]
fn table_of_classes_holds() {
    // The table has names that the defaults deny, such as music.
    let config = Config {
        deny_suffixes: Vec::new(),
        ..Config::default()
    };
    let policy = Policy::new(config, Vec::new(), &[], LimitsConfig::default()).unwrap();
    let rows = include_str!("../../classes.tsv").lines().enumerate();
    for (index, line) in rows.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let [class, reason, target] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("line {}: three fields, please", index + 1)
        };
        let admitted = policy.admit(Target::parse(target).unwrap()).unwrap();
        let expected = match class {
            "immutable" => Class::Immutable,
            "revalidate" => Class::Revalidate,
            "pass" => Class::PassThrough,
            other => panic!("line {}: no class {other}", index + 1),
        };
        assert_eq!(admitted.class(), expected, "line {}: {target}", index + 1);
        let decided = admitted.classified().reason().to_string();
        assert_eq!(decided, reason, "line {}: {target}", index + 1);
    }
}

#[test]
fn replaced_index_and_companion_are_served_at_once() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let signature = |seed| marked(b"-----BEGIN PGP SIGNATURE-----\n", seed, 200);
    for (index, companion) in [
        (
            "/dists/sid/main/i18n/Translation-en.gz",
            "/dists/sid/Release.asc",
        ),
        ("/os/repodata/primary.xml.gz", "/os/repodata/repomd.xml.asc"),
        ("/os/core.db.tar.gz", "/os/core.db.tar.gz.sig"),
        ("/iso/SHA256SUMS", "/iso/SHA256SUMS.sign"),
        ("/x-current.tar.gz", "/x-current.tar.gz.asc"),
    ] {
        for generation in 1..=2 {
            let (body, signature) = (archive(generation, 5000), signature(generation));
            origin.serve(index, Reply::file(&body));
            origin.serve(companion, Reply::file(&signature));
            gateway
                .assert_serves(&origin.url(index), &body)
                .assert_cache(&["stored", "class=revalidate"]);
            gateway
                .proxied("GET", &origin.url(companion))
                .send()
                .assert_body(200, &signature);
        }
        assert_eq!(
            (origin.count(index), origin.count(companion)),
            (2, 2),
            "{index}"
        );
    }
    assert!(gateway.records().is_empty(), "no target is immutable");
}

#[test]
fn versioned_tarball_beside_an_index_is_kept() {
    let (path, body) = ("/dists/sid/main/i18n/x-1.0.tar.gz", archive(1, 5000));
    let (origin, gateway, url) = Scene::replying(path, Reply::file(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(origin.count(path), 1);
}

#[test]
fn rule_class_wins_over_index_name() {
    let origin = Origin::start();
    let (path, old, new) = (
        "/dists/sid/Contents-amd64.gz",
        archive(1, 5000),
        archive(2, 6000),
    );
    origin.script(path, vec![Reply::file(&old), Reply::file(&new)]);
    let rule = "path_prefix = \"/dists/\"\nclass = \"immutable\"";
    let mut gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .rule(rule)
        .start();
    gateway.assert_serves(&origin.url(path), &old);
    gateway.await_stored(&origin.url(path));
    gateway
        .assert_serves(&origin.url(path), &old)
        .assert_cache(&["hit"]);
    // Without the rule the record is the first stored response, and is validated.
    gateway.restart_with(Builder::without_rules);
    gateway
        .assert_serves(&origin.url(path), &new)
        .assert_cache(&["fwd=stale", "stored", "class=revalidate"]);
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn file_named_by_query_is_stored() {
    let (path, body) = ("/get.php?file=x-1.0.tar.gz", archive(1, 5000));
    let (origin, gateway, url) = Scene::replying(path, Reply::file(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(origin.count(path), 1);
}

#[test]
fn page_under_open_name_is_not_stored() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for path in [
        "/get.php?file=x-1.0.tar.gz",
        "/patch/?id=0123abc",
        "/doc/manual-1.0.odd",
        "/file/0123456789abcdef0123456789abcdef01234567",
    ] {
        origin.serve(path, Reply::html());
        for endpoint in ["gateway", "proxy"] {
            let url = origin.url(path);
            let answer = match endpoint {
                "gateway" => gateway.get(&url).send(),
                _ => gateway.proxied("GET", &url).send(),
            };
            assert_eq!(answer.status, 200, "{path} at the {endpoint} port");
        }
    }
    gateway.assert_nothing_stored();
}
