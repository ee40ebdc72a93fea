//! `millpond import`: an operator's own copies, under the URLs that they stand for.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::unfold;
use indicatif::ProgressBar;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Body;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::task::spawn_blocking;

use super::api_client::{ApiClient, Connection, Failure};
use super::progress;
use crate::cli::output::print_line;
use crate::cli::{EXIT_CORRUPT, fail};
use crate::model::{Algorithm, Digests, Hasher};

/// The piece in which files are read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What of a file's name need not be encoded in a URL.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+');

#[derive(clap::Args)]
pub struct Import {
    /// A file, or a folder whose files are all imported
    path: PathBuf,
    /// The URL that it stands for; a name is added behind a slash at its end, and behind a folder's
    #[arg(long, value_name = "URL")]
    url: String,
    #[command(flatten)]
    connection: Connection,
}

impl Import {
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
        let copies = copies(&self.path, &self.url)?;
        if copies.is_empty() {
            return Err(Failure::usage(format!(
                "{} holds no files",
                self.path.display()
            )));
        }
        let (count, mut first) = (copies.len(), None);
        let mut failed = 0;
        for (file, url) in copies {
            if let Err(failure) = import(&api, &file, &url).await {
                let failure = Failure {
                    text: format!("{}: {}", file.display(), failure.text),
                    ..failure
                };
                if count == 1 {
                    return Err(failure);
                }
                // The others may do well.
                fail(&failure.text, failure.code);
                failed += 1;
                first.get_or_insert(failure.code);
            }
        }
        match first {
            Some(code) => Err(Failure::new(
                code,
                format!("{failed} of {count} files were not imported"),
            )),
            None => Ok(()),
        }
    }
}

/// The files to import, and what each stands for.
fn copies(path: &Path, url: &str) -> Result<Vec<(PathBuf, String)>, Failure> {
    let complaint = |why: &std::io::Error| Failure::usage(format!("{}: {why}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|why| complaint(&why))?;
    if metadata.is_dir() {
        let mut copies = Vec::new();
        let base = url.trim_end_matches('/');
        collect(path, base, &mut copies).map_err(|why| complaint(&why))?;
        return Ok(copies);
    }
    let url = match path.file_name() {
        Some(name) if url.ends_with('/') => format!("{url}{}", encode(&name.to_string_lossy())),
        _ => url.to_owned(),
    };
    Ok(vec![(path.to_owned(), url)])
}

/// Every file below a folder, in order. Links are not followed: they may lead anywhere.
fn collect(folder: &Path, base: &str, copies: &mut Vec<(PathBuf, String)>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| std::io::Error::other("a name in it is no text"))?;
        let (url, kind) = (format!("{base}/{}", encode(&name)), entry.file_type()?);
        if kind.is_dir() {
            collect(&entry.path(), &url, copies)?;
        } else if kind.is_file() {
            copies.push((entry.path(), url));
        }
    }
    Ok(())
}

fn encode(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// Imports one file. Its digests are computed here first, and those that the gateway has found must
/// be the same.
async fn import(api: &ApiClient, path: &Path, url: &str) -> Result<(), Failure> {
    let (mut file, size_bytes, digests) = hash(path.to_owned()).await?;
    let md5 = digests
        .others
        .get(&Algorithm::Md5)
        .cloned()
        .unwrap_or_default();
    let sha256 = digests.sha256.to_string();
    if !api.shows_json {
        print_line(&format_args!(
            "md5:{md5}  sha256:{sha256}  {}",
            path.display()
        ))?;
    }
    let mut headers = HeaderMap::new();
    for (name, hex) in [("x-expected-sha256", &sha256), ("x-expected-md5", &md5)] {
        headers.insert(
            name,
            HeaderValue::from_str(hex).expect("hexadecimal digits can be in a header"),
        );
    }
    file.rewind()?;
    let body = body_of(file, progress::bar(Some(size_bytes), !api.shows_json));
    let imported = api
        .upload("objects", &[("url", url)], headers, size_bytes, body)
        .await?;
    let found = |algorithm: &str| {
        imported["digests"][algorithm]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    if api.shows_json {
        print_line(&imported)?;
    } else {
        print_line(&format_args!(
            "md5:{}  sha256:{}  {url}",
            found("md5"),
            found("sha256")
        ))?;
    }
    let is_same =
        found("md5") == md5 && found("sha256") == sha256 && imported["size_bytes"] == size_bytes;
    if is_same {
        Ok(())
    } else {
        Err(Failure::new(
            EXIT_CORRUPT,
            "the gateway has other bytes than were sent",
        ))
    }
}

async fn hash(path: PathBuf) -> Result<(File, u64, Digests), Failure> {
    let hashed = spawn_blocking(move || {
        let mut file = File::open(path)?;
        let (mut hasher, mut size_bytes) = (Hasher::with_all_algorithms(), 0);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok((file, size_bytes, hasher.finish())),
                count => {
                    hasher.update(&piece[..count]);
                    size_bytes += count as u64;
                }
            }
        }
    });
    let hashed: std::io::Result<_> = hashed
        .await
        .map_err(|panic| Failure::failed(panic.to_string()))?;
    Ok(hashed?)
}

/// The file, piece by piece.
fn body_of(file: File, bar: ProgressBar) -> Body {
    let pieces = unfold(Some((file, bar)), |state| async {
        let (mut file, bar) = state?;
        let read = spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            Ok::<_, std::io::Error>((file, Bytes::from(piece)))
        });
        match read
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        {
            Ok((_, piece)) if piece.is_empty() => None,
            Ok((file, piece)) => {
                bar.inc(piece.len() as u64);
                Some((Ok(piece), Some((file, bar))))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    Body::wrap_stream(pieces)
}
