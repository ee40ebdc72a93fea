//! Links of a simple index to files: their form at this gateway, and the way back.
//!
//! A client appends `.metadata` to the link of a file (PEP 658). So the link states the digest of
//! the file and that of its metadata, in the two segments before the URL.
//!
//! The main type is [`PypiFile`].

use crate::model::{Digest, Target};

/// Folder of the gateway for files of simple indexes.
const FILES: &str = "/mirror/pypi/files/";

/// Segment in place of an unknown digest.
const NO_DIGEST: &str = "-";

/// Suffix of the metadata of a file.
const METADATA: &str = ".metadata";

/// Suffixes of other companions, whose digests no index states.
const OTHER_COMPANIONS: [&str; 2] = [".asc", ".provenance"];

/// A file behind a rewritten link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PypiFile<'a> {
    /// URL of the file, as it is spelled behind the URL of a gateway.
    pub url: &'a str,
    /// Digest that the index states for what the client requests.
    pub digest: Option<Digest>,
}

/// Digests that an index states for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDigests {
    pub file: Option<Digest>,
    pub metadata: Option<Digest>,
}

impl<'a> PypiFile<'a> {
    /// Parses the path and query below the folder. `None` if it is no rewritten link.
    #[must_use]
    pub fn parse(below: &'a str) -> Option<Self> {
        let (file, rest) = below.split_once('/')?;
        let (metadata, url) = rest.split_once('/')?;
        let (file, metadata) = (read_segment(file)?, read_segment(metadata)?);
        let path = url.split('?').next().unwrap_or_default();
        let digest = if path.ends_with(METADATA) {
            metadata
        } else if OTHER_COMPANIONS.iter().any(|suffix| path.ends_with(suffix)) {
            None
        } else {
            file
        };
        Some(Self { url, digest })
    }
}

impl FileDigests {
    /// Returns the path of a file with these digests at this gateway.
    pub fn link(&self, file: &Target) -> String {
        let digests = [self.file.as_ref(), self.metadata.as_ref()];
        let [of_file, of_metadata] = digests.map(write_segment);
        format!("{FILES}{of_file}/{of_metadata}/{}", file.as_str())
    }
}

/// Returns the URL of a provenance file at this gateway. PEP 740 wants an absolute one. No index
/// states its digest.
pub fn provenance_link(provenance: &Target, gateway: &str) -> String {
    format!("{gateway}{}", FileDigests::default().link(provenance))
}

/// Returns the digest in a text such as `sha256=<hex>`. Unknown algorithms are ignored.
pub fn read_digest(text: &str) -> Option<Digest> {
    let (algorithm, hex) = text.split_once('=')?;
    Digest::parse(algorithm.trim().parse().ok()?, hex.trim()).ok()
}

/// Clients encode other separators than a hyphen when they resolve a link.
fn write_segment(digest: Option<&Digest>) -> String {
    digest.map_or_else(
        || NO_DIGEST.to_owned(),
        |digest| format!("{}-{}", digest.algorithm().as_str(), digest.hex()),
    )
}

/// Returns the digest of a segment, if it has one. `None` if it is no segment of a link.
#[expect(clippy::option_option, reason = "a segment without a digest is valid")]
fn read_segment(text: &str) -> Option<Option<Digest>> {
    if text == NO_DIGEST {
        return Some(None);
    }
    let (algorithm, hex) = text.split_once('-')?;
    let digest = Digest::parse(algorithm.parse().ok()?, hex).ok()?;
    Some(Some(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_states_digest_of_each_file() {
        let digest = |byte: &str| read_digest(&format!("sha256={}", byte.repeat(32)));
        let digests = FileDigests {
            file: digest("ab"),
            metadata: digest("cd"),
        };
        let file = Target::parse("https://files.example.org/x-1.0.whl?a=b").unwrap();
        let link = digests.link(&file);
        let below = link.strip_prefix(FILES).unwrap();
        let parsed = PypiFile::parse(below).unwrap();
        assert_eq!(parsed.url, file.as_str());
        assert_eq!(parsed.digest, digests.file);
        for (suffix, wanted) in [(".metadata", &digests.metadata), (".asc", &None)] {
            let companion = below.replace("?a=b", suffix);
            assert_eq!(
                PypiFile::parse(&companion).unwrap().digest,
                *wanted,
                "{suffix}"
            );
        }
        assert!(
            FileDigests::default()
                .link(&file)
                .starts_with("/mirror/pypi/files/-/-/https:")
        );
    }

    #[test]
    fn other_paths_are_no_links() {
        for path in [
            "-",
            "-/-",
            "sha256-ab/-/https://a.example/x",
            "x/-/https://a.example/x",
        ] {
            assert_eq!(PypiFile::parse(path), None, "{path}");
        }
        assert_eq!(read_digest("sha224=ab"), None);
    }
}
