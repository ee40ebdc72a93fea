//! Class `revalidate`: which responses update a stored one, and which bodies are complete.

use crate::harness::{Body, Gateway, Origin, Reply, encoded, eventually, gzip};

fn text(content: &str) -> Body {
    content.as_bytes().to_vec().into()
}

fn index(content: &str) -> Reply {
    Reply::file(&text(content)).conditional()
}

fn not_modified() -> Reply {
    Reply::status(304).header("Cache-Control", "max-age=600")
}

#[test]
fn foreign_validation_is_followed_by_a_full_request() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let dated = |date: &str| Reply::ok(&text("first")).header("Last-Modified", date);
    let date = "Sun, 01 Nov 2020 00:00:00 GMT";
    for (path, first, update) in [
        (
            "/one.txt",
            index("first"),
            not_modified().header("ETag", "\"other\""),
        ),
        (
            "/two.txt",
            dated(date),
            not_modified().header("Last-Modified", "Mon, 02 Nov 2020 00:00:00 GMT"),
        ),
        ("/three.txt", Reply::ok(&text("first")), not_modified()),
        (
            "/four.txt",
            Reply::ok(&text("first")),
            not_modified().header("ETag", "\"other\""),
        ),
    ] {
        let url = origin.url(path);
        let get = || gateway.proxied("GET", &url).send();
        origin.script(path, vec![first, update, index("second")]);
        get().assert_body(200, b"first");
        get().assert_body(200, b"second");
        let asked = origin.requests(path);
        assert_eq!(asked.len(), 3, "{path}");
        assert_eq!(asked[2].header("if-none-match"), None, "{path}");
        // An origin that says so again is away.
        origin.serve(path, not_modified().header("ETag", "\"third\""));
        let answer = get();
        answer.assert_body(200, b"second");
        answer.assert_cache(&["hit", "detail=stale"]);
    }
}

#[test]
fn validation_with_vary_selects_from_then_on() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    let get = |accept: &str| gateway.proxied("GET", &url).header("Accept", accept).send();
    origin.serve("/page", index("html"));
    get("text/html").assert_body(200, b"html");
    let varying = |content: &str| {
        let reply = index(content).header("Vary", "Accept");
        reply.header("Cache-Control", "max-age=600")
    };
    origin.serve("/page", varying("html"));
    get("text/html").assert_cache(&["fwd-status=304"]);
    origin.serve("/page", varying("json"));
    get("application/json").assert_body(200, b"json");
    get("text/html").assert_body(200, b"html");
    get("application/json").assert_body(200, b"json");
    assert_eq!(origin.count("/page"), 3);
}

#[test]
fn head_updates_or_invalidates_stored_response() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let fresh = ("Cache-Control", "max-age=600");
    let plain = |content: &str| Reply::file(&text(content));
    for (path, stored, head, is_asked) in [
        (
            "/1",
            plain("old"),
            plain("old").header(fresh.0, fresh.1),
            false,
        ),
        (
            "/2",
            plain("old").header(fresh.0, fresh.1),
            plain("new"),
            true,
        ),
        (
            "/3",
            plain("old").header(fresh.0, fresh.1),
            Reply::ok(&text("longer")),
            true,
        ),
        ("/4", plain("old"), plain("old"), true),
        (
            "/5",
            plain("old").header(fresh.0, fresh.1),
            Reply::status(404),
            false,
        ),
        (
            "/6",
            plain("old"),
            plain("old")
                .header(fresh.0, fresh.1)
                .header("Set-Cookie", "a=b"),
            true,
        ),
    ] {
        let url = origin.url(path);
        origin.script(path, vec![stored, head, plain("new").conditional()]);
        gateway.proxied("GET", &url).send().assert_body(200, b"old");
        let request = gateway.proxied("HEAD", &url);
        request.header("Cache-Control", "no-cache").send();
        assert_eq!(origin.count(path), 2, "{path}");
        let answer = gateway.proxied("GET", &url).send();
        assert_eq!(origin.count(path), if is_asked { 3 } else { 2 }, "{path}");
        answer.assert_body(200, if is_asked { b"new" } else { b"old" });
        assert_eq!(answer.header("set-cookie"), None, "{path}");
    }
}

#[test]
fn range_of_changed_index_stores_the_new_one() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    origin.script("/page", vec![index("first"), index("second")]);
    let get = || gateway.proxied("GET", &url);
    get().send().assert_body(200, b"first");
    let part = get().range("bytes=1-3").send();
    part.assert_body(206, b"eco");
    assert_eq!(origin.requests("/page")[1].header("range"), None);
    eventually("the second response is stored", || {
        let answer = get().send();
        answer.assert_body(200, b"second");
        let status = answer.wants("cache-status");
        status.contains("fwd-status=304").then_some(())
    });
}

#[test]
fn request_for_stored_bytes_asks_no_origin() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let fresh = index("first").header("Cache-Control", "max-age=600");
    let background = ("Cache-Control", "max-age=0, stale-while-revalidate=600");
    origin.serve("/fresh", fresh);
    origin.serve("/stale", index("first").header(background.0, background.1));
    let digest = "0".repeat(64);
    for (path, field, status) in [
        ("/fresh", ("X-Expected-Sha256", &digest[..]), 504),
        ("/fresh", ("X-Other", "1"), 200),
        ("/stale", ("X-Other", "1"), 200),
    ] {
        let url = origin.url(path);
        gateway.proxied("GET", &url).send().assert_status(200);
        let asked = origin.count(path);
        let request = gateway.proxied("GET", &url).header(field.0, field.1);
        let answer = request.header("Cache-Control", "only-if-cached").send();
        answer.assert_status(status);
        // A background request would have been sent before this one.
        gateway.proxied("GET", &origin.url("/other")).send();
        assert_eq!(origin.count(path), asked, "{path} {field:?}");
    }
}

#[test]
fn body_that_ends_with_the_connection_is_confirmed() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let lines: Vec<_> = (0..20_000).map(|number| number.to_string()).collect();
    let body: Body = lines.join("\n").into_bytes().into();
    let whole = || Reply::file(&body).conditional();
    let url = |path: &str| origin.url(path);
    let get = |path: &str| gateway.proxied("GET", &url(path)).send();
    let fresh = ("Cache-Control", "max-age=600");
    // Without its end the body must neither be fresh nor be validated.
    let cut = whole().until_close().cut_at(50_000);
    origin.script("/cut", vec![cut.header(fresh.0, fresh.1), whole()]);
    get("/cut").assert_body(200, &body[..50_000]);
    get("/cut").assert_body(200, &body);
    assert_eq!(origin.requests("/cut")[1].header("if-none-match"), None);
    // The second response has the same bytes.
    origin.serve("/same", whole().until_close());
    for _ in 0..2 {
        get("/same").assert_body(200, &body);
    }
    get("/same").assert_cache(&["fwd=stale", "fwd-status=304"]);
    // The format of the body shows its end.
    let packed = gzip(&body);
    let reply = Reply::file(&packed).conditional().until_close();
    origin.serve("/Packages.gz", reply);
    get("/Packages.gz").assert_body(200, &packed);
    get("/Packages.gz").assert_cache(&["fwd=stale", "fwd-status=304"]);
    // A client that must wait for the end gets the body of a request of its own.
    origin.serve("/old", whole().until_close());
    let old = gateway.get(&url("/old")).http_1_0().send();
    old.assert_body(200, &body);
}

#[test]
fn coded_page_does_not_replace_a_file() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let page = gzip(b"<!DOCTYPE html><html><title>One moment</title></html>");
    let zstd: Body = b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00".to_vec().into();
    for (path, coding, coded) in [
        ("/1/x.json", "gzip", &page),
        ("/2/x.json", "zstd", &zstd),
        ("/3/x.txt", "br", &page),
    ] {
        let url = origin.url(path);
        let get = || {
            let request = gateway.proxied("GET", &url);
            request.header("Accept-Encoding", "gzip, br, zstd").send()
        };
        origin.serve(path, index("{\"a\": 1}"));
        get().assert_body(200, b"{\"a\": 1}");
        let reply = Reply::file(coded).header("Content-Encoding", coding);
        origin.serve(path, reply.header("Cache-Control", "max-age=600"));
        let answer = get();
        answer.assert_body(200, b"{\"a\": 1}");
        answer.assert_cache(&["hit", "detail=stale"]);
        let asked = origin.requests(path);
        assert_eq!(asked[1].header("accept-encoding"), Some("gzip"), "{path}");
    }
    // A readable coding of the file itself is stored.
    let url = origin.url("/4/x.json");
    let json = gzip(b"{\"a\": 1}");
    let reply = Reply::file(&json).header("Content-Encoding", "gzip");
    origin.serve("/4/x.json", reply.conditional());
    for status in ["fwd=uri-miss", "fwd=stale"] {
        let request = gateway.proxied("GET", &url);
        let answer = request.header("Accept-Encoding", "gzip").send();
        answer.assert_body(200, &json);
        answer.assert_cache(&[status]);
    }
}

#[test]
fn unsafe_method_removes_what_is_stored_under_alias() {
    let (origin, mirror) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let alias = format!(
        "host = \"127.0.0.2\"\ncanonical_url = \"{}{{path}}\"",
        origin.url("/")
    );
    let builder = Gateway::builder().origin(&origin).origin(&mirror).relay();
    let gateway = builder.one_attempt().rule(&alias).start();
    for (number, method, names_other) in
        [(1, "POST", false), (2, "DELETE", false), (3, "PUT", true)]
    {
        let path = format!("/{number}/page");
        let fresh = |content| index(content).header("Cache-Control", "max-age=600");
        let get = || gateway.proxied("GET", &mirror.url(&path)).send();
        origin.serve(&path, fresh("first"));
        get().assert_body(200, b"first");
        origin.serve(&path, fresh("second"));
        get().assert_body(200, b"first");
        let sent = if names_other {
            mirror.serve("/other", Reply::ok(&text("done")).header("Location", &path));
            "/other"
        } else {
            mirror.serve(&path, Reply::ok(&text("done")));
            &path
        };
        let request = gateway.proxied(method, &mirror.url(sent)).body(b"x");
        request.send().assert_status(200);
        get().assert_body(200, b"second");
    }
}

#[test]
fn operator_sees_unconfirmed_response() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    origin.serve("/page", index("page").until_close());
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"page");
    let path = format!("/api/v1/targets?url={}", encoded(&url));
    let shown = gateway.request("GET", &path).send().json();
    assert_eq!(shown["observations"][0]["completeness"], "unconfirmed");
}
