//! The page that shows the description of the API in a browser.

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::harness::{Gateway, Tool};

const PAGE: &str = "/ui/api/";

/// Clients that do not read. Whole copies for all of them would take 100 MiB.
const UNREAD: usize = 80;

#[test]
fn browser_shows_operations_without_policy_violation() {
    let gateway = Gateway::builder().start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let profile = format!("--user-data-dir={}", folder.path().display());
    let run = Tool::new("chromium", "chromium", folder.path())
        .args(&[
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            &profile,
            "--dump-dom",
            &gateway.url(PAGE),
        ])
        .run();
    run.assert_success();
    let console: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(console.is_empty(), "{console:#?}");
    for shown in [
        "operations-fetches-listFetches",
        "operations-jobs-createJob",
        "Authorize",
    ] {
        assert!(run.stdout.contains(shown), "{shown}\n{}", run.stderr);
    }
    // The browser has asked for the files of the page alone, and only at the gateway.
    let asked = gateway.log().events();
    let asked = asked.iter().filter(|event| event["message"] == "request");
    let mut asked: Vec<_> = asked.filter_map(|event| event["uri"].as_str()).collect();
    asked.sort_unstable();
    let wanted = [
        "/openapi.json",
        "/ui/api/",
        "/ui/api/init.js",
        "/ui/api/swagger-ui-bundle.js",
        "/ui/api/swagger-ui.css",
    ];
    assert_eq!(asked, wanted);
}

#[test]
fn page_allows_its_own_files_alone() {
    let gateway = Gateway::builder().start();
    let page = gateway.request("GET", PAGE).send();
    page.assert_status(200);
    assert_eq!(page.wants("content-type"), "text/html; charset=utf-8");
    let policy = page.wants("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; "),
        "{policy}"
    );
    for weak in ["unsafe-inline", "unsafe-eval", "http:", "https:", "*"] {
        assert!(!policy.contains(weak), "{policy}");
    }
    for word in ["://", "onload", "style=", "<style"] {
        assert!(!page.text().contains(word), "{word}");
    }
    let tag = page.wants("etag").to_owned();
    let again = gateway
        .request("GET", PAGE)
        .header("If-None-Match", &tag)
        .send();
    again.assert_status(304);
    let redirect = gateway.request("GET", "/ui/api").send();
    redirect.assert_status(308);
    assert_eq!(redirect.wants("location"), PAGE);
    let wrong = gateway.request("POST", PAGE).send();
    wrong.assert_status(405);
    assert_eq!(wrong.wants("allow"), "GET, HEAD");
    let denied = Gateway::builder()
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    denied.request("GET", PAGE).send().assert_problem(403);
}

#[test]
fn files_are_compressed_for_clients_that_accept() {
    let gateway = Gateway::builder().start();
    for (name, content_type) in [
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
    ] {
        let path = format!("{PAGE}{name}");
        let plain = gateway.request("GET", &path).send();
        plain.assert_status(200);
        assert_eq!(plain.wants("content-type"), content_type);
        assert_eq!(plain.header("content-encoding"), None);
        let request = gateway.request("GET", &path);
        let gzip = request.header("Accept-Encoding", "br, gzip").send();
        assert_eq!(gzip.wants("content-encoding"), "gzip");
        assert!(gzip.body.len() * 3 < plain.body.len());
        let mut decoded = Vec::new();
        let read = GzDecoder::new(&gzip.body[..]).read_to_end(&mut decoded);
        read.expect("the body is gzip");
        assert!(decoded == plain.body, "{name}");
    }
}

#[test]
fn clients_that_do_not_read_cost_little() {
    let gateway = Gateway::builder().start();
    let path = format!("{PAGE}swagger-ui-bundle.js");
    let whole = gateway.request("GET", &path).send();
    assert!(whole.body.len() > 1 << 20, "the file is large");
    let before = gateway.resident_mib();
    let mut clients: Vec<_> = (0..UNREAD)
        .map(|_| gateway.request("GET", &path).open())
        .collect();
    for client in &mut clients {
        // The response has begun, and its buffers fill.
        client.read(1);
    }
    let grown = gateway.resident_mib().saturating_sub(before);
    assert!(grown < 48, "{UNREAD} clients cost {grown} MiB");
    // Each still gets the whole file.
    let mut last = clients.pop().expect("there are clients");
    let rest = last.read(whole.body.len() - 1);
    assert!(rest == whole.body[1..], "other bytes");
}
