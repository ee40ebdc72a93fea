//! Responses that arrive after a change that another process of the cache folder has seen.

use crate::harness::{Body, Gate, Gateway, Origin, Reply, encoded};

fn text(content: &str) -> Body {
    content.as_bytes().to_vec().into()
}

/// Returns a response that is fresh for ten minutes.
fn fresh(content: &str) -> Reply {
    let reply = Reply::file(&text(content)).conditional();
    reply.header("Cache-Control", "max-age=600")
}

/// Makes the gateway see a change of a target.
fn change(gateway: &Gateway, origin: &Origin, path: &str, cause: &str) {
    let url = origin.url(path);
    match cause {
        "post" => {
            let post = gateway.proxied("POST", &url).body(b"x").send();
            post.assert_status(200);
        }
        "operator" => {
            let path = format!("/api/v1/objects?url={}", encoded(&url));
            gateway.operate("DELETE", &path).send().assert_status(404);
        }
        "newer response" => gateway.proxied("GET", &url).send().assert_body(200, b"new"),
        _ => {
            let (file, _) = path.rsplit_once('.').expect("a companion has a suffix");
            origin.serve(file, fresh("new"));
            let get = gateway.proxied("GET", &origin.url(file));
            get.header("Cache-Control", "no-cache")
                .send()
                .assert_body(200, b"new");
        }
    }
}

/// Returns the replies of the origin from the change on.
fn replies_after(cause: &str) -> Vec<Reply> {
    let to_post = (cause == "post").then(|| Reply::ok(&text("done")));
    to_post.into_iter().chain([fresh("new")]).collect()
}

#[track_caller]
fn assert_new(gateway: &Gateway, url: &str, cause: &str) {
    let answer = gateway.proxied("GET", url).send();
    assert_eq!(answer.text(), "new", "{url} after {cause}");
}

#[test]
fn change_in_other_process_outdates_late_response() {
    let origin = Origin::start();
    let first = Gateway::relaying(&origin);
    let second = first.sibling().start();
    for (path, cause) in [
        ("/1/page", "post"),
        ("/2/page", "operator"),
        ("/3/page", "newer response"),
        ("/4/Release.gpg", "changed file"),
        ("/5/APKINDEX.tar.gz.sig", "changed file"),
        ("/6/repomd.xml.asc", "changed file"),
    ] {
        let (url, gate) = (origin.url(path), Gate::new());
        let late = fresh("old").gate_before_head(&gate);
        let mut replies = vec![late];
        replies.extend(replies_after(cause));
        origin.script(path, replies);
        let waiting = first.proxied("GET", &url).start();
        gate.await_reached(1);
        change(&second, &origin, path, cause);
        gate.open();
        waiting.head().finish().assert_body(200, b"old");
        for gateway in [&first, &second] {
            assert_new(gateway, &url, cause);
        }
    }
}

#[test]
fn late_validation_does_not_refresh_changed_target() {
    let origin = Origin::start();
    let first = Gateway::relaying(&origin);
    let second = first.sibling().start();
    for (path, cause) in [
        ("/1/page", "post"),
        ("/2/page", "newer response"),
        ("/3/Release.gpg", "changed file"),
        ("/4/repomd.xml.asc", "changed file"),
    ] {
        let (url, gate) = (origin.url(path), Gate::new());
        let mut replies = vec![fresh("old"), fresh("old").gate_before_head(&gate)];
        replies.extend(replies_after(cause));
        origin.script(path, replies);
        first.proxied("GET", &url).send().assert_body(200, b"old");
        let validation = first.proxied("GET", &url);
        let waiting = validation.header("Cache-Control", "no-cache").start();
        gate.await_reached(1);
        if cause == "newer response" {
            let get = second.proxied("GET", &url);
            get.header("Cache-Control", "no-cache")
                .send()
                .assert_body(200, b"new");
        } else {
            change(&second, &origin, path, cause);
        }
        gate.open();
        waiting.head().finish().assert_body(200, b"old");
        for gateway in [&first, &second] {
            assert_new(gateway, &url, cause);
        }
    }
}

#[test]
fn response_without_change_stays_fresh() {
    let origin = Origin::start();
    let first = Gateway::relaying(&origin);
    let second = first.sibling().start();
    let (url, gate) = (origin.url("/page"), Gate::new());
    origin.serve("/page", fresh("text").gate_before_head(&gate));
    let waiting = first.proxied("GET", &url).start();
    gate.await_reached(1);
    origin.serve("/other/page", fresh("other"));
    let other = second.proxied("GET", &origin.url("/other/page")).send();
    other.assert_body(200, b"other");
    gate.open();
    waiting.head().finish().assert_body(200, b"text");
    second.proxied("GET", &url).send().assert_cache(&["hit"]);
    assert_eq!(origin.count("/page"), 1);
}
