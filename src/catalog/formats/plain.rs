//! Formats with one file a line: sums with URLs, Fedora, Buildroot and FreeBSD.

use std::collections::HashMap;

use super::{BadLine, digest, located, named};
use crate::cache::CatalogEntry;
use crate::catalog::query::FileName;
use crate::model::{Digest, ExpectedDigests};

const NO_NAME: &str = "the line has no file name";
const NO_FORM: &str = "the line must be like SHA512 (name) = <hex>";

/// Parses each line that is neither empty nor a comment.
///
/// # Errors
/// [`BadLine`].
pub fn each_line(
    text: &str,
    parse: fn(&str) -> Result<Option<CatalogEntry>, &'static str>,
) -> Result<Vec<CatalogEntry>, BadLine> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = parse(line).map_err(|reason| BadLine {
            line: number + 1,
            reason,
        })?;
        entries.extend(parsed);
    }
    Ok(entries)
}

/// Parses `<hex>  <URL>` or `<hex>  *<URL>`.
///
/// # Errors
/// The reason why the line is not of the format.
pub fn sums_line(line: &str) -> Result<Option<CatalogEntry>, &'static str> {
    let form = "the line must be like <hex>  <URL>";
    let (hex, url) = line.split_once(char::is_whitespace).ok_or(form)?;
    let url = url.trim_start().trim_start_matches('*');
    let digest = Digest::from_hex_length(hex)
        .ok_or("the digest has the wrong number of hexadecimal digits")?;
    let entry = located(url, None, ExpectedDigests::from_iter([digest]));
    entry.map(Some).ok_or("the URL is not one of a file")
}

/// Parses `SHA512 (name) = <hex>`, or the older `<md5>  name`.
///
/// # Errors
/// The reason why the line is not of the format.
pub fn sources_line(line: &str) -> Result<Option<CatalogEntry>, &'static str> {
    if let Some((algorithm, name, hex)) = bsd_line(line) {
        let digest = digest(algorithm, hex)?.ok_or("the algorithm is unknown")?;
        let name = FileName::new(name).ok_or(NO_NAME)?;
        return Ok(Some(named(&name, ExpectedDigests::from_iter([digest]))));
    }
    let (hex, name) = line.split_once(char::is_whitespace).ok_or(NO_FORM)?;
    let digest = Digest::from_hex_length(hex).ok_or(NO_FORM)?;
    let name = FileName::new(name.trim()).ok_or(NO_NAME)?;
    Ok(Some(named(&name, ExpectedDigests::from_iter([digest]))))
}

/// Parses `<algorithm>  <hex>  name`. `none` states no digest.
///
/// # Errors
/// The reason why the line is not of the format.
pub fn hash_line(line: &str) -> Result<Option<CatalogEntry>, &'static str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [algorithm, hex, name] = words[..] else {
        return Err("the line must be like sha256  <hex>  name");
    };
    // A name with folders is that of a licence in the archive.
    let known = [
        "none", "md5", "sha1", "sha224", "sha256", "sha384", "sha512",
    ];
    if !known.contains(&algorithm) {
        return Err("the algorithm is unknown");
    }
    let digest = digest(algorithm, hex)?;
    let name = FileName::new(name);
    Ok(digest
        .zip(name)
        .map(|(digest, name)| named(&name, ExpectedDigests::from_iter([digest]))))
}

/// Parses `SHA256 (dir/name) = <hex>`, `SIZE (dir/name) = <bytes>` and `TIMESTAMP = <seconds>`.
///
/// # Errors
/// [`BadLine`].
pub fn distinfo(text: &str) -> Result<Vec<CatalogEntry>, BadLine> {
    let mut sizes = HashMap::new();
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("TIMESTAMP") {
            continue;
        }
        let bad = |reason| BadLine {
            line: number + 1,
            reason,
        };
        let (key, path, value) =
            bsd_line(line).ok_or_else(|| bad("the line must be like SHA256 (name) = <hex>"))?;
        let name = path.rsplit('/').next().and_then(FileName::new);
        let name = name.ok_or_else(|| bad(NO_NAME))?;
        if key == "SIZE" {
            let size = value.parse().map_err(|_| bad("the size is no number"))?;
            sizes.insert(path, size);
            continue;
        }
        let digest = digest(key, value).map_err(bad)?;
        let digest = digest.ok_or_else(|| bad("the algorithm is unknown"))?;
        let digests = ExpectedDigests::from_iter([digest]);
        entries.push((path, named(&name, digests)));
    }
    let with_size = |(path, entry): (&str, CatalogEntry)| CatalogEntry {
        size_bytes: sizes.get(path).copied(),
        ..entry
    };
    Ok(entries.into_iter().map(with_size).collect())
}

/// Splits `<key> (<name>) = <value>`.
fn bsd_line(line: &str) -> Option<(&str, &str, &str)> {
    let (key, rest) = line.split_once(" (")?;
    let (name, value) = rest.rsplit_once(") = ")?;
    Some((key.trim(), name, value.trim()))
}

#[cfg(test)]
mod tests {
    use crate::catalog::ListFormat;

    #[test]
    fn plain_lists_are_read() {
        let (md5, sha256, sha512) = ("ab".repeat(16), "cd".repeat(32), "ef".repeat(64));
        for (format, text, name, digest) in [
            (
                ListFormat::Sums,
                format!("# sums\n{sha256}  https://h/a/x-1.0.tar.gz\n"),
                "x-1.0.tar.gz",
                format!("sha256:{sha256}"),
            ),
            (
                ListFormat::Sums,
                format!("{sha256} *https://h/v1.0.tar.gz#/x-1.0.tar.gz\n"),
                "x-1.0.tar.gz",
                format!("sha256:{sha256}"),
            ),
            (
                ListFormat::FedoraSources,
                format!("SHA512 (x-1.0.tar.gz) = {sha512}\n"),
                "x-1.0.tar.gz",
                format!("sha512:{sha512}"),
            ),
            (
                ListFormat::FedoraSources,
                format!("{md5}  x-1.0.tar.gz\n"),
                "x-1.0.tar.gz",
                format!("md5:{md5}"),
            ),
            (
                ListFormat::BuildrootHash,
                format!("# Locally computed\nsha256  {sha256}  x-1.0.tar.gz\nnone xxx y.patch\n"),
                "x-1.0.tar.gz",
                format!("sha256:{sha256}"),
            ),
            (
                ListFormat::Distinfo,
                format!(
                    "TIMESTAMP = 1\nSHA256 (KDE/x.tar.xz) = {sha256}\nSIZE (KDE/x.tar.xz) = 7\n"
                ),
                "x.tar.xz",
                format!("sha256:{sha256}"),
            ),
        ] {
            let entries = format.parse(&text).unwrap();
            assert_eq!(entries.len(), 1, "{text}");
            assert_eq!(entries[0].name, name);
            assert_eq!(entries[0].digests.to_string(), digest);
        }
    }

    #[test]
    fn bad_line_is_named() {
        let sha256 = "cd".repeat(32);
        for (format, text, line) in [
            (
                ListFormat::Sums,
                format!("{sha256}  https://h/x-1.0.gz\nnonsense\n"),
                2,
            ),
            (ListFormat::Sums, format!("{sha256}  x-1.0.gz\n"), 1),
            (
                ListFormat::FedoraSources,
                "SHA512 (x) = abc\n".to_owned(),
                1,
            ),
            (ListFormat::BuildrootHash, "\nsha256 abc x\n".to_owned(), 2),
            (ListFormat::BuildrootHash, format!("crc {sha256} x\n"), 1),
            (ListFormat::Distinfo, "SIZE (x) = many\n".to_owned(), 1),
        ] {
            assert_eq!(format.parse(&text).unwrap_err().line, line, "{text}");
        }
    }
}
