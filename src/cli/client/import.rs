//! `millpond import`: stores an operator's own copies of files under URLs.
//!
//! The main type is [`Import`].

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::unfold;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::progress::{FileBar, ProgressBars};
use super::table::text;
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::model::{Algorithm, Digests, ExpectedDigests, FileUrl, Hasher};

/// Size of the chunks in which files are read, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Characters of a file name that are percent-encoded in a URL.
const ENCODED_IN_NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+');

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond import x-1.0.tar.gz --url https://example.org/x-1.0.tar.gz
  millpond import sources/ --url https://example.org/sources/
  millpond import --force notes.tar.gz --url https://example.org/notes-1.tar.gz")]
pub struct Import {
    /// File, or folder whose files are all imported
    path: PathBuf,
    /// URL of the copy; the file name is appended if this ends with a slash, or PATH is a folder
    #[arg(long, value_name = "URL")]
    url: FileUrl,
    /// Import also a file whose first bytes are not those that its name promises
    #[arg(long)]
    force: bool,
}

/// File that is imported.
pub struct Copy {
    pub path: PathBuf,
    pub url: String,
    /// Digests that the file must have.
    pub expected: ExpectedDigests,
}

/// Imports of one command.
pub struct Imports {
    api: ApiClient,
    bars: ProgressBars,
    /// Value of the API's parameter `force`.
    force: &'static str,
}

impl Import {
    /// Runs the command. If one of several files fails, the others are still imported.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let Found { copies, skipped } = copies(&self.path, self.url.as_str())?;
        if copies.is_empty() {
            return Err(Failure::usage(format!(
                "{} holds no files",
                self.path.display()
            )));
        }
        let imports = Imports::new(gateway, form, copies.len(), self.force)?;
        let imported = imports.import_all(&copies).await;
        if skipped > 0 && form == OutputForm::Text {
            imports.bars.suspend(|| {
                notice(&format_args!(
                    "millpond: symbolic links and special files that were not imported: {skipped}\n"
                ));
            });
        } else if skipped > 0 {
            imports.bars.print_line(&json!({ "skipped": skipped }))?;
        }
        imported
    }
}

/// Files to import.
#[derive(Default)]
struct Found {
    copies: Vec<Copy>,
    /// Number of entries that are neither files nor folders.
    skipped: u64,
}

/// Returns the files to import, each with its URL.
fn copies(path: &Path, url: &str) -> Result<Found, Failure> {
    let describe = |why: &std::io::Error| Failure::usage(format!("{}: {why}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|why| describe(&why))?;
    if metadata.is_dir() {
        let mut found = Found::default();
        let base = url.trim_end_matches('/');
        collect(path, base, &mut found).map_err(|why| describe(&why))?;
        return Ok(found);
    }
    if !metadata.is_file() {
        // A device or a pipe may have no end.
        let text = format!("{} is neither a file nor a folder", path.display());
        return Err(Failure::usage(text));
    }
    let url = match path.file_name() {
        Some(name) if url.ends_with('/') => format!("{url}{}", encode(&name.to_string_lossy())),
        _ => url.to_owned(),
    };
    Ok(Found {
        copies: vec![Copy::new(path.to_owned(), url)],
        skipped: 0,
    })
}

/// Collects all files below a folder in the order of their names.
///
/// Symbolic links are not followed, since they may lead out of the folder. They are counted.
fn collect(folder: &Path, base: &str, found: &mut Found) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().map_err(|_| {
            std::io::Error::other("the name of a file in the folder is not valid UTF-8")
        })?;
        let (url, kind) = (format!("{base}/{}", encode(&name)), entry.file_type()?);
        if kind.is_dir() {
            collect(&entry.path(), &url, found)?;
        } else if kind.is_file() {
            found.copies.push(Copy::new(entry.path(), url));
        } else {
            found.skipped += 1;
        }
    }
    Ok(())
}

fn encode(name: &str) -> String {
    utf8_percent_encode(name, ENCODED_IN_NAME).to_string()
}

impl Copy {
    fn new(path: PathBuf, url: String) -> Self {
        Self {
            path,
            url,
            expected: ExpectedDigests::nothing(),
        }
    }
}

impl Imports {
    /// Creates the imports of a command for this number of files.
    ///
    /// # Errors
    /// [`Failure`] if the gateway or the token cannot be used.
    pub fn new(
        gateway: &GatewayArgs,
        form: OutputForm,
        count: usize,
        force: bool,
    ) -> Result<Self, Failure> {
        Ok(Self {
            api: ApiClient::new(gateway, form)?,
            bars: ProgressBars::new(count, form),
            force: if force { "true" } else { "false" },
        })
    }

    /// Imports files one after the other. If one fails, the others are still imported.
    ///
    /// # Errors
    /// [`Failure`] of the first one that failed.
    pub async fn import_all(&self, copies: &[Copy]) -> Result<(), Failure> {
        let (form, count) = (self.api.form, copies.len());
        let (mut first_code, mut failed) = (None, 0);
        for copy in copies {
            let Err(failure) = self.import(copy).await else {
                continue;
            };
            let name = copy.path.display().to_string();
            if count == 1 && form == OutputForm::Text {
                let text = format!("{name}: {}", failure.text);
                return Err(Failure { text, ..failure });
            }
            let report = || failure.report_item(form, "file", &name);
            self.bars.suspend(report);
            failed += 1;
            first_code.get_or_insert(failure.code);
        }
        match first_code {
            None => Ok(()),
            Some(code) if form == OutputForm::Json => Err(Failure::silent(code)),
            Some(code) => Err(Failure::new(
                code,
                format!("{failed} of {count} files were not imported"),
            )),
        }
    }

    /// Imports one file. Its digests are computed here first, and the gateway must compute the
    /// same.
    async fn import(&self, copy: &Copy) -> Result<(), Failure> {
        let (path, url) = (&copy.path, copy.url.as_str());
        let (mut file, size_bytes, digests) = hash(path.clone()).await?;
        if let Some(stated) = digests.first_mismatch(&copy.expected) {
            let text = format!("the file does not have the stated digest {stated}");
            return Err(Failure::new(FailureCode::Corrupt, text));
        }
        let md5 = digests.others.get(&Algorithm::Md5).cloned();
        let md5 = md5.unwrap_or_default();
        let sha256 = digests.sha256.to_string();
        let form = self.api.form;
        if form == OutputForm::Text {
            self.bars.print_line(&format_args!(
                "md5:{md5}  sha256:{sha256}  {}",
                path.display()
            ))?;
        }
        file.rewind()?;
        let bar = self.bars.begin(&path.display().to_string());
        bar.set_size(size_bytes, 0);
        let parameters = [("url", url), ("force", self.force)];
        let headers = upload_headers(&sha256, &md5, size_bytes);
        let imported = self
            .api
            .upload("objects", &parameters, headers, body_of(file, bar))
            .await?;
        self.bars.count_file();
        let found = |algorithm: &str| text(&imported["digests"][algorithm]);
        match form {
            OutputForm::Json => self.bars.print_line(&imported)?,
            OutputForm::Text => self.bars.print_line(&format_args!(
                "md5:{}  sha256:{}  {url}",
                found("md5"),
                found("sha256")
            ))?,
        };
        let is_same = found("md5") == md5
            && found("sha256") == sha256
            && imported["size_bytes"] == size_bytes;
        if is_same {
            Ok(())
        } else {
            Err(Failure::new(
                FailureCode::Corrupt,
                "the gateway stored other bytes than the file has",
            ))
        }
    }
}

fn upload_headers(sha256: &str, md5: &str, size_bytes: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, hex) in [("x-expected-sha256", sha256), ("x-expected-md5", md5)] {
        headers.insert(
            name,
            HeaderValue::from_str(hex).expect("hexadecimal digits can be in a header"),
        );
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
    headers
}

/// Opens a file, and computes its size and digests.
async fn hash(path: PathBuf) -> Result<(File, u64, Digests), Failure> {
    let hashed = spawn_blocking(move || {
        let mut file = File::open(path)?;
        let (mut hasher, mut size_bytes) = (Hasher::with_all_algorithms(), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok((file, size_bytes, hasher.finish())),
                count => {
                    hasher.update(&chunk[..count]);
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

/// Returns a request body that reads the file in chunks.
fn body_of(file: File, bar: FileBar) -> Body {
    let chunks = unfold(Some((file, bar)), |state| async {
        let (mut file, bar) = state?;
        let read = spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = file.read(&mut chunk)?;
            chunk.truncate(count);
            Ok::<_, std::io::Error>((file, Bytes::from(chunk)))
        });
        match read
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        {
            Ok((_, chunk)) if chunk.is_empty() => None,
            Ok((file, chunk)) => {
                bar.add(chunk.len());
                Some((Ok(chunk), Some((file, bar))))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    Body::wrap_stream(chunks)
}
