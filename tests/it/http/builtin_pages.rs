//! Configuration, startup, and the built-in pages.

use std::net::TcpListener;
use std::path::Path;

use crate::harness::{Gateway, Origin, Reply, Run, archive, millpond};

/// Checks `text` as an invalid configuration, and returns the error line.
#[track_caller]
fn refused(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, text).expect("the folder can be written");
    one_line(&millpond(
        folder.path(),
        &[
            "check-config",
            "--config",
            file.to_str().expect("the path is text"),
        ],
    ))
}

/// Returns the only line of a program that rejected its configuration.
#[track_caller]
fn one_line(run: &Run) -> String {
    assert_eq!(
        run.code,
        Some(2),
        "exit code\n{}\n{}",
        run.stdout,
        run.stderr
    );
    let line = run.stderr.trim_end();
    assert_eq!(line.lines().count(), 1, "an error is one line:\n{line}");
    assert!(
        line.starts_with("millpond: "),
        "an error begins with the program's name: {line}"
    );
    line.to_owned()
}

#[track_caller]
fn assert_names(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(
            line.contains(part),
            "{part:?} is missing in the error: {line}"
        );
    }
}

#[test]
fn unknown_key_is_named_with_line() {
    assert_names(
        &refused("[cache]\ndir = \"cache\"\nmax_sise = \"1GiB\"\n"),
        &["max_sise", "wrong.toml:3"],
    );
    assert_names(
        &refused("[cache]\n\n\n[cash]\ndir = \"cache\"\n"),
        &["cash", "wrong.toml:4"],
    );
}

#[test]
fn invalid_value_is_named_with_key() {
    assert_names(
        &refused("[cache]\nmax_size = \"50 gibbons\"\n"),
        &["max_size", "50 gibbons"],
    );
    assert_names(
        &refused("[fetch]\nidle_timeout = \"soon\"\n"),
        &["idle_timeout", "soon"],
    );
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
        assert_names(
            &refused(&format!("[policy]\nports = [443, \"{port}\"]\n")),
            &["ports", "wrong.toml:2", why],
        );
    }
    assert_names(&refused("[policy]\nports = [80, true]\n"), &["ports"]);
    assert_names(
        &refused("[policy]\nallow_clients = [\"127.0.0.0/33\"]\n"),
        &["allow_clients"],
    );
    assert_names(
        &refused("[policy]\ndeny_hosts = [\"*.example.org\"]\n"),
        &["deny_hosts", "*.example.org"],
    );
    assert_names(
        &refused("[gateway]\nmiss = \"guess\"\n"),
        &["miss", "guess"],
    );
    assert_names(
        &refused("[gateway]\nlisten = \"everywhere\"\n"),
        &["listen", "everywhere"],
    );
    assert_names(&refused("[log]\nformat = \"xml\"\n"), &["format", "xml"]);
}

#[test]
fn invalid_toml_is_named_with_line() {
    assert_names(&refused("[cache]\nmax_size = \n"), &["wrong.toml:2"]);
}

#[test]
fn missing_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(folder.path(), &["serve", "--config", "no-such-file.toml"]);
    assert_names(&one_line(&run), &["no-such-file.toml"]);
}

#[test]
fn unwritable_folder_is_named() {
    for key in ["cache.dir", "gateway.state_dir"] {
        let builder = Gateway::builder();
        // Root can write to every folder, but not below a file.
        std::fs::write(builder.folder().join("file"), "").expect("the folder can be written");
        let below = builder.folder().join("file/below");
        let below = below.to_str().expect("the path is text");
        // Without a configured name, the gateway generates one and stores it in the state folder.
        let line = one_line(
            &builder
                .text("gateway.name", "")
                .text(key, below)
                .run_to_end(),
        );
        assert_names(&line, &[key, below]);
    }
}

#[test]
fn blank_url_is_one_error() {
    for (text, key) in [
        ("[[parents]]\nurl = \"\"\n", "parents.url"),
        ("[[parents]]\nurl = \"  \"\n", "parents.url"),
        (
            "[[rules]]\nhost = \"x.org\"\nmirrors = [\"\"]\n",
            "rules.mirrors",
        ),
        (
            "[[rules]]\nhost = \"x.org\"\nmirrors = [\" \"]\n",
            "rules.mirrors",
        ),
        ("[notify]\nwebhook_url = \" \"\n", "notify.webhook_url"),
        ("[notify]\nsmtp_url = \" \"\n", "notify.smtp_url"),
    ] {
        assert_names(&refused(text), &[key, "blank"]);
    }
}

#[test]
fn blank_folder_is_an_error() {
    for blank in ["", "  "] {
        let text = format!("[cache]\ndir = \"{blank}\"\n");
        assert_names(&refused(&text), &["cache.dir", "must be a folder"]);
        let text = format!("[gateway]\nstate_dir = \"{blank}\"\n");
        assert_names(&refused(&text), &["gateway.state_dir", "must be a folder"]);
    }
}

#[test]
fn address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken
        .local_addr()
        .expect("a listener has an address")
        .to_string();
    for key in ["gateway.listen", "proxy.listen"] {
        let run = Gateway::builder()
            .text(key, &address)
            .text("log.format", "text")
            .run_to_end();
        assert!(
            matches!(run.code, Some(1 | 2)),
            "unexpected exit code {:?}\n{}",
            run.code,
            run.stderr
        );
        assert_names(&run.stderr, &[key, &address, "choose another address"]);
    }
}

#[test]
fn environment_overrides_file() {
    let origin = Origin::start();
    let body = archive(1, 100_000);
    origin.serve("/x-1.0.tar.gz", Reply::ok(&body));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "1GiB");
    let gateway = builder.env("MILLPOND_CACHE__MAX_SIZE", "50KiB").start();
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
    gateway.assert_nothing_stored();
}

#[test]
fn invalid_environment_variable_is_named() {
    let run = Gateway::builder()
        .env("MILLPOND_CACHE__MAX_SISE", "1GiB")
        .run_to_end();
    assert_names(&one_line(&run), &["MILLPOND_CACHE__MAX_SISE"]);
    let run = Gateway::builder()
        .env("MILLPOND_CACHE__MAX_SIZE", "much")
        .run_to_end();
    assert_names(&one_line(&run), &["MAX_SIZE", "much"]);
}

#[test]
fn only_double_underscore_variables_are_settings() {
    let mut gateway = Gateway::builder()
        .env("MILLPOND_URL", "http://127.0.0.1:9")
        .env("MILLPOND_NONSENSE", "1")
        .start();
    gateway.request("GET", "/healthz").send().assert_status(200);
    gateway.stop();
}

#[test]
fn serve_needs_no_file() {
    let builder = Gateway::builder().text("gateway.name", "").without_a_file();
    let folder = builder.folder().to_owned();
    let gateway = builder.start();
    gateway.request("GET", "/healthz").send().assert_status(200);
    assert!(folder.join("cache").is_dir(), "the cache folder is ./cache");
    assert!(folder.join("state").is_dir(), "the state folder is ./state");
}

#[test]
fn valid_configuration_passes_check() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("right.toml");
    std::fs::write(
        &file,
        "[cache]\nmax_size = \"10GiB\"\n[fetch]\nidle_timeout = \"1m\"\n",
    )
    .expect("the file can be written");
    millpond(
        folder.path(),
        &[
            "check-config",
            "--config",
            file.to_str().expect("the path is text"),
        ],
    )
    .assert_success();
    assert!(
        !folder.path().join("cache").exists(),
        "check-config creates no folders"
    );
}

#[test]
fn shipped_configuration_passes_check() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/millpond.toml");
    let folder = tempfile::tempdir().expect("a folder can be made");
    millpond(
        folder.path(),
        &[
            "check-config",
            "--config",
            file.to_str().expect("the path is text"),
        ],
    )
    .assert_success();
}

#[test]
fn usage_error_exits_2_and_help_0() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    assert_eq!(millpond(folder.path(), &["mill"]).code, Some(2));
    assert_eq!(
        millpond(folder.path(), &["serve", "--no-such-flag"]).code,
        Some(2)
    );
    assert!(
        millpond(folder.path(), &["--help"])
            .stdout
            .contains("serve"),
        "the help lists serve"
    );
    assert!(
        millpond(folder.path(), &["--version"])
            .stdout
            .contains(env!("CARGO_PKG_VERSION")),
        "the version is printed"
    );
}

#[test]
fn builtin_pages_are_served() {
    let gateway = Gateway::builder().start();
    for path in ["/healthz", "/readyz", "/"] {
        gateway.request("GET", path).send().assert_status(200);
        gateway.request("HEAD", path).send().assert_status(200);
    }
    let version = gateway.request("GET", "/version").send();
    version.assert_status(200);
    assert!(
        version.text().contains(env!("CARGO_PKG_VERSION")),
        "{}",
        version.text()
    );
    let robots = gateway.request("GET", "/robots.txt").send();
    robots.assert_status(200);
    assert!(robots.text().contains("Disallow: /"), "{}", robots.text());
}

#[test]
fn proxy_endpoint_can_be_disabled() {
    let gateway = Gateway::builder().text("proxy.listen", "").start();
    gateway.request("GET", "/healthz").send().assert_status(200);
    assert!(
        !gateway
            .log()
            .events()
            .iter()
            .any(|event| event["endpoint"] == "proxy"),
        "no proxy endpoint listens"
    );
}

#[test]
fn generated_instance_name_is_persistent() {
    let origin = Origin::start();
    origin.serve("/x-1.0.tar.gz", Reply::ok(&archive(1, 1000)));
    let name = |gateway: &Gateway| {
        let answer = gateway.get(&origin.url("/x-1.0.tar.gz")).send();
        answer
            .wants("cache-status")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mut gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("gateway.name", "")
        .start();
    let first = name(&gateway);
    gateway.restart();
    assert_eq!(name(&gateway), first, "the generated name is stored");
    let other = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("gateway.name", "")
        .start();
    assert_ne!(name(&other), first, "another instance has another name");
}
