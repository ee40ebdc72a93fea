//! Configuration, start, and the pages of the gateway's own.

use std::net::TcpListener;
use std::path::Path;

use crate::harness::{Gateway, Origin, Reply, Run, archive, millpond};

/// Has `text` checked as a configuration that is wrong, and returns the line that says why.
#[track_caller]
fn refused(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, text).expect("the folder can be written");
    one_line(&millpond(folder.path(), &["check-config", "--config", file.to_str().expect("the path is text")]))
}

/// The only line of a program that refused its configuration.
#[track_caller]
fn one_line(run: &Run) -> String {
    assert_eq!(run.code, Some(2), "the exit code\n{}\n{}", run.stdout, run.stderr);
    let line = run.stderr.trim_end();
    assert_eq!(line.lines().count(), 1, "an error is one line:\n{line}");
    assert!(line.starts_with("millpond: "), "an error says whose it is: {line}");
    line.to_owned()
}

#[track_caller]
fn assert_names(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not named: {line}");
    }
}

#[test]
fn a_wrong_key_is_named_with_its_line() {
    assert_names(&refused("[cache]\ndir = \"cache\"\nmax_sise = \"1GiB\"\n"), &["max_sise", "wrong.toml:3"]);
    assert_names(&refused("[cache]\n\n\n[cash]\ndir = \"cache\"\n"), &["cash", "wrong.toml:4"]);
}

#[test]
fn a_wrong_value_is_named_with_its_key() {
    assert_names(&refused("[cache]\nmax_size = \"50 gibbons\"\n"), &["max_size", "50 gibbons"]);
    assert_names(&refused("[fetch]\nidle_timeout = \"soon\"\n"), &["idle_timeout", "soon"]);
    assert_names(&refused("[fetch]\nattempts = \"four\"\n"), &["attempts"]);
    assert_names(&refused("[policy]\nports = [80, 70000]\n"), &["ports"]);
    for (port, why) in [
        ("gopher:70", "gopher:70"),
        ("http:", "http:"),
        ("ftp:70000", "ftp:70000"),
        ("http:443", "443 belongs to https"),
        ("https:21", "21 belongs to ftp"),
        ("ftp:80", "80 belongs to http"),
    ] {
        assert_names(&refused(&format!("[policy]\nports = [443, \"{port}\"]\n")), &["ports", "wrong.toml:2", why]);
    }
    assert_names(&refused("[policy]\nports = [80, true]\n"), &["ports"]);
    assert_names(&refused("[policy]\nallow_clients = [\"127.0.0.0/33\"]\n"), &["allow_clients"]);
    assert_names(&refused("[policy]\ndeny_hosts = [\"*.example.org\"]\n"), &["deny_hosts", "*.example.org"]);
    assert_names(&refused("[gateway]\nmiss = \"guess\"\n"), &["miss", "guess"]);
    assert_names(&refused("[gateway]\nlisten = \"everywhere\"\n"), &["listen", "everywhere"]);
    assert_names(&refused("[log]\nformat = \"xml\"\n"), &["format", "xml"]);
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    assert_names(&refused("[cache]\nmax_size = \n"), &["wrong.toml:2"]);
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(folder.path(), &["serve", "--config", "no-such-file.toml"]);
    assert_names(&one_line(&run), &["no-such-file.toml"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    for key in ["cache.dir", "gateway.state_dir"] {
        let builder = Gateway::builder();
        // Root may write everywhere, but not below a file.
        std::fs::write(builder.folder().join("file"), "").expect("the folder can be written");
        let below = builder.folder().join("file/below");
        let below = below.to_str().expect("the path is text");
        // Without a name, one is made up and kept in the state folder.
        let line = one_line(&builder.text("gateway.name", "").text(key, below).run_to_end());
        assert_names(&line, &[key, below]);
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("a listener has an address").to_string();
    for key in ["gateway.listen", "proxy.listen"] {
        let run = Gateway::builder().text(key, &address).text("log.format", "text").run_to_end();
        assert!(matches!(run.code, Some(1 | 2)), "the exit code is {:?}\n{}", run.code, run.stderr);
        assert_names(&run.stderr, &[&address]);
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let origin = Origin::start();
    let body = archive(1, 100_000);
    origin.serve("/x-1.0.tar.gz", Reply::ok(&body));
    let builder = Gateway::builder().origin(&origin).relay().text("cache.max_size", "1GiB");
    let gateway = builder.env("MILLPOND_CACHE__MAX_SIZE", "50KiB").start();
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
    gateway.assert_nothing_stored();
}

#[test]
fn a_wrong_name_or_value_in_the_environment_is_named() {
    let run = Gateway::builder().env("MILLPOND_CACHE__MAX_SISE", "1GiB").run_to_end();
    assert_names(&one_line(&run), &["MILLPOND_CACHE__MAX_SISE"]);
    let run = Gateway::builder().env("MILLPOND_CACHE__MAX_SIZE", "much").run_to_end();
    assert_names(&one_line(&run), &["MAX_SIZE", "much"]);
}

#[test]
fn only_names_with_two_underscores_are_configuration() {
    let mut gateway =
        Gateway::builder().env("MILLPOND_URL", "http://127.0.0.1:9").env("MILLPOND_NONSENSE", "1").start();
    gateway.request("GET", "/healthz").send().assert_status(200);
    gateway.stop();
}

#[test]
fn serve_needs_no_file() {
    let builder = Gateway::builder().text("gateway.name", "").without_a_file();
    let folder = builder.folder().to_owned();
    let gateway = builder.start();
    gateway.request("GET", "/healthz").send().assert_status(200);
    assert!(folder.join("cache").is_dir(), "the cache is in ./cache");
    assert!(folder.join("state").is_dir(), "the state is in ./state");
}

#[test]
fn a_right_configuration_passes_the_check() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("right.toml");
    std::fs::write(&file, "[cache]\nmax_size = \"10GiB\"\n[fetch]\nidle_timeout = \"1m\"\n")
        .expect("it can be written");
    millpond(folder.path(), &["check-config", "--config", file.to_str().expect("the path is text")]).assert_success();
    assert!(!folder.path().join("cache").exists(), "a check makes no folders");
}

#[test]
fn the_configuration_in_the_repository_passes_the_check() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/millpond.toml");
    let folder = tempfile::tempdir().expect("a folder can be made");
    millpond(folder.path(), &["check-config", "--config", file.to_str().expect("the path is text")]).assert_success();
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    assert_eq!(millpond(folder.path(), &["mill"]).code, Some(2));
    assert_eq!(millpond(folder.path(), &["serve", "--no-such-flag"]).code, Some(2));
    assert!(millpond(folder.path(), &["--help"]).stdout.contains("serve"), "the help tells of serve");
    assert!(millpond(folder.path(), &["--version"]).stdout.contains(env!("CARGO_PKG_VERSION")), "the version is told");
}

#[test]
fn the_gateway_has_pages_of_its_own() {
    let gateway = Gateway::builder().start();
    for path in ["/healthz", "/readyz", "/"] {
        gateway.request("GET", path).send().assert_status(200);
        gateway.request("HEAD", path).send().assert_status(200);
    }
    let version = gateway.request("GET", "/version").send();
    version.assert_status(200);
    assert!(version.text().contains(env!("CARGO_PKG_VERSION")), "{}", version.text());
    let robots = gateway.request("GET", "/robots.txt").send();
    robots.assert_status(200);
    assert!(robots.text().contains("Disallow: /"), "{}", robots.text());
}

#[test]
fn the_proxy_door_can_be_switched_off() {
    let gateway = Gateway::builder().text("proxy.listen", "").start();
    gateway.request("GET", "/healthz").send().assert_status(200);
    assert!(!gateway.log().events().iter().any(|event| event["door"] == "proxy"), "no proxy door is open");
}

#[test]
fn an_instance_keeps_its_name() {
    let origin = Origin::start();
    origin.serve("/x-1.0.tar.gz", Reply::ok(&archive(1, 1000)));
    let name = |gateway: &Gateway| {
        let answer = gateway.get(&origin.url("/x-1.0.tar.gz")).send();
        answer.wants("cache-status").split(';').next().unwrap_or_default().to_owned()
    };
    let mut gateway = Gateway::builder().origin(&origin).relay().text("gateway.name", "").start();
    let first = name(&gateway);
    gateway.restart();
    assert_eq!(name(&gateway), first, "the made-up name is kept");
    let other = Gateway::builder().origin(&origin).relay().text("gateway.name", "").start();
    assert_ne!(name(&other), first, "another instance has another name");
}
