//! Calls of `fetchurl` in a Nix file.
//!
//! Only plain texts count. A URL with a variable cannot be known without an evaluation, so such a
//! call has no entry, as any other text of the file.

use super::located;
use crate::cache::CatalogEntry;
use crate::catalog::query::FileName;
use crate::model::{Algorithm, Digest, ExpectedDigests};

/// Longest call that is read, in bytes.
const MAX_CALL_BYTES: usize = 16 << 10;

/// Returns the files of all calls of `fetchurl` with plain texts.
pub fn parse(text: &str) -> Vec<CatalogEntry> {
    let calls = text.split("fetchurl").skip(1);
    calls.flat_map(read_call).collect()
}

/// Reads the attributes behind `fetchurl`.
fn read_call(rest: &str) -> Vec<CatalogEntry> {
    let Some(set) = rest.trim_start().strip_prefix('{') else {
        return Vec::new();
    };
    let end = set.find('}').unwrap_or(set.len()).min(MAX_CALL_BYTES);
    let Some(set) = set.get(..end) else {
        return Vec::new();
    };
    let (mut urls, mut digests, mut name) = (Vec::new(), ExpectedDigests::nothing(), None);
    for attribute in set.split(';') {
        let Some((key, value)) = attribute.split_once('=') else {
            continue;
        };
        let mut texts = value.split('"').skip(1).step_by(2);
        match key.trim() {
            "url" | "urls" => urls.extend(texts),
            "name" => name = texts.next().and_then(FileName::new),
            "hash" => digests.extend(texts.next().and_then(read_hash)),
            key => {
                let algorithm: Option<Algorithm> = key.parse().ok();
                let digest = algorithm
                    .zip(texts.next())
                    .and_then(|(algorithm, text)| Digest::from_text(algorithm, text));
                digests.extend(digest);
            }
        }
    }
    if digests.is_empty() {
        return Vec::new();
    }
    let plain = urls.into_iter().filter(|url| !url.contains("${"));
    plain
        .filter_map(|url| located(url, name.as_ref(), digests.clone()))
        .collect()
}

/// Reads `sha256-<base64>` or `sha256:<hex or base32>`.
fn read_hash(text: &str) -> Option<Digest> {
    let named = || {
        let (algorithm, text) = text.split_once(':')?;
        Digest::from_text(algorithm.parse().ok()?, text)
    };
    Digest::from_integrity(text).or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_plain_texts_are_read() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = r#"
          src = fetchurl {
            url = "https://h/x-1.0.tar.gz";
            hash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
          };
          y = fetchurl { urls = [ "https://h/y-1.0.tar.gz" "https://m/y-1.0.tar.gz" ];
            sha256 = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"; };
          z = fetchurl { url = "https://h/z-${version}.tar.gz"; sha256 = "ab"; };
          w = fetchurl rec { };"#;
        let entries = parse(text);
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["x-1.0.tar.gz", "y-1.0.tar.gz", "y-1.0.tar.gz"]);
        for entry in entries {
            assert_eq!(entry.digests.to_string(), format!("sha256:{hex}"));
        }
    }
}
