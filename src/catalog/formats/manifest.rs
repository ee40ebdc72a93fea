//! `Manifest` of a Gentoo package, with the `SRC_URI` lines of its metadata cache.
//!
//! The Manifest has the digests of the files, and `SRC_URI` their URLs. Both may be in one list:
//! `cat Manifest /var/db/repos/gentoo/metadata/md5-cache/<category>/<package>-*`.

use std::collections::BTreeMap;

use super::{BadLine, digest, located, named};
use crate::cache::CatalogEntry;
use crate::catalog::query::FileName;
use crate::model::ExpectedDigests;

/// Kinds of lines in a Manifest that are no distfiles.
const OTHER_KINDS: [&str; 6] = ["AUX", "EBUILD", "MISC", "DATA", "IGNORE", "TIMESTAMP"];

const NO_FORM: &str = "the line must be like DIST <name> <size> <algorithm> <hex> ...";

/// Parses a Manifest with `SRC_URI` lines.
///
/// # Errors
/// [`BadLine`].
pub fn parse(text: &str) -> Result<Vec<CatalogEntry>, BadLine> {
    // The Manifests of several packages may have different files of one name.
    let mut files: BTreeMap<String, Vec<CatalogEntry>> = BTreeMap::new();
    let mut urls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(value) = line.strip_prefix("SRC_URI=") {
            urls.extend(read_src_uri(value));
            continue;
        }
        let entry = manifest_line(line.trim()).map_err(|reason| BadLine {
            line: number + 1,
            reason,
        })?;
        if let Some(entry) = entry {
            let of_name = files.entry(entry.name.clone()).or_default();
            if !of_name.contains(&entry) {
                of_name.push(entry);
            }
        }
    }
    let mut entries = Vec::new();
    for (url, name) in urls {
        let Some(located) = located(&url, name.as_ref(), ExpectedDigests::nothing()) else {
            continue;
        };
        // A file that the Manifest does not have is of another version.
        for file in files.get(&located.name).into_iter().flatten() {
            entries.push(CatalogEntry {
                target: located.target.clone(),
                ..file.clone()
            });
        }
    }
    entries.extend(files.into_values().flatten());
    Ok(entries)
}

/// Parses `DIST <name> <size> <algorithm> <hex> ...`. Returns `None` for a line without a distfile.
fn manifest_line(line: &str) -> Result<Option<CatalogEntry>, &'static str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, rest @ ..] = &words[..] else {
        return Ok(None);
    };
    if OTHER_KINDS.contains(kind) || is_assignment(line) {
        return Ok(None);
    }
    let [name, size, digests @ ..] = rest else {
        return Err(NO_FORM);
    };
    if *kind != "DIST" || digests.is_empty() || digests.len() % 2 != 0 {
        return Err(NO_FORM);
    }
    let name = FileName::new(name).ok_or("the line has no file name")?;
    let size_bytes = size.parse().map_err(|_| "the size is no number")?;
    let mut expected = ExpectedDigests::nothing();
    for pair in digests.chunks(2) {
        expected.extend(digest(pair[0], pair[1])?);
    }
    Ok(Some(CatalogEntry {
        size_bytes: Some(size_bytes),
        ..named(&name, expected)
    }))
}

/// Returns whether a line is another one of the metadata cache, such as `SLOT=0`.
fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Returns the URLs of a `SRC_URI`, each with the name behind its arrow.
fn read_src_uri(value: &str) -> Vec<(String, Option<FileName>)> {
    let value = value.trim().trim_matches('"');
    let mut words = value.split_whitespace().peekable();
    let mut urls = Vec::new();
    while let Some(word) = words.next() {
        if !word.contains("://") {
            continue;
        }
        let name = words
            .next_if_eq(&"->")
            .and_then(|_| FileName::new(words.next()?));
        // `fetch+` and `mirror+` say where else the file may come from.
        let url = word
            .trim_start_matches("fetch+")
            .trim_start_matches("mirror+");
        urls.push((url.to_owned(), name));
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_and_src_uri_are_joined() {
        let (b2, sha512) = ("ab".repeat(64), "cd".repeat(64));
        let text = format!(
            "DIST x-1.0.tar.gz 42 BLAKE2B {b2} SHA512 {sha512}\nEBUILD x.ebuild 1 SHA512 {sha512}\n\
             SLOT=0\nSRC_URI=doc? ( https://h/other.pdf ) https://h/v1.0.tar.gz -> x-1.0.tar.gz \
             mirror://gnu/x/x-1.0.tar.gz\n_md5_=ab\n"
        );
        let entries = parse(&text).unwrap();
        assert_eq!(entries.len(), 2);
        for entry in &entries {
            assert_eq!(entry.name, "x-1.0.tar.gz");
            assert_eq!(entry.size_bytes, Some(42));
            assert_eq!(entry.digests.to_string(), format!("sha512:{sha512}"));
        }
        let target = entries[0].target.as_ref().unwrap();
        assert_eq!(target.as_str(), "https://h/v1.0.tar.gz");
        assert_eq!(entries[1].target, None);
    }

    #[test]
    fn files_of_one_name_stay_apart() {
        let [one, other] = ["ab", "cd"].map(|byte| byte.repeat(64));
        let text = format!(
            "DIST x.gz 1 SHA512 {one}\nDIST x.gz 2 SHA512 {other}\nDIST x.gz 1 SHA512 {one}\n"
        );
        let sizes: Vec<_> = parse(&text)
            .unwrap()
            .iter()
            .map(|file| file.size_bytes)
            .collect();
        assert_eq!(sizes, [Some(1), Some(2)]);
    }

    #[test]
    fn bad_manifest_line_is_named() {
        for line in [
            "DIST x",
            "DIST x 1 SHA512",
            "DIST x 1 SHA512 ab",
            "nonsense here",
        ] {
            assert_eq!(parse(&format!("\n{line}\n")).unwrap_err().line, 2, "{line}");
        }
    }
}
