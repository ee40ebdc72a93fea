//! `millpond check-config`: all mistakes at once, and the effective values with their sources.

use std::fs;

use serde_json::json;

use crate::harness::{Tool, millpond};

#[test]
fn check_config_shows_values_with_sources() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let text = "[cache]\nmax_size = \"1GiB\"\n\n[s3]\nsecret_access_key = \"S3CRET\"\n\
        [fetch]\negress_proxy = \"http://user:S3CRET@proxy.example.org:3128\"\n\
        [[rules]]\nhost = \"example.org\"\nscheme = \"https\"\nauthorization = \"S3CRET\"\n";
    fs::write(folder.path().join("a.toml"), text).expect("the folder is writable");
    let arguments = ["--config", "a.toml", "--set", "fetch.attempts=7"];
    let show = |more: &[&str]| {
        let arguments = [&["check-config", "--show"], &arguments[..], more].concat();
        let run = Tool::new(env!("CARGO_BIN_EXE_millpond"), "millpond", folder.path())
            .args(&arguments)
            .env("MILLPOND_CACHE__MIN_FREE", "3GiB")
            .run();
        run.assert_success();
        assert!(!run.stdout.contains("S3CRET"), "{}", run.stdout);
        run
    };
    let shown = show(&[]).stdout;
    for line in [
        "cache.max_size = \"1GiB\"  # a.toml:2",
        "cache.min_free = \"3GiB\"  # MILLPOND_CACHE__MIN_FREE",
        "fetch.attempts = 7  # --set",
        "cache.high_watermark = 0.8  # default",
        "s3.secret_access_key = \"…\"  # a.toml:5",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} in\n{shown}"
        );
    }
    assert!(shown.contains("rules[1] = {"), "{shown}");
    let shown = show(&["--json"]).documents();
    let of_key = |key: &str| {
        let found = shown.iter().find(|setting| setting["key"] == key);
        found.expect("the key is shown")["from"].clone()
    };
    assert_eq!(
        of_key("cache.max_size"),
        json!({"kind": "file", "path": "a.toml", "line": 2})
    );
    assert_eq!(of_key("fetch.attempts"), json!({"kind": "flag"}));
    assert_eq!(of_key("log.level"), json!({"kind": "default"}));
}

#[test]
fn check_config_reports_all_mistakes() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let check = |text: &str, more: &[&str]| {
        fs::write(folder.path().join("a.toml"), text).expect("the folder is writable");
        let arguments = [&["check-config", "--config", "a.toml"], more].concat();
        let run = millpond(folder.path(), &arguments);
        assert_eq!(run.code, Some(2), "{run:?}");
        run
    };
    let text = "[cache]\nmax_size = \"50 gibbons\"\nmax_sise = \"1GiB\"\n\
        [cash]\ndir = \"x\"\nmore = 1\n[fetch]\nattempts = \"four\"\n\
        [policy]\nports = [\n  80,\n  70000,\n]\n\
        [[rules]]\nhost = \"example.org\"\nclas = \"pass\"\n\
        [[rules]]\nclass = \"mutable\"\n";
    let run = check(text, &["--set", "log.level=loud", "--set", "a.b=c"]);
    let places = [
        "a.toml:2",
        "a.toml:3",
        "a.toml:4",
        "a.toml:8",
        "a.toml:12: ports",
    ];
    let more = ["a.toml:16", "a.toml:18", "--set log.level", "--set a.b"];
    for place in places.iter().chain(&more) {
        let count = run
            .stderr
            .lines()
            .filter(|line| line.contains(place))
            .count();
        assert_eq!(count, 1, "{place} in\n{}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), 9, "{}", run.stderr);
    // Values that are valid by themselves.
    let text = "[cache]\nhigh_watermark = 2.0\n[fetch]\nattempts = 0\n\
        [gateway]\nlisten = \"nowhere\"\n";
    let run = check(text, &[]);
    for key in ["cache.high_watermark", "fetch.attempts", "gateway.listen"] {
        let count = run.stderr.lines().filter(|line| line.contains(key)).count();
        assert_eq!(count, 1, "{key} in\n{}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), 3, "{}", run.stderr);
    let shown = check("[cache]\n\nmax_size = 1\n", &["--json"]).documents();
    assert_eq!(shown[0]["error"]["line"], 3, "{shown:?}");
    assert_eq!(shown[0]["error"]["key"], "max_size", "{shown:?}");
}

#[test]
fn mistakes_have_no_control_characters() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    for text in [
        "[gateway]\nli\u{7f}sten = 1\n",
        "[gateway]\n\"a\u{9}b\" = 1\n",
        "[\"\\u001b[2J\"]\na = 1\n",
        "[[rules]]\nhost = \"\\u001b[31mx y\"\n",
        "[policy]\ndeny_hosts = [\"a\\nb\"]\n",
        "[gateway]\nlisten = \"\\u0007\\r\\n\"\n",
        "[policy]\nports = [\"\\u001b:1\"]\n",
    ] {
        fs::write(folder.path().join("a.toml"), text).expect("the folder is writable");
        let run = millpond(folder.path(), &["check-config", "--config", "a.toml"]);
        assert_eq!(run.code, Some(2), "{text:?}");
        let is_plain = |line: &str| !line.is_empty() && !line.contains(char::is_control);
        assert!(
            run.stderr.lines().all(is_plain),
            "{text:?}: {:?}",
            run.stderr
        );
        assert_eq!(run.stderr.lines().count(), 1, "{text:?}: {:?}", run.stderr);
    }
}

#[test]
fn check_config_reports_mistakes_of_all_registries() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let text = "[registries.\"Upper.example.org\"]\n\
        [registries.\"one.example.org\"]\nendpoint = \"ftp://one.example.org\"\n\
        aliases = [\"a/b\"]\negress_proxy = \"socks://p.example.org\"\n\
        [registries.\"two.example.org\"]\n\
        credentials = [{ username = \"a\", password_file = \"/nowhere\" }]\n\
        [fetch]\nattempts = 0\n";
    fs::write(folder.path().join("a.toml"), text).expect("the folder is writable");
    let run = millpond(folder.path(), &["check-config", "--config", "a.toml"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    for mistake in [
        "registries.Upper.example.org: must be a name",
        "registries.one.example.org.endpoint: must be a URL",
        "registries.one.example.org.aliases: must be a name",
        "registries.one.example.org.egress_proxy: must be",
        "registries.two.example.org.credentials.password_file: /nowhere",
        "fetch.attempts",
    ] {
        let text = &run.stderr;
        assert_eq!(text.matches(mistake).count(), 1, "{mistake} in {text}");
    }
}
