//! Damage done to a cache folder, and what `millpond verify` says of it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::{Gateway, millpond};

/// What a verification has told.
pub struct Verdict {
    pub code: Option<i32>,
    pub findings: Vec<Value>,
    pub verified: Value,
}

impl Verdict {
    /// Flaw and outcome of each finding, in order.
    fn outcomes(&self) -> Vec<(String, String)> {
        let word = |value: &Value| -> String { value.as_str().expect("it is a word").to_owned() };
        let of = |one: &Value| (word(&one["flaw"]), word(&one["outcome"]));
        let mut outcomes: Vec<_> = self.findings.iter().map(of).collect();
        outcomes.sort_unstable();
        outcomes
    }

    #[track_caller]
    pub fn assert(&self, code: i32, outcomes: &[(&str, &str)]) {
        let outcomes: Vec<_> =
            outcomes.iter().map(|(flaw, outcome)| ((*flaw).to_owned(), (*outcome).to_owned())).collect();
        assert_eq!(self.outcomes(), outcomes, "{:?}", self.findings);
        assert_eq!(self.code, Some(code), "{:?}", self.findings);
    }
}

/// Verifies a gateway's folder with its configuration, beside it.
#[track_caller]
pub fn verify(gateway: &Gateway, args: &[&str]) -> Verdict {
    let file = gateway.file();
    let file = file.to_str().expect("the path is text");
    let run = millpond(gateway.cache(), &[&["verify", "--config", file, "--json"], args].concat());
    let mut lines: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let verified = lines.pop().unwrap_or_else(|| panic!("it says nothing: {}", run.stderr));
    assert!(verified["verified"].is_object(), "{}", run.stdout);
    let findings = lines.iter().map(|line| line["finding"].clone()).collect();
    Verdict { code: run.code, findings, verified: verified["verified"].clone() }
}

/// Changes one byte of an object where it lies, and nothing else.
pub fn rot(gateway: &Gateway, body: &[u8]) {
    let path = gateway.object_path(body);
    let mut bytes = std::fs::read(&path).expect("the object is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
    std::fs::write(&path, bytes).expect("it can be written");
    std::fs::set_permissions(&path, Permissions::from_mode(0o444)).expect("it is ours");
}
