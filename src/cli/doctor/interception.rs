//! Checks of the certificate authority of intercepted hosts.
//!
//! The main function is [`check`].

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::finding::Finding;
use crate::config::Config;
use crate::intercept::{AuthorityError, AuthorityFacts, CertificateAuthority, KEY_FILE};

const CHECK: &str = "interception";

/// Modes with which other users may replace a file of a folder.
const OTHERS_WRITE: u32 = 0o022;

/// Mode with which the group may read a file.
const GROUP_READS: u32 = 0o040;

const REPLACE: &str = "make another certificate authority by `millpond ca init` in a new folder";

/// Checks that the certificate authority is there, valid, limited to the listed hosts, and readable
/// by the user of the service only. Returns nothing if no host is listed.
pub fn check(config: &Config) -> Vec<Finding> {
    let hosts = config.intercept.host_names();
    if hosts.is_empty() {
        return Vec::new();
    }
    let folder = config.intercept.folder(&config.gateway.state_dir);
    let authority = match CertificateAuthority::load(&folder) {
        Ok(authority) => authority,
        Err(error) => return vec![of_error(&error)],
    };
    let facts = authority.facts();
    let mut findings = Vec::new();
    findings.extend(authority.check_hosts(&hosts).err().as_ref().map(of_error));
    let unlisted = facts.hosts.iter().filter(|host| !hosts.contains(*host));
    let unlisted: Vec<_> = unlisted.map(String::as_str).collect();
    if !unlisted.is_empty() {
        let text = format!(
            "{} also covers {}, which intercept.hosts does not list",
            facts.certificate_file.display(),
            unlisted.join(", ")
        );
        findings.push(Finding::warning(CHECK, text, REPLACE));
    }
    if facts.ends_soon(SystemTime::now()) {
        let text = format!(
            "{} ends at {}",
            facts.certificate_file.display(),
            end_of(facts)
        );
        findings.push(Finding::warning(CHECK, text, REPLACE));
    }
    findings.extend(rights_finding(config, &folder));
    if findings.is_empty() {
        let text = format!(
            "{} is limited to the {} listed hosts, and valid until {}",
            facts.certificate_file.display(),
            hosts.len(),
            end_of(facts)
        );
        findings.push(Finding::ok(CHECK, text));
    }
    findings
}

fn end_of(facts: &AuthorityFacts) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(facts.not_after)
}

/// Returns the finding of an error, whose text ends with the advice.
fn of_error(error: &AuthorityError) -> Finding {
    let error = error.to_string();
    let (text, advice) = error.split_once("; ").unwrap_or((&error, REPLACE));
    Finding::failed(CHECK, text, advice)
}

/// Compares owners and modes of the folder and the key with the user of the service, who owns the
/// cache folder.
fn rights_finding(config: &Config, folder: &Path) -> Option<Finding> {
    let key = folder.join(KEY_FILE);
    let metadata = |path: &Path| std::fs::metadata(path).ok();
    let (of_folder, of_key) = (metadata(folder)?, metadata(&key)?);
    let shown = |path: &Path, metadata: &Metadata| {
        format!(
            "{} has mode {:03o}",
            path.display(),
            metadata.mode() & 0o777
        )
    };
    if of_folder.mode() & OTHERS_WRITE != 0 {
        let text = format!(
            "{}: other users can replace the certificate authority",
            shown(folder, &of_folder)
        );
        return Some(Finding::failed(CHECK, text, "run chmod go-w on the folder"));
    }
    let is_group_readable = of_key.mode() & GROUP_READS != 0;
    let service = metadata(&config.cache.dir).map(|metadata| metadata.uid());
    // The group of a mounted secret may be that of the service.
    if service.is_some_and(|uid| uid != of_key.uid()) && !is_group_readable {
        let text = format!("{} belongs to another user than cache.dir", key.display());
        let advice = "give both files and their folder to the user of the service (chown)";
        return Some(Finding::failed(CHECK, text, advice));
    }
    is_group_readable.then(|| {
        let text = format!("{}: its group can read it", shown(&key, &of_key));
        let advice = "run chmod 600, unless it is a secret that a group mounts";
        Finding::warning(CHECK, text, advice)
    })
}
