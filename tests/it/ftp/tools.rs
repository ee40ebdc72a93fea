//! Tests with real clients and a real FTP server.

mod tls;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{
    Body, Builder, DATE, DAY_BEFORE, FtpServer, Gateway, Tool, Vsftpd, archive, assert_same,
    files_under,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Mon, 01 Jan 2024 00:00:00 GMT.
const DATE_SECS: u64 = 1_704_067_200;

fn dated(server: &Vsftpd, name: &str) {
    let file = fs::File::options()
        .append(true)
        .open(server.path(name))
        .expect("the file exists");
    let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(DATE_SECS);
    file.set_modified(date).expect("a date can be set");
}

fn stage(server: &Vsftpd) -> (Gateway, Body) {
    let body = archive(1, 3 << 20);
    server.write("pub/x-1.0.tar.gz", &body);
    dated(server, "pub/x-1.0.tar.gz");
    (builder(server).start(), body)
}

fn builder(server: &Vsftpd) -> Builder {
    builder_at(server.port())
}

fn builder_at(port: u16) -> Builder {
    Gateway::builder()
        .port(port)
        .set("policy.allow_networks", "[\"127.0.0.0/8\", \"::1/128\"]")
}

#[test]
fn file_is_fetched_once_with_its_date() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let url = server.url(PATH);
    let answer = gateway.get(&url).send();
    answer.assert_body(200, &body);
    assert_eq!(answer.wants("last-modified"), DATE);
    gateway.await_stored(&url);
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    gateway.get(&url).send().assert_cache(&["hit"]);
    assert_eq!(server.count("\"RETR "), 1, "the file was retrieved once");
    assert_eq!(
        server.count("\"EPSV"),
        2,
        "EPSV is sent once at login and once for the transfer"
    );
    assert_eq!(server.count("\"PASV"), 0);
    assert_eq!(
        server.count("\"LIST") + server.count("\"NLST") + server.count("\"STOR"),
        0
    );
    let record = fs::read_to_string(&gateway.records_of(&url)[0]).expect("a record can be read");
    let source = server.url("");
    assert!(record.contains(&format!("{source:?}")), "{record}");
}

#[test]
fn server_at_ipv6_address_works() {
    let server = Vsftpd::start_at("::1", "");
    let (gateway, body) = stage(&server);
    gateway
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&server.url(PATH));
}

#[test]
fn wget_continue_on_miss_stores_whole_file() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let folder = tempfile::tempdir().expect("a folder can be created");
    let file = folder.path().join("x-1.0.tar.gz");
    fs::write(&file, &body[..1 << 20]).expect("the folder can be written");
    let proxy = format!("http://{}", gateway.proxy_addr());
    Tool::wget(folder.path())
        .arg("-c")
        .env("ftp_proxy", &proxy)
        .arg(&server.url(PATH))
        .run()
        .assert_success();
    assert_same(&fs::read(&file).expect("the file exists"), &body);
    gateway.await_stored(&server.url(PATH));
    gateway
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(server.count("\"RETR "), 1);
    assert_eq!(server.count("\"REST "), 0, "the whole file was fetched");
}

#[test]
fn range_miss_stores_the_whole_file() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let answer = gateway
        .proxied("GET", &server.url(PATH))
        .range("bytes=1000000-2000000")
        .send();
    answer.assert_body(206, &body[1_000_000..=2_000_000]);
    gateway.await_stored(&server.url(PATH));
    gateway
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(server.count("\"RETR "), 1);
}

#[test]
fn every_client_works_with_proxy_and_url_prefix() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let proxy = format!("http://{}", gateway.proxy_addr());
    let url = server.url(PATH);
    let run = |tool: fn(&Path) -> Tool, args: &[&str], url: &str| {
        let folder = tempfile::tempdir().expect("a folder can be created");
        tool(folder.path())
            .args(args)
            .env("ftp_proxy", &proxy)
            .arg(url)
            .run()
            .assert_success();
        let file = folder.path().join("x-1.0.tar.gz");
        assert_same(&fs::read(&file).expect("the file exists"), &body);
        assert_eq!(files_under(folder.path()), [file]);
    };
    for url in [url.as_str(), &gateway.rewritten(&url)] {
        run(Tool::wget, &[], url);
        run(Tool::curl, &["-f", "-O"], url);
        run(
            Tool::aria2c,
            &["-x2", "-s2", "-k1M", "-o", "x-1.0.tar.gz"],
            url,
        );
    }
    assert_eq!(server.count("\"RETR "), 1);
}

#[test]
fn wget_and_curl_log_in_through_the_proxy() {
    let server = FtpServer::start();
    let body = archive(4, 5000);
    server.serve("x-1.0.tar.gz", &body);
    let gateway = builder_at(server.port()).text("log.level", "trace").start();
    let proxy = format!("http://{}", gateway.proxy_addr());
    let url = format!("ftp://user:secret@127.0.0.1:{}/x-1.0.tar.gz", server.port());
    for tool in [Tool::wget, |folder: &Path| {
        Tool::curl(folder).args(&["-f", "-O"])
    }] {
        let folder = tempfile::tempdir().expect("a folder can be created");
        tool(folder.path())
            .env("ftp_proxy", &proxy)
            .arg(&url)
            .run()
            .assert_success();
        assert_same(
            &fs::read(folder.path().join("x-1.0.tar.gz")).expect("the file exists"),
            &body,
        );
    }
    assert_eq!(
        server
            .asked()
            .iter()
            .filter(|line| *line == "PASS secret")
            .count(),
        2
    );
    gateway.assert_nothing_stored();
    assert!(!gateway.log().text().contains("secret"));
}

#[test]
fn unusual_file_names_are_found() {
    let server = Vsftpd::start();
    let (gateway, _) = stage(&server);
    let body = archive(2, 5000);
    for name in [
        "a b-1.0.tar.gz",
        "gr\u{fc}n/\u{fc}-1.0.tar.gz",
        "what?-1.0.tar.gz",
        "a%2Fb.tar.gz",
        "a;b-7.0.tar.gz",
        "-x.tar.gz",
    ] {
        server.write(name, &body);
    }
    symlink(
        server.path("a b-1.0.tar.gz"),
        server.path("link-1.0.tar.gz"),
    )
    .expect("a link can be created");
    let root = format!(
        "/%2F{}",
        server
            .path("a b-1.0.tar.gz")
            .display()
            .to_string()
            .trim_start_matches('/')
    );
    for path in [
        "/a%20b-1.0.tar.gz",
        "/gr%C3%BCn/%C3%BC-1.0.tar.gz",
        "/what%3F-1.0.tar.gz",
        "/what?-1.0.tar.gz",
        "/a%252Fb.tar.gz",
        "/a;b-7.0.tar.gz",
        "/-x.tar.gz",
        "/link-1.0.tar.gz",
        "/a%20b-1.0.tar.gz;type=i",
        &root.replace(' ', "%20"),
    ] {
        gateway
            .get(&server.url(path))
            .send()
            .assert_body(200, &body);
    }
}

#[test]
fn missing_files_and_non_files_are_rejected() {
    let server = Vsftpd::start();
    let (gateway, _) = stage(&server);
    for path in ["/no-such-1.0.tar.gz", "/pub", "/pub/none/x-1.0.zip"] {
        let url = server.url(path);
        gateway.get(&url).send().assert_problem(404);
        gateway.proxied("GET", &url).send().assert_problem(404);
        gateway
            .request("HEAD", &format!("/{url}"))
            .send()
            .assert_status(404);
    }
    let commands = server.count("FTP command");
    for path in [
        "/",
        "/pub/",
        "/pub%2F",
        "/x-7.0.tar.gz;type=a",
        "/x-7.0.tar.gz%0D%0ADELE%20y",
        "/x%00.tar.gz",
    ] {
        let answer = gateway.get(&server.url(path)).send();
        answer.assert_problem(403);
        assert!(
            answer.text().contains("unsupported ftp URL"),
            "{}",
            answer.text()
        );
    }
    for method in ["PUT", "POST", "DELETE"] {
        let answer = gateway.proxied(method, &server.url(PATH)).send();
        answer.assert_problem(405);
        assert_eq!(answer.wants("allow"), "GET, HEAD");
    }
    assert_eq!(
        server.count("FTP command"),
        commands,
        "Millpond sent no command for these targets"
    );
    gateway.assert_nothing_stored();
}

#[test]
fn head_reports_size_and_date_without_fetching() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    for answer in [
        gateway.proxied("HEAD", &server.url(PATH)).send(),
        gateway
            .request("HEAD", &format!("/{}", server.url(PATH)))
            .send(),
    ] {
        answer.assert_status(200);
        assert_eq!(answer.wants("content-length"), body.len().to_string());
        assert_eq!(answer.wants("last-modified"), DATE);
    }
    assert_eq!(server.count("\"RETR "), 0);
    assert_eq!(
        server.count("CONNECT: "),
        1 + 1,
        "one connection of the harness, and one for both requests"
    );
    gateway.assert_nothing_stored();
    gateway
        .get(&server.url(PATH))
        .header("Cache-Control", "only-if-cached")
        .send()
        .assert_problem(504);
}

#[test]
fn pass_through_supports_ranges() {
    let server = Vsftpd::start();
    let gateway = builder(&server).rule("class = \"pass\"").start();
    let body = archive(3, 300_000);
    server.write("notes.txt", &body);
    let url = server.url("/notes.txt");
    let ask = || gateway.proxied("GET", &url);
    ask().send().assert_body(200, &body);
    ask()
        .range("bytes=1000-")
        .send()
        .assert_body(206, &body[1000..]);
    let part = ask().range("bytes=1000-1999").send();
    part.assert_body(206, &body[1000..2000]);
    assert_eq!(part.wants("content-range"), "bytes 1000-1999/300000");
    ask()
        .range("bytes=-10")
        .send()
        .assert_body(206, &body[299_990..]);
    ask().range("bytes=300000-").send().assert_status(416);
    ask()
        .range("bytes=0-9")
        .header("If-Range", DAY_BEFORE)
        .send()
        .assert_body(200, &body);
    gateway.assert_nothing_stored();
}
