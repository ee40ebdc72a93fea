//! Redirects, cookies, file names and HEAD of origins, as a client of the URL prefix sees them.

use crate::harness::{Builder, Gateway, Origin, Reply, archive};

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

#[test]
fn cookies_live_as_long_as_chain() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let gateway = builder(&origin).origin(&other).start();
    let body = archive(1, 3000);
    for (number, name) in ["x-1.0.tar.gz", "latest/list.bin"].into_iter().enumerate() {
        let path = format!("/{number}/{name}");
        let set = Reply::redirect(302, &path).header("Set-Cookie", "ok=1; Path=/; HttpOnly");
        origin.script(&path, vec![set, Reply::ok(&body)]);
        gateway.assert_serves(&origin.url(&path), &body);
        let asked = origin.requests(&path);
        assert_eq!(asked[0].header("cookie"), None, "{path}");
        assert_eq!(asked[1].header("cookie"), Some("ok=1"), "{path}");
        let later = format!("/{number}/later/{name}");
        origin.serve(&later, Reply::ok(&body));
        gateway.assert_serves(&origin.url(&later), &body);
        assert_eq!(origin.request(&later).header("cookie"), None, "{later}");
    }
    other.serve("/y-1.0.gz", Reply::ok(&body));
    let away = Reply::redirect(302, &other.url("/y-1.0.gz")).header("Set-Cookie", "ok=1");
    origin.serve("/away-1.0.gz", away);
    gateway.assert_serves(&origin.url("/away-1.0.gz"), &body);
    assert_eq!(other.request("/y-1.0.gz").header("cookie"), None);
}

#[test]
fn cookie_dates_have_many_forms() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(5, 3000);
    for (number, (date, is_kept)) in [
        ("Thu, 01-Jan-2099 00:00:00 GMT", true),
        ("Thu, 01-Jan-1970 00:00:00 GMT", false),
        ("Thu, 01-Jan-1970 00:00:01 GMT", false),
        ("Mon, 01-Jan-1900 00:00:00 GMT", false),
        ("Thursday, 01-Jan-98 00:00:00 GMT", false),
        ("Thu Jan  1 00:00:00 2099", true),
        ("Thu Jan  1 00:00:00 1998", false),
        ("01 Jan 1998 0:0:0", false),
        ("yesterday", true),
        ("0", true),
        ("", true),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/x-1.0.gz");
        let next = format!("/{number}/y-1.0.gz");
        let set = format!("ok=2; Path=/; Expires={date}");
        origin.serve(
            &path,
            Reply::redirect(302, &next).header("Set-Cookie", &set),
        );
        origin.serve(&next, Reply::ok(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        let asked = origin.request(&next);
        assert_eq!(asked.header("cookie"), is_kept.then_some("ok=2"), "{date}");
    }
}

#[test]
fn cookie_keeps_bytes_beyond_ascii() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(6, 3000);
    let set = Reply::redirect(302, "/y-1.0.gz").header("Set-Cookie", "ok= v\u{e0} ; Path=/");
    origin.serve("/x-1.0.gz", set);
    origin.serve("/y-1.0.gz", Reply::ok(&body));
    gateway.assert_serves(&origin.url("/x-1.0.gz"), &body);
    let asked = origin.request("/y-1.0.gz");
    assert_eq!(asked.header("cookie"), Some("ok=v\u{e0}"));
}

#[test]
fn location_keeps_bytes_that_are_no_utf8() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(2, 3000);
    for (number, (location, asked)) in [
        (&b"/caf\xe9-1.0.gz"[..], "/caf%E9-1.0.gz"),
        (b"/\xc4\xe3\xba\xc3-1.0.gz", "/%C4%E3%BA%C3-1.0.gz"),
        (b"/caf\xc3\xa9-1.0.gz", "/caf%C3%A9-1.0.gz"),
        // The second byte of a character in GBK, Big5 and Shift JIS can be that of a backslash.
        (b"/\x81\x5c-1.0.gz", "/%81%5C-1.0.gz"),
        (b"/\xb3\x5c\xa5\x5c-1.0.gz", "/%B3%5C%A5%5C-1.0.gz"),
        (b"/\x95\x5c-1.0.gz", "/%95%5C-1.0.gz"),
        (b"/a b-1.0.gz?q=\xe9", "/a%20b-1.0.gz?q=%E9"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/x-1.0.gz");
        let head = [
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ",
            location,
            b"\r\n\r\n",
        ];
        origin.serve(&path, Reply::raw(&head.concat()));
        origin.serve(asked, Reply::ok(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        assert_eq!(origin.count(asked), 1);
    }
}

#[test]
fn multiple_choices_with_location_is_followed() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(3, 3000);
    origin.serve("/y-1.0.gz", Reply::ok(&body));
    origin.serve("/x-1.0.gz", Reply::redirect(300, "/y-1.0.gz"));
    gateway.assert_serves(&origin.url("/x-1.0.gz"), &body);
    origin.serve("/none-1.0.gz", Reply::status(300));
    gateway
        .get(&origin.url("/none-1.0.gz"))
        .send()
        .assert_problem(502);
}

#[test]
fn page_behind_redirect_keeps_its_base() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let gateway = builder(&origin).origin(&other).start();
    let page = b"<!doctype html><a href=\"x-1.0.gz\">x</a>".to_vec().into();
    let html = |reply: Reply| reply.header("Content-Type", "text/html; charset=utf-8");
    for last in [&origin, &other] {
        for path in ["/simple/foo/", "/index.html", "/q/?a=b"] {
            last.serve(path, html(Reply::file(&page)));
        }
    }
    for (number, (path, last)) in [
        ("/simple/foo", origin.url("/simple/foo/")),
        ("/old.html", origin.url("/index.html")),
        ("/simple/bar", other.url("/simple/foo/")),
        ("/q", origin.url("/q/?a=b")),
    ]
    .into_iter()
    .enumerate()
    {
        let hop = format!("/hop/{number}");
        origin.serve(path, Reply::redirect(301, &hop));
        origin.serve(&hop, Reply::redirect(302, &last));
        for method in ["GET", "HEAD", "GET"] {
            let answer = gateway
                .request(method, &format!("/{}", origin.url(path)))
                .send();
            answer.assert_status(302);
            assert_eq!(
                answer.wants("location"),
                format!("/{last}"),
                "{method} {path}"
            );
        }
        gateway.get(&last).send().assert_body(200, &page);
        let proxied = gateway.proxied("GET", &origin.url(path)).send();
        assert_eq!(proxied.wants("location"), hop, "a proxy is transparent");
    }
    // Other bodies are served, and a signed URL is not shown.
    let body = archive(4, 3000);
    origin.serve("/files/list", Reply::file(&body));
    origin.serve("/list", Reply::redirect(302, "/files/list"));
    gateway.assert_serves(&origin.url("/list"), &body);
    origin.serve("/secret/?sig=a", html(Reply::file(&page)));
    origin.serve("/secret", Reply::redirect(302, "/secret/?sig=a"));
    gateway.assert_serves(&origin.url("/secret"), &page);
}

#[test]
fn attachment_has_name() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(5, 3000);
    for (number, (path, stated, wanted)) in [
        (
            "x-1.0.gz",
            "attachment; filename=\"y-2.0.gz\"",
            "filename=\"y-2.0.gz\"",
        ),
        (
            "x-1.0.gz",
            "inline; filename=y-2.0.gz",
            "filename=\"y-2.0.gz\"",
        ),
        ("x-1.0.gz", "filename=y-2.0.gz", "filename=\"y-2.0.gz\""),
        (
            "x-1.0.gz",
            "attachment; filename*=UTF-8''%c3%a9.gz",
            "filename=\"_.gz\"; filename*=UTF-8''%C3%A9.gz",
        ),
        (
            "x-1.0.gz",
            "attachment; filename=\"é.gz\"",
            "filename=\"_.gz\"; filename*=UTF-8''%C3%A9.gz",
        ),
        ("x-1.0.gz", "attachment", "filename=\"x-1.0.gz\""),
        ("x-1.0.gz/download", "inline", "filename=\"x-1.0.gz\""),
        ("x%20y-1.0.gz", "", "filename=\"x y-1.0.gz\""),
        ("latest/list.bin", "", "filename=\"list.bin\""),
        (
            "latest/list.bin",
            "inline; filename=a.bin",
            "filename=\"a.bin\"",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/{path}");
        let reply = Reply::file(&body).header("Content-Disposition", stated);
        origin.serve(&path, reply);
        for _ in 0..2 {
            let answer = gateway.assert_serves(&origin.url(&path), &body);
            let found = answer.wants("content-disposition");
            assert_eq!(found, format!("attachment; {wanted}"), "{path} {stated}");
        }
    }
}

#[test]
fn last_redirect_names_file() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(6, 3000);
    origin.serve("/files/y-2.0.gz", Reply::file(&body));
    origin.serve("/blobs/0123abcd", Reply::file(&body));
    for (path, hop, wanted) in [
        ("/v1.0/download", "/files/y-2.0.gz", "y-2.0.gz"),
        ("/x-1.0.gz", "/blobs/0123abcd", "x-1.0.gz"),
        ("/latest/get", "/files/y-2.0.gz", "y-2.0.gz"),
    ] {
        origin.serve(path, Reply::redirect(302, hop));
        for _ in 0..2 {
            let answer = gateway.assert_serves(&origin.url(path), &body);
            let found = answer.wants("content-disposition");
            assert_eq!(
                found,
                format!("attachment; filename=\"{wanted}\""),
                "{path}"
            );
        }
    }
}

#[test]
fn get_answers_head_that_origin_refuses() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(7, 4 << 20);
    for status in [403, 405, 501] {
        for name in ["x-1.0.tar.gz", "latest/list.bin", "list?token=a"] {
            let path = format!("/{status}/{name}");
            let file = Reply::file(&body).header("X-Accel-Redirect", "/x");
            origin.script(&path, vec![Reply::status(status), file]);
            let head = gateway
                .request("HEAD", &format!("/{}", origin.url(&path)))
                .header("Range", "bytes=0-1")
                .send();
            head.assert_status(200);
            assert_eq!(head.wants("content-length"), body.len().to_string());
            let methods: Vec<_> = origin
                .requests(&path)
                .into_iter()
                .map(|a| a.method)
                .collect();
            assert_eq!(methods, ["HEAD", "GET"], "{path}");
        }
        let path = format!("/{status}/y-1.0.tar.gz");
        origin.serve(&path, Reply::status(status));
        let proxied = gateway.proxied("HEAD", &origin.url(&path)).send();
        proxied.assert_status(status);
        assert_eq!(origin.count(&path), 1, "a proxy is transparent");
        let head = gateway.request("HEAD", &format!("/{}", origin.url(&path)));
        head.send().assert_status(502);
    }
    origin.serve("/gone-1.0.gz", Reply::status(404));
    let gone = gateway.request("HEAD", &format!("/{}", origin.url("/gone-1.0.gz")));
    gone.send().assert_status(404);
    assert_eq!(origin.count("/gone-1.0.gz"), 1);
}
