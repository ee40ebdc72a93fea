//! The format of a lock file, by its name and its contents.
//!
//! The main function is [`parse_lockfile`].

use serde_json::Value;

use super::error::LockfileError;
use super::listing::{LockListing, LockedFiles};
use super::registry::RegistryBases;
use super::{cargo, go, names, npm, python, sbom, spdx, srcinfo, yarn};

/// Format of a lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockfileFormat {
    CargoLock,
    PackageLock,
    YarnLock,
    GoSum,
    Srcinfo,
    Dsc,
    Manifest,
    BuildrootHash,
    CondaList,
    CondaLock,
    Requirements,
    SpdxJson,
    SpdxTags,
    CycloneDx,
}

impl LockfileFormat {
    /// Finds the format by the contents, and by the name where the contents do not suffice.
    ///
    /// # Errors
    /// [`LockfileError`] if it is none of the known ones.
    pub fn detect(name: &str, text: &str) -> Result<Self, LockfileError> {
        let name = name.rsplit('/').next().unwrap_or(name);
        let starts = |prefix: &str| text.lines().any(|line| line.starts_with(prefix));
        let first = text.trim_start();
        if first.starts_with('{') {
            if text.contains("spdx.org/rdf/3.") {
                return Err(LockfileError::Version {
                    format: "SPDX",
                    version: "3".to_owned(),
                });
            }
            for (field, format) in [
                ("\"bomFormat\"", Self::CycloneDx),
                ("\"spdxVersion\"", Self::SpdxJson),
                ("\"lockfileVersion\"", Self::PackageLock),
            ] {
                if text.contains(field) {
                    return Ok(format);
                }
            }
        }
        if first.starts_with('<') && text.contains("cyclonedx") {
            return Err(LockfileError::Xml);
        }
        // Lock files of poetry, pdm and uv have the same tables, and other fields.
        let is_of_python = ["lock-version", "lock_version", "requires-python"]
            .iter()
            .any(|field| starts(field));
        if starts("[[package]]") && is_of_python {
            return Err(LockfileError::Unknown);
        }
        let by_contents = [
            (starts("[[package]]"), Self::CargoLock),
            (starts("SPDXVersion:"), Self::SpdxTags),
            (starts("@EXPLICIT"), Self::CondaList),
            (
                starts("# yarn lockfile") || starts("__metadata:"),
                Self::YarnLock,
            ),
            (starts("pkgbase = "), Self::Srcinfo),
            (starts("Checksums-Sha256:"), Self::Dsc),
            (starts("DIST "), Self::Manifest),
            (
                text.contains(" h1:") && starts_with_module(first),
                Self::GoSum,
            ),
            (text.contains("--hash="), Self::Requirements),
            (
                starts("package:") && text.contains("url: "),
                Self::CondaLock,
            ),
        ];
        if let Some((_, format)) = by_contents.into_iter().find(|(holds, _)| *holds) {
            return Ok(format);
        }
        let by_name = [
            ("Cargo.lock", Self::CargoLock),
            ("package-lock.json", Self::PackageLock),
            ("yarn.lock", Self::YarnLock),
            ("go.sum", Self::GoSum),
            (".SRCINFO", Self::Srcinfo),
            (".dsc", Self::Dsc),
            ("Manifest", Self::Manifest),
            (".hash", Self::BuildrootHash),
            ("requirements.txt", Self::Requirements),
        ];
        let named = by_name
            .into_iter()
            .find(|(ending, _)| name.ends_with(ending));
        if let Some((_, format)) = named {
            return Ok(format);
        }
        if looks_like_buildroot(text) {
            return Ok(Self::BuildrootHash);
        }
        Err(LockfileError::Unknown)
    }
}

/// Reads a lock file. `name` is the name of the file, or empty.
///
/// # Errors
/// [`LockfileError`] if the format is not known, the file is invalid, or names no file.
pub fn parse_lockfile(
    name: &str,
    text: &str,
    bases: &RegistryBases,
) -> Result<LockedFiles, LockfileError> {
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut listing = LockListing::new(bases);
    let listed = &mut listing;
    match LockfileFormat::detect(name, text)? {
        LockfileFormat::CargoLock => cargo::read_cargo_lock(text, listed),
        LockfileFormat::PackageLock => npm::read_package_lock(&json(text)?, listed),
        LockfileFormat::YarnLock => yarn::read_yarn_lock(text, listed),
        LockfileFormat::GoSum => go::read_go_sum(text, listed),
        LockfileFormat::Srcinfo => srcinfo::read_srcinfo(text, listed),
        LockfileFormat::Dsc => names::read_dsc(text, listed),
        LockfileFormat::Manifest => names::read_manifest(text, listed),
        LockfileFormat::BuildrootHash => names::read_hash(text, listed),
        LockfileFormat::CondaList => python::read_conda_list(text, listed),
        LockfileFormat::CondaLock => python::read_conda_lock(text, listed),
        LockfileFormat::Requirements => python::read_requirements(text, listed),
        LockfileFormat::SpdxJson => spdx::read_spdx(&json(text)?, listed),
        LockfileFormat::SpdxTags => spdx::read_spdx_tags(text, listed),
        LockfileFormat::CycloneDx => sbom::read_cyclonedx(&json(text)?, listed),
    }?;
    listing.finish()
}

fn json(text: &str) -> Result<Value, LockfileError> {
    serde_json::from_str(text).map_err(|error| LockfileError::Invalid(error.to_string()))
}

fn starts_with_module(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.split_whitespace().count() == 3
}

/// Whether all lines are `algorithm digest name`.
fn looks_like_buildroot(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let is_known = |word: &str| {
        matches!(
            word,
            "md5" | "sha1" | "sha224" | "sha256" | "sha384" | "sha512" | "none"
        )
    };
    let mut has_entry = false;
    lines.all(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_entry = matches!(words[..], [algorithm, _, _] if is_known(algorithm));
        has_entry |= is_entry;
        is_entry || words.first().is_none_or(|word| word.starts_with('#'))
    }) && has_entry
}
