//! Tests that the output and the exit code of `millpond doctor` report whether a gateway is ready.

mod install;
mod interception;
mod nginx;
mod reach;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::{Body, Gateway, Nginx, Origin, Reply, Run, listen, millpond};
use crate::nginx::requests::behind_nginx;

fn doctor(url: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be created");
    millpond(folder.path(), &["doctor", "--gateway", url])
}

#[track_caller]
fn assert_complaint(run: &Run, part: &str) {
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains(part), "{run:?}");
}

#[test]
fn ready_gateway_is_reported_as_ready() {
    let gateway = Gateway::builder().start();
    let run = doctor(&gateway.url("/"));
    run.assert_success();
    assert!(run.stdout.contains("is ready"), "{run:?}");
}

#[test]
fn warnings_of_ready_gateway_are_reported() {
    let origin = Origin::start();
    let page = "ready\nbut the disk of the cache is full\nbut 7 lines are lost\n";
    origin.serve("/readyz", Reply::ok(&Body::from(page.as_bytes())));
    let run = doctor(&origin.url(""));
    run.assert_success();
    let (first, warnings) = run.stdout.split_once('\n').expect("there are warnings");
    assert!(first.ends_with("is ready"), "{run:?}");
    assert_eq!(
        warnings, "but the disk of the cache is full\nbut 7 lines are lost\n",
        "{run:?}"
    );
}

#[test]
fn unready_gateway_is_reported_with_its_reason() {
    let origin = Origin::start();
    origin.serve("/readyz", Reply::status(503));
    assert_complaint(&doctor(&origin.url("")), "is not ready: ");
}

#[test]
fn unreachable_gateway_is_reported_as_not_ready() {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    drop(listener);
    assert_complaint(&doctor(&format!("http://{address}")), "refused");
    let run = doctor("no url");
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("'--gateway <URL>'"), "{run:?}");
}

/// Returns the findings of a check as documents, by the name of the check.
fn findings(gateway: &Gateway, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let (file, url) = (gateway.file(), gateway.url(""));
    let file = file.to_str().expect("the path is text");
    let arguments = ["doctor", "--json", "--config", file, "--gateway", &url];
    let run = millpond(folder.path(), &[&arguments[..], more].concat());
    assert_eq!(run.stderr, "", "{run:?}");
    let documents = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    (run.code, documents.collect())
}

/// Returns the findings of a check.
fn of_check<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    let found = findings.iter().filter(|finding| finding["check"] == check);
    found.collect()
}

#[track_caller]
fn assert_finding(findings: &[Value], check: &str, state: &str) {
    let found = findings
        .iter()
        .any(|finding| finding["check"] == check && finding["state"] == state);
    assert!(found, "no {check} is {state}: {findings:#?}");
}

#[test]
fn machine_checks_have_one_line_each() {
    let gateway = Gateway::builder().start();
    let ports = [
        format!("gateway.listen={}", gateway.addr()),
        format!("proxy.listen={}", gateway.proxy_addr()),
    ];
    let right = ["--set", &ports[0], "--set", &ports[1]];
    let (_, all) = findings(&gateway, &right);
    for check in [
        "readiness",
        "gateway_port",
        "proxy_port",
        "clock",
        "certificates",
        "permissions",
    ] {
        assert_finding(&all, check, "ok");
    }
    let names = |all: &[Value], name| all.iter().any(|finding| finding["check"] == name);
    assert!(
        names(&all, "disk_space") && names(&all, "inodes"),
        "{all:#?}"
    );

    let closed = listen("127.0.0.1")
        .local_addr()
        .expect("a listener has an address");
    let wrong = format!("proxy.listen={closed}");
    for (setting, check) in [
        (wrong.as_str(), "proxy_port"),
        ("cache.min_free=100000TiB", "disk_space"),
        ("gateway.public_url=http://no-such-host.invalid", "dns"),
    ] {
        let (code, all) = findings(&gateway, &[&right[..], &["--set", setting]].concat());
        assert_finding(&all, check, "failed");
        assert_eq!(code, Some(1), "{setting}");
        let failed = all.iter().find(|finding| finding["check"] == check);
        let advice = &failed.expect("it was found")["advice"];
        assert!(advice.is_string(), "{setting} has no advice");
    }
    let trusted = "gateway.trusted_proxies=192.0.2.1/32";
    let (_, all) = findings(&gateway, &[&right[..], &["--set", trusted]].concat());
    assert_finding(&all, "nginx_settings", "warning");
    // Permissions do not bind root, which may run the tests and doctor.
    let leases = gateway.cache().join("leases");
    let mode = fs::Permissions::from_mode(0o000);
    fs::set_permissions(&leases, mode).expect("the test owns the folder");
    let (code, all) = findings(&gateway, &right);
    fs::set_permissions(&leases, fs::Permissions::from_mode(0o755))
        .expect("the test owns the folder");
    assert_finding(&all, "permissions", "failed");
    assert_eq!(code, Some(1));
}

#[test]
fn untrusted_nginx_in_front_is_found() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = format!("http://{}", nginx.addr());
    let run = doctor(&url);
    run.assert_success();
    assert!(run.stdout.contains("nginx in front is trusted"), "{run:?}");
    let plain = Gateway::builder().start();
    let nginx = Nginx::before(&plain);
    let run = doctor(&format!("http://{}", nginx.addr()));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("gateway.trusted_proxies"), "{run:?}");
}
