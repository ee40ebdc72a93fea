//! Files that a command or a job is asked for: URLs, each with the digests that it must have.
//!
//! Lists are text, one file a line. This file reads no file. Its main type is [`WantedFile`].

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::digest::{Algorithm, Digest, ExpectedDigests};
use super::named_digest::NamedDigestError;
use super::target::Target;
use super::target_error::TargetError;

/// Algorithms of digests without a name. The length decides.
const ALGORITHMS_BY_LENGTH: [Algorithm; 4] = [
    Algorithm::Sha256,
    Algorithm::Sha512,
    Algorithm::Sha1,
    Algorithm::Md5,
];

/// Beginning of the names of container images in lists.
pub const IMAGE_SCHEME: &str = "docker://";

/// URL of a file at its origin. Without a scheme, https is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrl(String);

impl FileUrl {
    /// Parses a URL, or the name of a container image. A registry decides whether the name is
    /// valid.
    ///
    /// # Errors
    /// [`TargetError`] if the text is neither.
    pub fn parse_with_image(text: &str) -> Result<Self, TargetError> {
        let has_scheme = text.starts_with(IMAGE_SCHEME);
        if has_scheme && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        text.parse()
    }

    /// Whether this is the name of a container image.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.0.starts_with(IMAGE_SCHEME)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileUrl {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        Target::parse(&url)?;
        Ok(Self(url))
    }
}

impl fmt::Display for FileUrl {
    /// Writes the URL without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = self.0.strip_prefix(IMAGE_SCHEME);
        let host = image.and_then(|image| image.split('/').next());
        match host {
            // The digest of an image is no login.
            Some(host) if !host.contains('@') => f.write_str(&self.0),
            _ => f.write_str(&Target::redact(&self.0)),
        }
    }
}

/// File that a command or a job shall get.
#[derive(Debug, Clone)]
pub struct WantedFile {
    pub url: FileUrl,
    pub expected: ExpectedDigests,
}

/// Error returned for a line of a list.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("{0}")]
    Url(#[from] TargetError),
    #[error("{0}")]
    Digest(#[from] NamedDigestError),
    #[error("a line is a URL, or a digest and a URL")]
    Words,
    #[error("an image has its digest in its name: docker://HOST/NAME@sha256:HEX")]
    DigestOfImage,
    /// The list must be split.
    #[error("a list has at most {0} URLs")]
    TooMany(usize),
}

/// Error returned for a list. Its text begins with the number of the line.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {error}")]
pub struct ListError {
    /// Number of the line, from 1.
    pub line: usize,
    pub error: LineError,
}

impl WantedFile {
    /// Parses a list of at most `max_files` lines with a URL. Empty lines and lines that begin with
    /// `#` are ignored.
    ///
    /// # Errors
    /// [`ListError`] of the first wrong line.
    pub fn parse_list(text: &str, max_files: usize) -> Result<Vec<Self>, ListError> {
        let mut files = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = if files.len() == max_files {
                Err(LineError::TooMany(max_files))
            } else {
                Self::parse_line(line)
            };
            files.push(parsed.map_err(|error| ListError {
                line: at + 1,
                error,
            })?);
        }
        Ok(files)
    }

    /// Parses `URL`, `HEX  URL` or `ALGO:HEX  URL`. The length of a digest without a name is that
    /// of its algorithm. The URL may be the name of a container image, without a digest before it.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn parse_line(line: &str) -> Result<Self, LineError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (digest, url) = match words[..] {
            [url] => (None, url),
            [digest, url] => (Some(digest), url.trim_start_matches('*')),
            _ => return Err(LineError::Words),
        };
        let url = FileUrl::parse_with_image(url)?;
        if url.is_image() && digest.is_some() {
            return Err(LineError::DigestOfImage);
        }
        let digest = digest.map(|text| {
            if text.contains(':') {
                return Digest::parse_named(text);
            }
            let algorithm = ALGORITHMS_BY_LENGTH
                .into_iter()
                .find(|algorithm| algorithm.size_bytes() * 2 == text.len())
                .ok_or(NamedDigestError::Form)?;
            Ok(Digest::parse(algorithm, text)?)
        });
        Ok(Self {
            url,
            expected: ExpectedDigests::from_iter(digest.transpose()?),
        })
    }

    /// Merges entries with the same URL. Their digests must all fit.
    #[must_use]
    pub fn merge(files: Vec<Self>) -> Vec<Self> {
        let mut places = HashMap::new();
        let mut merged: Vec<Self> = Vec::new();
        for file in files {
            if let Some(&place) = places.get(file.url.as_str()) {
                let known: &mut Self = &mut merged[place];
                known.expected.extend(file.expected.iter().cloned());
            } else {
                places.insert(file.url.as_str().to_owned(), merged.len());
                merged.push(file);
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_url_with_or_without_digest() {
        let sha256 = "a".repeat(64);
        let md5 = "b".repeat(32);
        let url = "https://example.org/x-1.0.tar.gz";
        for (line, digests) in [
            (url.to_owned(), vec![]),
            (format!("{sha256}  {url}"), vec![format!("sha256:{sha256}")]),
            (format!("{sha256} *{url}"), vec![format!("sha256:{sha256}")]),
            (format!("{md5}  {url}"), vec![format!("md5:{md5}")]),
            (format!("MD5:{md5} {url}"), vec![format!("md5:{md5}")]),
            ("example.org/x-1.0.tar.gz".to_owned(), vec![]),
        ] {
            let file = WantedFile::parse_line(&line).unwrap();
            assert_eq!(file.url.as_str(), url, "{line}");
            let found: Vec<_> = file.expected.iter().map(ToString::to_string).collect();
            assert_eq!(found, digests, "{line}");
        }
        let image = WantedFile::parse_line("docker://registry.example.org/x:1").unwrap();
        assert!(image.url.is_image());
        assert!(
            "docker://registry.example.org/x:1"
                .parse::<FileUrl>()
                .is_err()
        );
        for wrong in [
            "gopher://example.org/x",
            "a b c",
            "abc https://example.org/x",
            "sha9:aa https://example.org/x",
            &format!("{sha256} docker://registry.example.org/x:1"),
        ] {
            assert!(WantedFile::parse_line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn list_error_names_its_line() {
        let text = "# sources\n\nexample.org/a-1.tar.gz\nexample.org/b-1.tar.gz\n";
        assert_eq!(WantedFile::parse_list(text, 2).unwrap().len(), 2);
        let error = WantedFile::parse_list(text, 1).unwrap_err();
        assert_eq!(error.to_string(), "4: a list has at most 1 URLs");
        let error = WantedFile::parse_list("a b c", 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1: a line is a URL, or a digest and a URL"
        );
    }
}
