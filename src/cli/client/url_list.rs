//! URLs of a command: arguments, files and standard input, each with the digests it must have.
//!
//! The file checks all of them before the command begins. Its main type is [`UrlArgs`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::failure::Failure;
use crate::cli::output::notice;
use crate::lockfile::{RegistryBase, RegistryBases, parse_lockfile};
use crate::model::{Digest, ExpectedDigests, FileUrl, Sha256, Target, WantedFile};
use crate::registry::Platform;

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
    #[arg(value_name = "URL", required_unless_present_any = ["input", "lockfile"])]
    urls: Vec<String>,
    /// File with one URL a line, or one digest and URL as sha256sum writes them; - is standard
    /// input
    #[arg(short, long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Lock file, list with digests, or SPDX or CycloneDX document, whose files are all meant
    #[arg(long, value_name = "FILE")]
    lockfile: Vec<PathBuf>,
    /// Base URL of a registry whose URL a lock file does not contain: cargo, npm, go, or files
    #[arg(long, value_name = "KIND=URL")]
    registry: Vec<RegistryBase>,
    /// Number of files at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    /// Digest that the file must have: sha256, sha512, sha1 or md5
    #[arg(long, value_name = "ALGO:HEX", value_parser = Digest::parse_named)]
    digest: Vec<Digest>,
    /// Header field of the request
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
}

impl UrlArgs {
    /// Returns all files, each once, in the order of arguments and lines.
    ///
    /// # Errors
    /// [`Failure`] that names the argument or the line, also if it is a container image.
    pub fn files(&self) -> Result<Vec<WantedFile>, Failure> {
        let files = self.files_and_images()?;
        match files.iter().find(|file| file.url.is_image()) {
            Some(image) => Err(Failure::usage(format!(
                "{}: images are for millpond ensure, and for jobs that fetch",
                image.url
            ))),
            None => Ok(files),
        }
    }

    /// Returns all files and container images, as [`UrlArgs::files`] does.
    ///
    /// # Errors
    /// [`Failure`] that names the argument or the line.
    pub fn files_and_images(&self) -> Result<Vec<WantedFile>, Failure> {
        let mut files = Vec::new();
        for url in &self.urls {
            if url == "-" {
                read_list(Path::new("-"), &mut files)?;
            } else {
                let url = FileUrl::parse_with_image(url)
                    .map_err(|error| Failure::usage(format!("{}: {error}", Target::redact(url))))?;
                let expected = ExpectedDigests::nothing();
                files.push(WantedFile { url, expected });
            }
        }
        for list in &self.input {
            read_list(list, &mut files)?;
        }
        let bases = RegistryBases(self.registry.clone());
        for lockfile in &self.lockfile {
            read_lockfile(lockfile, &bases, &mut files)?;
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
        Ok(WantedFile::merge(files))
    }

    /// Returns the additional header fields.
    pub fn headers(&self) -> HeaderMap {
        self.header.iter().cloned().collect()
    }
}

fn read_list(path: &Path, files: &mut Vec<WantedFile>) -> Result<(), Failure> {
    let name = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let text = read_text(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let listed = WantedFile::parse_list(&text, MAX_URLS - files.len());
    let mut listed = listed.map_err(|error| Failure::usage(format!("{name}:{error}")))?;
    files.append(&mut listed);
    Ok(())
}

/// Reads a lock file. Entries without a file or a digest are reported.
fn read_lockfile(
    path: &Path,
    bases: &RegistryBases,
    files: &mut Vec<WantedFile>,
) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let locked = parse_lockfile(&name, &text, bases);
    let locked = locked.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    for note in &locked.notes {
        notice(&format_args!("millpond: {name}: {note}\n"));
    }
    files.extend(locked.files);
    Ok(())
}

/// Reads a text of bounded size. The path `-` means standard input.
///
/// # Errors
/// If the text cannot be read, is too large, or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
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

/// Arguments that choose platforms of container images.
#[derive(clap::Args)]
pub struct PlatformArgs {
    /// Platforms of container images; the default is all platforms
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub platform: Vec<Platform>,
}
