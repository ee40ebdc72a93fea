//! Real clients, a real ftp server, and the gateway between them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{
    Authority, Body, Builder, DATE, DAY_BEFORE, FtpServer, Gateway, Tool, Vsftpd, archive, assert_same, files_under,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Mon, 01 Jan 2024 00:00:00 GMT.
const DATE_SECS: u64 = 1_704_067_200;

fn dated(server: &Vsftpd, name: &str) {
    let file = fs::File::options().append(true).open(server.path(name)).expect("the file is there");
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
    Gateway::builder().port(port).set("policy.allow_networks", "[\"127.0.0.0/8\", \"::1/128\"]")
}

#[test]
fn a_file_is_fetched_once_and_has_its_date() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let url = server.url(PATH);
    let answer = gateway.get(&url).send();
    answer.assert_body(200, &body);
    assert_eq!(answer.wants("last-modified"), DATE);
    gateway.await_stored(&url);
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    gateway.get(&url).send().assert_cache(&["hit"]);
    assert_eq!(server.count("\"RETR "), 1, "what it was asked for");
    assert_eq!(server.count("\"EPSV"), 2, "asked for once by itself");
    assert_eq!(server.count("\"PASV"), 0);
    assert_eq!(server.count("\"LIST") + server.count("\"NLST") + server.count("\"STOR"), 0);
    let record = fs::read_to_string(&gateway.records_of(&url)[0]).expect("a record can be read");
    assert!(record.contains("\"ftp://127.0.0.1\""), "{record}");
}

#[test]
fn a_server_at_an_address_of_the_new_kind_is_asked_too() {
    let server = Vsftpd::start_at("::1", "");
    let (gateway, body) = stage(&server);
    gateway.get(&server.url(PATH)).send().assert_body(200, &body);
    gateway.await_stored(&server.url(PATH));
}

#[test]
fn wget_c_on_a_cold_object_gets_the_rest_and_the_whole_is_stored() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("x-1.0.tar.gz");
    fs::write(&file, &body[..1 << 20]).expect("the folder can be written");
    let proxy = format!("http://{}", gateway.proxy_addr());
    Tool::wget(folder.path()).arg("-c").env("ftp_proxy", &proxy).arg(&server.url(PATH)).run().assert_success();
    assert_same(&fs::read(&file).expect("there is a file"), &body);
    gateway.await_stored(&server.url(PATH));
    gateway.get(&server.url(PATH)).send().assert_body(200, &body);
    assert_eq!(server.count("\"RETR "), 1);
    assert_eq!(server.count("\"REST "), 0, "the whole was fetched");
}

#[test]
fn a_range_of_a_cold_object_is_right_and_the_whole_is_stored() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let answer = gateway.proxied("GET", &server.url(PATH)).range("bytes=1000000-2000000").send();
    answer.assert_body(206, &body[1_000_000..=2_000_000]);
    gateway.await_stored(&server.url(PATH));
    gateway.get(&server.url(PATH)).send().assert_body(200, &body);
    assert_eq!(server.count("\"RETR "), 1);
}

#[test]
fn every_client_gets_the_file_by_ftp_proxy_and_by_the_rewritten_url() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    let proxy = format!("http://{}", gateway.proxy_addr());
    let url = server.url(PATH);
    let run = |tool: fn(&Path) -> Tool, args: &[&str], url: &str| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        tool(folder.path()).args(args).env("ftp_proxy", &proxy).arg(url).run().assert_success();
        let file = folder.path().join("x-1.0.tar.gz");
        assert_same(&fs::read(&file).expect("there is a file"), &body);
        assert_eq!(files_under(folder.path()), [file]);
    };
    for url in [url.as_str(), &gateway.rewritten(&url)] {
        run(Tool::wget, &[], url);
        run(Tool::curl, &["-f", "-O"], url);
        run(Tool::aria2c, &["-x2", "-s2", "-k1M", "-o", "x-1.0.tar.gz"], url);
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
    for tool in [Tool::wget, |folder: &Path| Tool::curl(folder).args(&["-f", "-O"])] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        tool(folder.path()).env("ftp_proxy", &proxy).arg(&url).run().assert_success();
        assert_same(&fs::read(folder.path().join("x-1.0.tar.gz")).expect("there is a file"), &body);
    }
    assert_eq!(server.asked().iter().filter(|line| *line == "PASS secret").count(), 2);
    gateway.assert_nothing_stored();
    assert!(!gateway.log().text().contains("secret"));
}

#[test]
fn names_of_all_kinds_are_found() {
    let server = Vsftpd::start();
    let (gateway, _) = stage(&server);
    let body = archive(2, 5000);
    for name in
        ["a b-1.0.tar.gz", "gr\u{fc}n/\u{fc}-1.0.tar.gz", "what?-1.0.tar.gz", "a%2Fb.tar.gz", "a;b.tar.gz", "-x.tar.gz"]
    {
        server.write(name, &body);
    }
    symlink(server.path("a b-1.0.tar.gz"), server.path("link-1.0.tar.gz")).expect("a link can be made");
    let root = format!("/%2F{}", server.path("a b-1.0.tar.gz").display().to_string().trim_start_matches('/'));
    for path in [
        "/a%20b-1.0.tar.gz",
        "/gr%C3%BCn/%C3%BC-1.0.tar.gz",
        "/what%3F-1.0.tar.gz",
        "/what?-1.0.tar.gz",
        "/a%252Fb.tar.gz",
        "/a;b.tar.gz",
        "/-x.tar.gz",
        "/link-1.0.tar.gz",
        "/a%20b-1.0.tar.gz;type=i",
        &root.replace(' ', "%20"),
    ] {
        gateway.get(&server.url(path)).send().assert_body(200, &body);
    }
}

#[test]
fn what_is_not_there_and_what_is_no_file() {
    let server = Vsftpd::start();
    let (gateway, _) = stage(&server);
    for path in ["/no-such-1.0.tar.gz", "/pub", "/pub/none/x.zip"] {
        let url = server.url(path);
        gateway.get(&url).send().assert_problem(404);
        gateway.proxied("GET", &url).send().assert_problem(404);
        gateway.request("HEAD", &format!("/{url}")).send().assert_status(404);
    }
    let commands = server.count("FTP command");
    for path in ["/", "/pub/", "/pub%2F", "/x.tar.gz;type=a", "/x.tar.gz%0D%0ADELE%20y", "/x%00.tar.gz"] {
        let answer = gateway.get(&server.url(path)).send();
        answer.assert_problem(403);
        assert!(answer.text().contains("over ftp"), "{}", answer.text());
    }
    for method in ["PUT", "POST", "DELETE"] {
        let answer = gateway.proxied(method, &server.url(PATH)).send();
        answer.assert_problem(405);
        assert_eq!(answer.wants("allow"), "GET, HEAD");
    }
    assert_eq!(server.count("FTP command"), commands, "nothing of that was asked");
    gateway.assert_nothing_stored();
}

#[test]
fn a_head_says_size_and_date_and_fetches_nothing() {
    let server = Vsftpd::start();
    let (gateway, body) = stage(&server);
    for answer in [
        gateway.proxied("HEAD", &server.url(PATH)).send(),
        gateway.request("HEAD", &format!("/{}", server.url(PATH))).send(),
    ] {
        answer.assert_status(200);
        assert_eq!(answer.wants("content-length"), body.len().to_string());
        assert_eq!(answer.wants("last-modified"), DATE);
    }
    assert_eq!(server.count("\"RETR "), 0);
    assert_eq!(server.count("CONNECT: "), 1 + 1, "one of the harness, and one for both");
    gateway.assert_nothing_stored();
    gateway.get(&server.url(PATH)).header("Cache-Control", "only-if-cached").send().assert_problem(504);
}

#[test]
fn what_is_passed_is_passed_in_parts_too() {
    let server = Vsftpd::start();
    let (gateway, _) = stage(&server);
    let body = archive(3, 300_000);
    server.write("notes.txt", &body);
    let url = server.url("/notes.txt");
    let ask = || gateway.proxied("GET", &url);
    ask().send().assert_body(200, &body);
    ask().range("bytes=1000-").send().assert_body(206, &body[1000..]);
    let part = ask().range("bytes=1000-1999").send();
    part.assert_body(206, &body[1000..2000]);
    assert_eq!(part.wants("content-range"), "bytes 1000-1999/300000");
    ask().range("bytes=-10").send().assert_body(206, &body[299_990..]);
    ask().range("bytes=300000-").send().assert_status(416);
    ask().range("bytes=0-9").header("If-Range", DAY_BEFORE).send().assert_body(200, &body);
    gateway.assert_nothing_stored();
}

#[test]
fn tls_is_spoken_where_it_is_offered() {
    let authority = Authority::new();
    let server = Vsftpd::start_tls(&authority, "allow_anon_ssl=YES");
    let body = archive(1, 300_000);
    server.write("x-1.0.tar.gz", &body);
    server.write("y-1.0.tar.gz", &body);
    for tls in ["offered", "required"] {
        let gateway = builder(&server).authority(&authority).text("fetch.ftp_tls", tls).start();
        gateway.get(&server.url("/x-1.0.tar.gz")).send().assert_body(200, &body);
        gateway.get(&server.url("/y-1.0.tar.gz")).send().assert_body(200, &body);
    }
    assert_eq!(server.count("\"PROT P\""), 2, "each gateway's connection serves both files");
    assert_eq!(server.count("\"RETR "), 4);
}

#[test]
fn a_certificate_that_is_not_good_is_not_put_up_with() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Vsftpd::start_tls(&authority, "allow_anon_ssl=YES");
    server.write("x-1.0.tar.gz", &archive(1, 5000));
    let gateway = builder(&server).authority(&other).start();
    let answer = gateway.get(&server.url("/x-1.0.tar.gz")).send();
    answer.assert_problem(502);
    assert!(answer.text().contains("certificate"), "{}", answer.text());
    assert_eq!(server.count("\"USER"), 0, "nobody logs in without TLS instead");
    let gateway = builder(&server).authority(&other).text("fetch.ftp_tls", "never").start();
    gateway.get(&server.url("/x-1.0.tar.gz")).send().assert_status(200);
}

#[test]
fn a_server_that_wants_nobody_anonymous_within_tls_gets_its_will() {
    let authority = Authority::new();
    let server = Vsftpd::start_tls(&authority, "");
    let body = archive(1, 5000);
    server.write("x-1.0.tar.gz", &body);
    let required = builder(&server).authority(&authority).text("fetch.ftp_tls", "required").start();
    required.get(&server.url("/x-1.0.tar.gz")).send().assert_problem(502);
    let gateway = builder(&server).authority(&authority).start();
    gateway.get(&server.url("/x-1.0.tar.gz")).send().assert_body(200, &body);
}
