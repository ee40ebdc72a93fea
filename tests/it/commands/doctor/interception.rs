//! The check of the certificate authority of intercepted hosts.

use std::fs;
use std::os::unix::fs::chown;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::date_time_ymd;
use serde_json::Value;
use x509_parser::time::ASN1Time;

use super::of_check;
use crate::harness::is_root;
use crate::intercept::harness::AuthorityFolder;

const HOSTS: [&str; 2] = ["files.example.org", "other.example.net"];

/// A user that is neither root nor the owner of the folders of the test.
const OTHER_USER: u32 = 31_416;

/// Returns the findings of the check.
#[track_caller]
fn check(folder: &AuthorityFolder, hosts: &[&str]) -> Vec<Value> {
    let run = folder.run(hosts, &["doctor", "--json", "--gateway", "127.0.0.1:1"]);
    let all = run.documents();
    of_check(&all, "interception")
        .into_iter()
        .cloned()
        .collect()
}

/// Asserts that the check has one finding, with a part of its text and of its advice.
#[track_caller]
fn assert_found(folder: &AuthorityFolder, hosts: &[&str], state: &str, text: &str, advice: &str) {
    let found = check(folder, hosts);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["state"], state, "{found:#?}");
    let contains = |field: &str, part| found[0][field].as_str().unwrap_or_default().contains(part);
    assert!(contains("text", text), "{text}: {found:#?}");
    assert!(contains("advice", advice), "{advice}: {found:#?}");
}

#[test]
fn authority_is_compared_with_listed_hosts() {
    let folder = AuthorityFolder::empty();
    assert!(check(&folder, &[]).is_empty());
    let missing = "there is no certificate authority in state/ca";
    assert_found(&folder, &HOSTS, "failed", missing, "`millpond ca init`");
    folder.run(&HOSTS, &["ca", "init"]).assert_success();
    let limited = "is limited to the 2 listed hosts, and valid until 20";
    assert_found(&folder, &HOSTS, "ok", limited, "");
    let fewer = "also covers other.example.net, which intercept.hosts does not list";
    assert_found(&folder, &HOSTS[..1], "warning", fewer, "`millpond ca init`");
    let more = [HOSTS[0], HOSTS[1], "new.example.org"];
    let uncovered = "does not cover new.example.org";
    assert_found(&folder, &more, "failed", uncovered, "`millpond ca init`");
}

#[test]
fn rights_of_authority_are_checked() {
    let folder = AuthorityFolder::with_authority(&HOSTS);
    let found = |state: &str, text: &str, advice: &str| {
        assert_found(&folder, &HOSTS, state, text, advice);
    };
    folder.set_mode("ca.key", 0o604);
    found("failed", "open to other users (mode 604)", "run chmod 600");
    folder.set_mode("ca.key", 0o640);
    found("warning", "its group can read it", "run chmod 600");
    folder.set_mode("ca.key", 0o600);
    folder.set_mode("", 0o770);
    found("failed", "other users can replace", "run chmod go-w");
    folder.set_mode("", 0o750);
    if is_root() {
        let cache = folder.path().join("cache");
        fs::create_dir(&cache).expect("a folder can be made");
        chown(&cache, Some(OTHER_USER), None).expect("root can change the owner");
        found("failed", "another user than cache.dir", "chown");
    }
    fs::remove_file(folder.file("ca.key")).expect("the file exists");
    found(
        "failed",
        "cannot read state/ca/ca.key",
        "user of the service",
    );
}

#[test]
fn dates_of_authority_are_checked() {
    let folder = AuthorityFolder::empty();
    let hosts = ["example.org"];
    let soon = SystemTime::now() + Duration::from_hours(29 * 24);
    let soon = soon.duration_since(UNIX_EPOCH).expect("the clock is right");
    let soon = ASN1Time::from_timestamp(soon.as_secs().cast_signed()).expect("it is a date");
    folder.put(|params| params.not_after = soon.to_datetime());
    assert_found(
        &folder,
        &hosts,
        "warning",
        "ends at 20",
        "`millpond ca init`",
    );
    folder.put(|params| params.not_after = date_time_ymd(2020, 1, 1));
    assert_found(
        &folder,
        &hosts,
        "failed",
        "has expired on 2020",
        "`millpond ca init`",
    );
    folder.put(|params| params.not_before = date_time_ymd(2090, 1, 1));
    assert_found(
        &folder,
        &hosts,
        "failed",
        "is not valid before 2090",
        "clock",
    );
}
