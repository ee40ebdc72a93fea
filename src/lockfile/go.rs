//! `go.sum`: its digests are of the contents of an archive, not of the file.

use super::error::LockfileError;
use super::listing::LockListing;
use super::registry::RegistryKind;

pub fn read_go_sum(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [module, version, sum] = words[..] else {
            if words.is_empty() {
                continue;
            }
            return Err(invalid(at));
        };
        if !sum.starts_with("h1:") {
            return Err(invalid(at));
        }
        let entry = format!("{module} {version}");
        listing.note(
            &entry,
            "h1 is no digest of the file, so that none is stated",
        );
        let (version, suffix) = match version.strip_suffix("/go.mod") {
            Some(version) => (version, "mod"),
            None => (version, "zip"),
        };
        let path = format!("{}/@v/{}.{suffix}", escape(module), escape(version));
        listing.add_below(RegistryKind::Go, &entry, &path, None)?;
    }
    Ok(())
}

fn invalid(at: usize) -> LockfileError {
    LockfileError::Invalid(format!("line {} is not \"module version h1:...\"", at + 1))
}

/// Writes capital letters as `!` and the small letter, as the protocol of proxies does.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    escaped
}
