//! URLs of a command: arguments, files and standard input, each with the digests it must have.
//!
//! The file checks all of them before the command begins. Its main type is [`UrlArgs`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;
use crate::model::{Algorithm, Digest, DigestError, ExpectedDigests, Sha256, Target, TargetError};

/// Bound on a list of URLs, in bytes. Longer lists can be split.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Bound on the URLs of one command.
const MAX_URLS: usize = 100_000;

/// Header fields that the command sets itself, or that belong to the connection.
const OWN_FIELDS: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "if-range",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// URL of a file at its origin. Without a scheme, https is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUrl(String);

impl FileUrl {
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
        f.write_str(&Target::redact(&self.0))
    }
}

/// Error returned for a digest that is not like `sha256:<hex>`.
#[derive(Debug, thiserror::Error)]
pub enum DigestArgError {
    #[error("must be like sha256:<hex>")]
    Form,
    #[error("the algorithm must be sha256, sha512, sha1 or md5")]
    Algorithm,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

fn parse_digest(text: &str) -> Result<Digest, DigestArgError> {
    let (name, hex) = text.split_once(':').ok_or(DigestArgError::Form)?;
    let algorithm: Algorithm = name
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| DigestArgError::Algorithm)?;
    Ok(Digest::parse(algorithm, hex)?)
}

/// Error returned for a header field that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum HeaderArgError {
    #[error("must be like \"Name: value\"")]
    Form,
    #[error("the field {0} belongs to the command itself")]
    Own(String),
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), HeaderArgError> {
    let (name, value) = text.split_once(':').ok_or(HeaderArgError::Form)?;
    let name: HeaderName = name.trim().parse().map_err(|_| HeaderArgError::Form)?;
    let value = value.trim().parse().map_err(|_| HeaderArgError::Form)?;
    if OWN_FIELDS.contains(&name.as_str()) {
        return Err(HeaderArgError::Own(name.to_string()));
    }
    Ok((name, value))
}

/// Arguments that name files.
#[derive(clap::Args)]
pub struct UrlArgs {
    /// URLs of the files; - reads URLs from standard input
    #[arg(value_name = "URL", required_unless_present = "input")]
    urls: Vec<String>,
    /// File with one URL a line, or one digest and URL as sha256sum writes them; - is standard
    /// input
    #[arg(short, long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Number of files at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    /// Digest that the file must have: sha256, sha512, sha1 or md5
    #[arg(long, value_name = "ALGO:HEX", value_parser = parse_digest)]
    digest: Vec<Digest>,
    /// Header field of the request
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
}

/// File that a command shall get.
#[derive(Debug, Clone)]
pub struct WantedFile {
    pub url: FileUrl,
    pub expected: ExpectedDigests,
}

impl UrlArgs {
    /// Returns all files, each once, in the order of arguments and lines.
    ///
    /// # Errors
    /// [`Failure`] that names the argument or the line.
    pub fn files(&self) -> Result<Vec<WantedFile>, Failure> {
        let mut files = Vec::new();
        for url in &self.urls {
            if url == "-" {
                read_list(Path::new("-"), &mut files)?;
            } else {
                let url = url
                    .parse()
                    .map_err(|error| Failure::usage(format!("{}: {error}", Target::redact(url))))?;
                let expected = ExpectedDigests::nothing();
                files.push(WantedFile { url, expected });
            }
        }
        for list in &self.input {
            read_list(list, &mut files)?;
        }
        if files.is_empty() {
            return Err(Failure::usage("the list contains no URL"));
        }
        let digests = self.digest.iter().cloned();
        let digests: Vec<_> = digests.chain(self.sha256.map(Digest::from)).collect();
        match &mut files[..] {
            [file] => file.expected.extend(digests),
            _ if digests.is_empty() => {}
            _ => {
                return Err(Failure::usage(
                    "--sha256 and --digest belong to one URL; put digests into the list",
                ));
            }
        }
        Ok(merge(files))
    }

    /// Returns the additional header fields.
    pub fn headers(&self) -> HeaderMap {
        self.header.iter().cloned().collect()
    }
}

/// Merges entries with the same URL. Their digests must all fit.
fn merge(files: Vec<WantedFile>) -> Vec<WantedFile> {
    let mut places = std::collections::HashMap::new();
    let mut merged: Vec<WantedFile> = Vec::new();
    for file in files {
        if let Some(&place) = places.get(file.url.as_str()) {
            let known: &mut WantedFile = &mut merged[place];
            known.expected.extend(file.expected.iter().cloned());
        } else {
            places.insert(file.url.as_str().to_owned(), merged.len());
            merged.push(file);
        }
    }
    merged
}

/// Reads a list. Empty lines and lines that begin with `#` are ignored.
fn read_list(path: &Path, files: &mut Vec<WantedFile>) -> Result<(), Failure> {
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = read_text(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if files.len() == MAX_URLS {
            let text = format!("{name}: a command takes at most {MAX_URLS} URLs");
            return Err(Failure::usage(text));
        }
        let file =
            parse_line(line).map_err(|why| Failure::usage(format!("{name}:{}: {why}", at + 1)))?;
        files.push(file);
    }
    Ok(())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path)?)
    };
    let read_bytes = reader.take(MAX_LIST_BYTES + 1).read_to_string(&mut text)?;
    if read_bytes as u64 > MAX_LIST_BYTES {
        let text = format!("a list has at most {MAX_LIST_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(text)
}

/// Error returned for a line of a list.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("{0}")]
    Url(#[from] TargetError),
    #[error("{0}")]
    Digest(#[from] DigestArgError),
    #[error("a line is a URL, or a digest and a URL")]
    Words,
}

/// Parses `URL`, `HEX  URL` or `ALGO:HEX  URL`. The length of a digest without a name is that of
/// its algorithm.
fn parse_line(line: &str) -> Result<WantedFile, LineError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (digest, url) = match words[..] {
        [url] => (None, url),
        [digest, url] => (Some(digest), url.trim_start_matches('*')),
        _ => return Err(LineError::Words),
    };
    let url = url.parse()?;
    let digest = digest.map(|text| {
        if text.contains(':') {
            return parse_digest(text);
        }
        let all = [
            Algorithm::Sha256,
            Algorithm::Sha512,
            Algorithm::Sha1,
            Algorithm::Md5,
        ];
        let algorithm = all
            .into_iter()
            .find(|algorithm| algorithm.size_bytes() * 2 == text.len())
            .ok_or(DigestArgError::Form)?;
        Ok(Digest::parse(algorithm, text)?)
    });
    Ok(WantedFile {
        url,
        expected: ExpectedDigests::from_iter(digest.transpose()?),
    })
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
            let file = parse_line(&line).unwrap();
            assert_eq!(file.url.as_str(), url, "{line}");
            let found: Vec<_> = file.expected.iter().map(ToString::to_string).collect();
            assert_eq!(found, digests, "{line}");
        }
        for wrong in [
            "gopher://example.org/x",
            "a b c",
            "abc https://example.org/x",
            "sha9:aa https://example.org/x",
        ] {
            assert!(parse_line(wrong).is_err(), "{wrong}");
        }
    }
}
