//! Damage to a cache folder, and the report of `millpond verify`.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::Value;

use super::{Gateway, eventually, millpond};

/// Result of a `millpond verify` run.
pub struct Verdict {
    pub code: Option<i32>,
    pub findings: Vec<Value>,
    pub verified: Value,
}

impl Verdict {
    /// Returns the defect and the outcome of each finding, sorted.
    fn outcomes(&self) -> Vec<(String, String)> {
        let word =
            |value: &Value| -> String { value.as_str().expect("the value is a string").to_owned() };
        let of = |one: &Value| (word(&one["defect"]), word(&one["outcome"]));
        let mut outcomes: Vec<_> = self.findings.iter().map(of).collect();
        outcomes.sort_unstable();
        outcomes
    }

    #[track_caller]
    pub fn assert(&self, code: i32, outcomes: &[(&str, &str)]) {
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|(flaw, outcome)| ((*flaw).to_owned(), (*outcome).to_owned()))
            .collect();
        assert_eq!(self.outcomes(), outcomes, "{:?}", self.findings);
        assert_eq!(self.code, Some(code), "{:?}", self.findings);
    }
}

/// Runs `millpond verify` with a gateway's configuration while the gateway runs.
#[track_caller]
pub fn verify(gateway: &Gateway, args: &[&str]) -> Verdict {
    let file = gateway.file();
    let file = file.to_str().expect("the path is text");
    let run = millpond(
        gateway.cache(),
        &[&["scrub", "--config", file, "--json"], args].concat(),
    );
    let mut lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let verified = lines
        .pop()
        .unwrap_or_else(|| panic!("`millpond verify` wrote nothing: {}", run.stderr));
    assert!(verified["report"].is_object(), "{}", run.stdout);
    let findings = lines.iter().map(|line| line["finding"].clone()).collect();
    Verdict {
        code: run.code,
        findings,
        verified: verified["report"].clone(),
    }
}

/// Changes one byte of a stored object, so that its times show the change: the clock of a file
/// system has ticks of some milliseconds.
pub fn rot(gateway: &Gateway, body: &[u8]) {
    let path = gateway.object_path(body);
    let changed = || {
        let metadata = std::fs::metadata(&path).expect("the object is there");
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let (before, mut bytes) = (
        changed(),
        std::fs::read(&path).expect("the object is there"),
    );
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(&path, Permissions::from_mode(0o644))
        .expect("the mode can be changed");
    eventually("the times of the object differ", || {
        std::fs::write(&path, &bytes).expect("the object can be written");
        (changed() != before).then_some(())
    });
    std::fs::set_permissions(&path, Permissions::from_mode(0o444))
        .expect("the mode can be changed");
}
