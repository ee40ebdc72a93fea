//! Tests that out-of-range values are rejected before anything runs, and that no error shows a
//! secret.

use crate::harness::{Run, millpond};

const SECRET: &str = "S3CRET";

/// Runs `check-config` on a configuration, with more arguments after it.
fn check(text: &str, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, text).expect("the folder can be written");
    let file = file.to_str().expect("the path is UTF-8");
    millpond(
        folder.path(),
        &[&["check-config", "--config", file], arguments].concat(),
    )
}

/// Asserts a rejection in one line that contains all of `parts` and no secret.
#[track_caller]
fn assert_refused(run: &Run, parts: &[&str]) {
    assert_eq!(
        run.code,
        Some(2),
        "the exit code\n{}\n{}",
        run.stdout,
        run.stderr
    );
    assert_eq!(
        run.stderr.trim_end().lines().count(),
        1,
        "an error is one line:\n{}",
        run.stderr
    );
    for part in parts {
        assert!(
            run.stderr.contains(part),
            "{part:?} is not named: {}",
            run.stderr
        );
    }
    assert!(
        !run.stderr.contains(SECRET) && !run.stdout.contains(SECRET),
        "{}",
        run.stderr
    );
}

#[test]
fn unusable_values_are_rejected_with_their_key() {
    for (section, key, value) in [
        ("cache", "maintenance_interval", "\"0s\""),
        ("cache", "disk_timeout", "\"0s\""),
        ("cache", "scrub_interval", "\"999ms\""),
        ("cache", "negative_ttl", "\"2000years\""),
        ("cache", "positive_ttl", "\"2000years\""),
        ("fetch", "concurrency", "9223372036854775807"),
        ("fetch", "per_host", "9223372036854775807"),
        ("fetch", "breaker_failures", "100001"),
        ("fetch", "segments", "0"),
        ("fetch", "segments", "17"),
        ("fetch", "segment_min_size", "\"1MiB\""),
        ("limits", "client_share", "0.0"),
        ("limits", "client_share", "0.76"),
        ("limits", "client_share", "-1.0"),
        ("limits", "client_share", "nan"),
        ("fetch", "breaker_cooldown", "\"0s\""),
        ("fetch", "breaker_cooldown", "\"61m\""),
        ("fetch", "egress_proxy", "\"foo\""),
        ("gateway", "reader_tokens", "[\"short\"]"),
        ("gateway", "reader_tokens", "[\"a token with spaces\"]"),
        ("gateway", "host_names", "[\"http://sources.example.org\"]"),
        ("gateway", "host_names", "[\"\"]"),
        ("gateway", "stall_timeout", "\"999ms\""),
        ("gateway", "stall_timeout", "\"25h\""),
        ("fetch", "egress_proxy", "\"http://\""),
    ] {
        let run = check(&format!("[{section}]\n{key} = {value}\n"), &[]);
        assert_refused(&run, &[key]);
        let setting = format!("{section}.{key}={}", value.trim_matches('"'));
        assert_refused(&check("", &["--set", &setting]), &[key]);
    }
}

#[test]
fn values_at_their_bounds_are_accepted() {
    let text = "[gateway]\nstall_timeout = \"1s\"\n\
        [cache]\nmaintenance_interval = \"1s\"\nscrub_interval = \"1s\"\n\
        negative_ttl = \"1ms\"\npositive_ttl = \"1year\"\n\
        [fetch]\nconcurrency = 1\nper_host = 10000\nattempts = 1\n\
        breaker_failures = 0\nbreaker_cooldown = \"1h\"\n\
        egress_proxy = \"http://proxy.example.org:3128\"\n";
    check(text, &[]).assert_success();
}

#[test]
fn invalid_line_is_reported_without_its_secret() {
    for line in [
        format!("egress_proxy = http://user:{SECRET}@h:1"),
        format!("egress_proxy = \"http://user:{SECRET}@h:1"),
        format!("egress_proxy = [\"http://user:{SECRET}@h:1\"]"),
        format!("egress_proxy = \"nonsense://user:{SECRET}@h:1\""),
        format!("egress_proxy = \"http://user:{SECRET}@h:port\""),
    ] {
        assert_refused(
            &check(&format!("[fetch]\n{line}\n"), &[]),
            &["egress_proxy"],
        );
    }
    let unknown = check(
        &format!("[fetch]\negress_proxi = \"http://user:{SECRET}@h:1\"\n"),
        &[],
    );
    assert_refused(&unknown, &["egress_proxi", "wrong.toml:2"]);
}

#[test]
fn invalid_set_argument_is_reported_without_its_secret() {
    for (setting, part) in [
        (
            format!("fetch.egress_proxi=http://user:{SECRET}@h:1"),
            "egress_proxi",
        ),
        (
            format!("fetch.egress_proxy=nonsense://user:{SECRET}@h:1"),
            "egress_proxy",
        ),
        (
            format!("fetch.egress_proxy=http://user:{SECRET}@h:port"),
            "egress_proxy",
        ),
        (
            format!("egress_proxy=http://user:{SECRET}@h:1"),
            "egress_proxy",
        ),
    ] {
        assert_refused(&check("", &["--set", &setting]), &[part]);
    }
}

#[test]
fn set_argument_without_value_is_not_shown() {
    for setting in [
        format!("fetch.egress_proxy:http://user:{SECRET}@h:1"),
        format!("http://user:{SECRET}@h:1"),
    ] {
        assert_refused(&check("", &["--set", &setting]), &["--set"]);
    }
}

#[test]
fn invalid_variable_is_reported_without_its_secret() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let program = env!("CARGO_BIN_EXE_millpond");
    for name in [
        "MILLPOND_FETCH__EGRESS_PROXY",
        "MILLPOND_FETCH__EGRESS_PROXI",
    ] {
        let tool = crate::harness::Tool::new(program, "millpond", folder.path());
        let tool = tool.env(name, &format!("nonsense://user:{SECRET}@h:1"));
        let run = tool.arg("check-config").run();
        let named = run.stderr.to_lowercase().replace("__", ".");
        assert!(
            named.contains(if name.ends_with('Y') {
                "egress_proxy"
            } else {
                "egress_proxi"
            }),
            "{}",
            run.stderr
        );
        assert_refused(&run, &[]);
    }
}

#[test]
fn invalid_token_is_rejected_and_not_shown() {
    for token in [
        SECRET.to_owned(),
        format!("{SECRET} with a space in it"),
        format!("{SECRET}-ümlaut-and-long-enough"),
    ] {
        assert_refused(
            &check(&format!("[gateway]\nadmin_token = \"{token}\"\n"), &[]),
            &["gateway.admin_token"],
        );
    }
    let both = format!(
        "[gateway]\nadmin_token = \"{SECRET}-long-enough\"\nadmin_token_file = \"/dev/null\"\n"
    );
    assert_refused(&check(&both, &[]), &["gateway.admin_token_file"]);
    for file in ["/does/not/exist", "/dev/null"] {
        let run = check(&format!("[gateway]\nadmin_token_file = \"{file}\"\n"), &[]);
        assert_refused(&run, &["gateway.admin_token_file", file]);
    }
    check(
        &format!("[gateway]\nadmin_token = \"{SECRET}-0123456789\"\n"),
        &[],
    )
    .assert_success();
}

#[test]
fn invalid_checksums_file_is_rejected_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let file = folder.path().join("pins");
    let name = file.to_str().expect("the path is UTF-8");
    let config = format!("[policy]\nchecksums_file = {name:?}\n");
    assert_refused(&check(&config, &[]), &["policy.checksums_file", name]);
    let digest = "a".repeat(64);
    for (text, line) in [
        (
            format!("{digest}  https://example.org/x\nb  https://example.org/y\n"),
            "2",
        ),
        (
            format!("{digest}  https://user:{SECRET}@example.org/x\n"),
            "1",
        ),
        (format!("{digest}  x-1.0.tar.gz\n"), "1"),
        (format!("\n\n{digest}\n"), "3"),
    ] {
        std::fs::write(&file, text).expect("the folder can be written");
        assert_refused(
            &check(&config, &[]),
            &[&format!("policy.checksums_file: {name}:{line}: ")],
        );
    }
    std::fs::write(&file, format!("# all\n{digest} *https://example.org/x\r\n"))
        .expect("the folder can be written");
    check(&config, &[]).assert_success();
}
