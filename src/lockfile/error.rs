//! Errors of lock files.

/// Error returned for a text that cannot be read as a lock file.
#[derive(Debug, thiserror::Error)]
pub enum LockfileError {
    #[error(
        "this is none of the known lock files: Cargo.lock, package-lock.json, yarn.lock, go.sum, \
         .SRCINFO, .dsc, Manifest, .hash, conda lock, requirements with --hash, SPDX, CycloneDX"
    )]
    Unknown,
    #[error("the file is invalid: {0}")]
    Invalid(String),
    #[error("{format} of version {version} is not known")]
    Version {
        format: &'static str,
        version: String,
    },
    #[error("CycloneDX as XML is not known; convert the file to JSON")]
    Xml,
    #[error("the file names no file that can be fetched{}", because(.0.as_deref()))]
    Nothing(Option<String>),
    #[error("the file names more than {0} files")]
    TooMany(usize),
}

/// Returns a reason as the end of a sentence.
fn because(reason: Option<&str>) -> String {
    reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}
