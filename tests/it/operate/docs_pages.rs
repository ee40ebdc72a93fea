//! The documentation at `/ui/docs/`: all pages are there, and all links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::harness::{Answer, Gateway, files_under};

const ROOT: &str = "/ui/docs/";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";

/// Pages outside of `docs/`.
const OTHER_PAGES: [&str; 6] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benches/RESULTS.md",
];

/// Returns the paths of all pages with their texts.
fn pages() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = files_under(&root.join("docs"));
    let others = OTHER_PAGES.map(|name| root.join(name));
    let files = docs.into_iter().chain(others);
    let is_page = |file: &Path| {
        let is_text = file.extension().is_some_and(|ending| ending == "md");
        is_text && !file.ends_with("SUMMARY.md")
    };
    let pages = files.filter(|file| is_page(file)).map(|file| {
        let name = file.strip_prefix(root).expect("it is in the source tree");
        let name = name.to_str().expect("the path is text").to_owned();
        (name, fs::read_to_string(file).expect("a page can be read"))
    });
    pages.collect()
}

/// Returns the path of a page at the gateway.
fn path_of(file: &str) -> String {
    if file == "docs/README.md" {
        return ROOT.to_owned();
    }
    let name = file.trim_start_matches("docs/").trim_end_matches(".md");
    format!("{ROOT}{}", name.to_lowercase())
}

/// Returns the values of an attribute in a page.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let mark = format!(" {name}=\"");
    let values = html.split(mark.as_str()).skip(1);
    values
        .map(|rest| rest.split('"').next().unwrap_or_default())
        .collect()
}

#[test]
fn each_page_is_served_with_its_title() {
    let gateway = Gateway::builder().start();
    let pages = pages();
    assert!(pages.len() > 40, "the pages are where they were");
    for (file, text) in &pages {
        let heading = text.lines().next().unwrap_or_default();
        let title = heading.trim_start_matches('#').trim().replace('`', "");
        let page = gateway.request("GET", &path_of(file)).send();
        page.assert_status(200);
        assert_eq!(page.wants("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.wants("content-security-policy"), POLICY);
        assert_eq!(page.wants("x-content-type-options"), "nosniff");
        let html = page.text();
        let title = format!("<title>{title} – Millpond</title>");
        assert!(html.contains(&title), "{file} lacks {title}");
        // The policy would block each of these.
        for word in ["<script", "<style", " style=", " onclick="] {
            assert!(!html.contains(word), "{file} has {word}");
        }
        assert!(!html.contains("generated:"), "{file} shows a comment");
    }
}

#[test]
fn each_link_leads_to_page_and_heading() {
    let gateway = Gateway::builder().start();
    let mut answers: BTreeMap<String, Answer> = BTreeMap::new();
    let mut waiting = vec![ROOT.to_owned()];
    let mut fragments = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let answer = gateway.request("GET", &path).send();
        assert_eq!(answer.status, 200, "{path}");
        let html = if path.starts_with(ROOT) {
            answer.text()
        } else {
            String::new()
        };
        answers.insert(path.clone(), answer);
        for link in [attributes(&html, "href"), attributes(&html, "src")].concat() {
            if link.starts_with("https://") {
                continue;
            }
            let (to, fragment) = link.split_once('#').unwrap_or((link, ""));
            let to = if to.is_empty() { &path } else { to };
            assert!(to.starts_with('/'), "{path}: {link}");
            if !fragment.is_empty() {
                fragments.insert((path.clone(), to.to_owned(), fragment.to_owned()));
            }
            if !answers.contains_key(to) && !waiting.iter().any(|path| path == to) {
                waiting.push(to.to_owned());
            }
        }
    }
    for (from, to, fragment) in &fragments {
        let html = answers[to].text();
        let has_heading = attributes(&html, "id").contains(&fragment.as_str());
        assert!(has_heading, "{from} links to {to}#{fragment}");
    }
    assert!(fragments.len() > 100, "{} fragments", fragments.len());
    for file in pages().keys() {
        assert!(
            answers.contains_key(&path_of(file)),
            "no page links to {file}"
        );
    }
    for path in [
        "/ui/docs/images/overview.svg",
        "/ui/docs/config/millpond.toml",
    ] {
        assert!(answers.contains_key(path), "{path}");
    }
    assert_eq!(
        answers["/ui/docs/images/overview.svg"].wants("content-type"),
        "image/svg+xml"
    );
}

#[test]
fn pages_have_entity_tags_and_heads() {
    let gateway = Gateway::builder().start();
    let path = "/ui/docs/reference/configuration";
    let page = gateway.request("GET", path).send();
    let tag = page.wants("etag").to_owned();
    assert_eq!(page.wants("cache-control"), "no-cache");
    let known = gateway.request("GET", path).header("If-None-Match", &tag);
    known.send().assert_body(304, b"");
    let coded = gateway.request("GET", path);
    let coded = coded.header("Accept-Encoding", "gzip").send();
    assert_eq!(coded.wants("content-encoding"), "gzip");
    assert!(coded.body.len() * 2 < page.body.len());
    let head = gateway.request("HEAD", path).send();
    head.assert_body(200, b"");
    assert_eq!(head.wants("etag"), tag);
    assert_eq!(head.wants("content-length"), page.body.len().to_string());
    let bare = gateway.request("GET", "/ui/docs").send();
    bare.assert_status(308);
    assert_eq!(bare.wants("location"), ROOT);
}

#[test]
fn other_paths_are_not_found() {
    let gateway = Gateway::builder().start();
    for path in [
        "no-such-page",
        "guides",
        "guides/",
        "guides/install/",
        "guides/install.md",
        "README",
        "Guides/Install",
        "/guides/install",
        "guides//install",
        "./guides/install",
        "../page.css",
        "../../etc/passwd",
        "guides/../guides/install",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2fpage.css",
        "guides%2finstall",
        "guides/install%00",
        "src/main.rs",
        "https://example.org/x-1.0.tar.gz",
        &"a".repeat(5000),
    ] {
        let answer = gateway.request("GET", &format!("{ROOT}{path}")).send();
        answer.assert_problem(404);
    }
    gateway.request("POST", ROOT).send().assert_problem(405);
    gateway.assert_nothing_stored();
}

#[test]
fn pages_of_the_gateway_link_to_documents() {
    let gateway = Gateway::builder().start();
    let usage = gateway.request("GET", "/").header("Accept", "text/html");
    assert!(usage.send().text().contains("href=\"/ui/docs/\""));
    let shell = gateway.request("GET", "/ui/").send().text();
    let links = attributes(&shell, "href");
    for link in ["docs/", "docs/operations/page", "api/"] {
        assert!(links.contains(&link), "{link}");
        let page = gateway.request("GET", &format!("/ui/{link}")).send();
        page.assert_status(200);
    }
}
