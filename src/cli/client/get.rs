//! `millpond get`: downloads files through a gateway, and verifies them.
//!
//! The main type is [`Get`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::batch::run_all;
use super::download::{Received, download_to, stream_to};
use super::failure::Failure;
use super::file_request::GatewayRequest;
use super::piece_download::{PieceDisplay, PieceOutcome, download_pieces};
use super::progress::{FileBar, ProgressBars};
use super::url_list::UrlArgs;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::fetch::PieceSource;
use crate::model::WantedFile;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond get https://example.org/x-1.0.tar.gz
  millpond get -o sources/ -i list.txt --jobs 8
  millpond get --digest sha512:<hex> https://example.org/x-1.0.tar.gz
  millpond get --connections 4 https://example.org/x-1.0.tar.gz
  sha256sum-list | millpond get -

An interrupted download leaves FILE.millpond.part, and the next one resumes it.")]
pub struct Get {
    #[command(flatten)]
    files: UrlArgs,
    /// Output file, an existing folder, or - for standard output; the default is the file name in
    /// the URL
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of connections to a file, which fetch its checked pieces from the nodes that have it,
    /// its origin and mirrors
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=16))]
    connections: u8,
}

/// Shared parts of the downloads of one command.
struct Downloads<'a> {
    api: &'a ApiClient,
    headers: HeaderMap,
    bars: &'a ProgressBars,
    connections: u8,
}

impl Get {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let files = self.files.files()?;
        let outputs = Outputs::choose(self.output.as_deref(), &files, form)?;
        if self.connections > 1 && matches!(outputs, Outputs::Stdout) {
            return Err(Failure::usage(
                "--connections: pieces cannot be written to standard output; use -o FILE",
            ));
        }
        let api = ApiClient::new(gateway, form)?;
        let bars = ProgressBars::new(files.len(), form);
        let downloads = Downloads {
            api: &api,
            headers: self.files.headers(),
            bars: &bars,
            connections: self.connections,
        };
        let (downloads, outputs) = (&downloads, &outputs);
        run_all(&files, self.files.jobs, &bars, form, |file| async move {
            match outputs {
                Outputs::Stdout => downloads.to_stdout(file).await,
                Outputs::Files(paths) => {
                    let output = paths
                        .iter()
                        .find(|(url, _)| url == file.url.as_str())
                        .map(|(_, path)| path);
                    downloads
                        .to_file(file, output.expect("each URL has an output"))
                        .await
                }
            }
        })
        .await
    }
}

impl Downloads<'_> {
    fn request<'a>(&'a self, file: &'a WantedFile) -> GatewayRequest<'a> {
        GatewayRequest {
            api: self.api,
            file,
            headers: &self.headers,
        }
    }

    async fn to_stdout(&self, file: &WantedFile) -> Result<(), Failure> {
        let bar = self.bars.begin("-");
        stream_to(self.request(file), &mut std::io::stdout(), &bar).await
    }

    async fn to_file(&self, file: &WantedFile, output: &Path) -> Result<(), Failure> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let bar = self.bars.begin(&name);
        let (received, sources) = self.receive(file, output, &bar).await?;
        let Received { sha256, size_bytes } = received;
        drop(bar);
        let output = output.to_string_lossy();
        match self.api.form {
            OutputForm::Json => self.bars.print_line(&json!({
                "url": file.url.to_string(),
                "sha256": sha256,
                "size_bytes": size_bytes,
                "file": output,
                "sources": sources,
            }))?,
            OutputForm::Text => self.bars.print_line(&format_args!("{sha256}  {output}"))?,
        };
        Ok(())
    }

    /// Downloads a file, in pieces if several connections are allowed and there are pieces.
    /// Returns the sources of the pieces too, for JSON.
    async fn receive(
        &self,
        file: &WantedFile,
        output: &Path,
        bar: &FileBar,
    ) -> Result<(Received, Option<Vec<Value>>), Failure> {
        let (request, bars) = (self.request(file), self.bars);
        let metalink = match self.connections {
            0 | 1 => None,
            _ => request.metalink().await?,
        };
        if let Some(metalink) = &metalink
            && let Some(list) = &metalink.pieces
        {
            let (connections, display) = (self.connections.into(), PieceDisplay { bars, bar });
            let found = (metalink, list);
            match download_pieces(request, found, output, connections, display).await? {
                PieceOutcome::Complete(received, sources) => {
                    let sources = sources.iter().map(shown_source).collect();
                    return Ok((received, Some(sources)));
                }
                PieceOutcome::Incomplete => bars.suspend(|| {
                    let url = &file.url;
                    let text = "pieces are missing, fetching the rest over one connection";
                    notice(&format_args!("millpond: {url}: {text}\n"));
                }),
            }
        }
        Ok((download_to(request, output, bar).await?, None))
    }
}

/// Returns a source of pieces as JSON.
fn shown_source(source: &PieceSource) -> Value {
    json!({
        "url": source.shown_url(),
        "size_bytes": source.size_bytes,
        "dropped": source.dropped,
    })
}

/// Destinations of a command.
enum Outputs {
    Stdout,
    /// Each URL with its file.
    Files(Vec<(String, PathBuf)>),
}

impl Outputs {
    fn choose(
        output: Option<&Path>,
        files: &[WantedFile],
        form: OutputForm,
    ) -> Result<Self, Failure> {
        let folder = match output {
            Some(output) if output == Path::new("-") => {
                return match (files, form) {
                    ([_], OutputForm::Text) => Ok(Self::Stdout),
                    ([_], OutputForm::Json) => Err(Failure::usage(
                        "--output: standard output cannot have both the file and JSON",
                    )),
                    _ => Err(Failure::usage(
                        "--output: standard output can have one file only",
                    )),
                };
            }
            Some(output) if output.is_dir() => output,
            Some(output) => {
                let [file] = files else {
                    let text = format!(
                        "--output: {} is no folder, and there are {} URLs",
                        output.display(),
                        files.len()
                    );
                    return Err(Failure::usage(text));
                };
                let url = file.url.as_str().to_owned();
                return Ok(Self::Files(vec![(url, output.to_owned())]));
            }
            None => Path::new(""),
        };
        let (mut paths, mut names) = (Vec::new(), HashSet::new());
        for file in files {
            let name = file_name_of(file.url.as_str())?;
            if !names.insert(name.clone()) {
                let text = format!("two URLs would be written to {name}; use several commands");
                return Err(Failure::usage(text));
            }
            paths.push((file.url.as_str().to_owned(), folder.join(name)));
        }
        Ok(Self::Files(paths))
    }
}

/// Returns the last segment of the path of a URL.
fn file_name_of(url: &str) -> Result<String, Failure> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_name =
        path.contains("://") && !matches!(name, "" | "." | "..") && path.matches('/').count() > 2;
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(Failure::usage("the URL contains no file name; use -o FILE"))
    }
}
