//! Metalink documents: which sources they have, and which clients may read them.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::stage::{PATH, SIZE, await_pieces, metalink, metalink_path, object_path, origin, store};
use crate::cluster::stage::{await_state, free_address, node, nodes, url_of};
use crate::harness::{Gateway, Reply, archive, assert_same, encoded, eventually, millpond, sha256};

/// Returns the URLs of a document with their priorities.
fn urls(gateway: &Gateway, body: &[u8]) -> Vec<(String, u32)> {
    let urls = metalink(gateway, body).urls.into_iter();
    urls.map(|source| (source.url, source.priority)).collect()
}

#[test]
fn peers_come_first_then_origin_and_mirrors() {
    let (origin, body) = origin(11);
    let (own, other) = (free_address("127.0.0.81"), free_address("127.0.0.82"));
    let mirror = origin.named_url("/mirror/{path}");
    let rule = format!("host = \"127.0.0.1\"\nmirrors = [{mirror:?}]");
    let first = node("first", own, &[other])
        .origin(&origin)
        .rule(&rule)
        .start();
    let url = origin.url(PATH);
    // The other node begins later, so that it does not own the file.
    first.assert_serves(&url, &body);
    let document = await_pieces(&first, &body);
    let second = node("second", other, &[own]).origin(&origin).start();
    await_state(&first, other, "ready");
    assert_eq!(document.name, "x-1.0.tar.gz");
    let object = object_path(&body);
    let at_first = (format!("{}{object}", url_of(own)), 2);
    let sources = [
        (url.clone(), 3),
        (origin.named_url("/mirror/pub/x-1.0.tar.gz"), 4),
    ];
    // A peer without the object is no source.
    assert_eq!(
        urls(&first, &body),
        [vec![at_first.clone()], sources.to_vec()].concat()
    );
    second.assert_serves(&url, &body);
    second.await_stored(&url);
    let at_second = (format!("{}{object}", url_of(other)), 1);
    let wanted = [vec![at_second, at_first], sources.to_vec()].concat();
    // The answers of the peers are remembered for 15 seconds.
    eventually("the peer is listed", || {
        (urls(&first, &body) == wanted).then_some(())
    });
}

#[test]
fn node_with_two_urls_is_one_source() {
    let (origin, body) = origin(12);
    let (own, other) = (free_address("127.0.0.83"), free_address("127.0.0.1"));
    let by_name = format!("http://localhost:{}", other.port());
    let first = node("first", own, &[])
        .set(
            "cluster.peers",
            &format!("[{:?}, {by_name:?}]", url_of(other)),
        )
        .origin(&origin)
        .start();
    let url = origin.url(PATH);
    first.assert_serves(&url, &body);
    let second = node("second", other, &[own]).origin(&origin).start();
    await_state(&first, other, "ready");
    second.assert_serves(&url, &body);
    second.await_stored(&url);
    eventually("the name is polled too", || {
        let peers = nodes(&first)["peers"].as_array()?.clone();
        let is_ready = |peer: &Value| peer["state"] == "ready";
        peers.iter().all(is_ready).then_some(())
    });
    let at_peers = || {
        let urls = urls(&first, &body).into_iter();
        urls.filter(|(_, priority)| *priority == 1).count()
    };
    eventually("the node is listed", || (at_peers() > 0).then_some(()));
    assert_eq!(at_peers(), 1);
}

#[test]
fn document_has_entity_tag_and_media_type() {
    let (origin, body) = origin(12);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let path = metalink_path(&body);
    let answer = gateway.request("GET", &path).send();
    assert_eq!(answer.wants("content-type"), "application/metalink4+xml");
    let tag = answer.wants("etag").to_owned();
    let head = gateway.request("HEAD", &path).send();
    head.assert_status(200);
    assert_eq!((head.wants("etag"), head.body.len()), (&*tag, 0));
    let again = gateway.request("GET", &path).header("If-None-Match", &tag);
    again.send().assert_status(304);
    let other = gateway
        .request("GET", &path)
        .header("If-None-Match", "\"x\"");
    other.send().assert_body(200, &answer.body);
    let unmet = gateway.request("GET", &path).header("If-Match", "\"x\"");
    unmet.send().assert_status(412);
    gateway.request("DELETE", &path).send().assert_status(405);
}

#[test]
fn document_needs_what_object_needs() {
    let (origin, body) = origin(13);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let (object, document) = (object_path(&body), metalink_path(&body));
    let unknown = sha256(b"unknown");
    for (name, value) in [("Host", "foreign.example"), ("Authorization", "Bearer x")] {
        let status = |path: &str| {
            let request = gateway.request("GET", path).header(name, value);
            request.send().status
        };
        let refused = status(&object);
        assert!([401, 403, 421].contains(&refused), "{name}: {refused}");
        assert_eq!(status(&document), refused, "{name}");
    }
    let missing = format!("/api/v1/objects/sha256/{unknown}/metalink");
    gateway.request("GET", &missing).send().assert_status(404);
    let invalid = "/api/v1/objects/sha256/12/metalink";
    gateway.request("GET", invalid).send().assert_status(400);
}

#[test]
fn secret_urls_are_not_listed() {
    let (origin, body) = origin(14);
    let gateway = Gateway::relaying(&origin);
    let path = "/get-1.0.tar.gz?download=1";
    origin.serve(path, Reply::file(&body));
    let url = origin.url(path);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let document = metalink(&gateway, &body);
    let own = gateway.url(&object_path(&body));
    assert_eq!(
        document
            .urls
            .iter()
            .map(|source| &source.url)
            .collect::<Vec<_>>(),
        [&own]
    );
    assert_eq!(document.name, sha256(&body));
}

#[test]
fn origin_with_other_bytes_is_not_listed() {
    let (origin, body) = origin(15);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    assert_eq!(urls(&gateway, &body).len(), 2);
    let newer = archive(16, SIZE);
    origin.serve(PATH, Reply::file(&newer));
    let refresh = format!(
        "/api/v1/refresh?url={}&accept=true",
        encoded(&origin.url(PATH))
    );
    gateway.operate("POST", &refresh).send().assert_status(200);
    let own = (gateway.url(&object_path(&body)), 2);
    assert_eq!(urls(&gateway, &body), [own]);
}

#[test]
fn document_needs_login_of_downloads() {
    let (origin, body) = origin(17);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let users = folder.path().join("users");
    // `ann` with the password `secret`.
    let line = "ann:$2y$05$sTI52Im6OaVu2XfyksPV9OawIGWpXOZkDkedxX9//VH0FtBqWbikm\n";
    std::fs::write(&users, line).expect("the folder can be written");
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600))
        .expect("a mode can be set");
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("gateway.download_users_file", &users.display().to_string())
        .start();
    let login = "Basic YW5uOnNlY3JldA==";
    let url = origin.url(PATH);
    let fetch = gateway.get(&url).header("Authorization", login);
    fetch.send().assert_body(200, &body);
    gateway.await_stored(&url);
    let path = metalink_path(&body);
    gateway.request("GET", &path).send().assert_status(401);
    let answer = gateway.request("GET", &path).header("Authorization", login);
    answer.send().assert_status(200);
    gateway.operate("GET", &path).send().assert_status(200);
    // The command gets pieces with a login in the URL of the gateway, and sends it nowhere else.
    eventually("the pieces are computed", || {
        let answer = gateway.operate("GET", &path).send();
        answer.text().contains("<pieces").then_some(())
    });
    let at = gateway.url("").replace("http://", "http://ann:secret@");
    let arguments = [
        "get",
        "--json",
        "--gateway",
        &at,
        "--connections",
        "2",
        &url,
    ];
    let run = millpond(folder.path(), &arguments);
    run.assert_success();
    assert_eq!(
        run.documents()[0]["sources"].as_array().map(Vec::len),
        Some(2)
    );
    assert!(
        !run.stdout.contains("secret") && run.stderr.is_empty(),
        "{run:?}"
    );
    let asked = origin.requests(PATH);
    assert!(
        asked
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    let file = std::fs::read(folder.path().join("x-1.0.tar.gz"));
    assert_same(&file.expect("the file is there"), &body);
}
