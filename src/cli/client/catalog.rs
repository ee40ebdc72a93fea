//! `millpond catalog`: imports lists of files into the catalog of a gateway, and searches it.
//!
//! The main type is [`ManageCatalog`].

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{size_of, text};
use crate::catalog::ListFormat;
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, Reader, print_line};
use crate::model::{Digest, Sha256};

/// Name of the file that stands for standard input.
const STDIN: &str = "-";

/// Bound on a list, in bytes. A gateway takes no longer one.
const MAX_LIST_BYTES: u64 = 16 << 20;

#[derive(Args)]
#[command(after_help = "Examples:
  millpond catalog import sha256sums.txt
  millpond catalog import package/*/*.hash
  cat Manifest md5-cache/app-misc/x-* | millpond catalog import --format gentoo-manifest -
  millpond catalog search x-1.0.tar.gz
  millpond catalog search sha256:<hex>
  millpond catalog lists
  millpond catalog remove <hex of a list>

Formats: sums (lines of <hex>  <URL>), fedora-sources, gentoo-manifest, buildroot-hash, distinfo,
conandata, nix-fetchurl. Without --format, the name of the file decides.")]
pub struct ManageCatalog {
    #[command(subcommand)]
    action: CatalogAction,
}

#[derive(Subcommand)]
enum CatalogAction {
    /// Import lists of files: their names, digests and URLs (operators)
    Import(ImportLists),
    /// Find files by name or by digest (operators and readers)
    Search(SearchFiles),
    /// Show imported lists (operators and readers)
    Lists,
    /// Remove imported lists (operators)
    Remove(RemoveLists),
}

#[derive(Args)]
struct ImportLists {
    /// Lists; a hyphen means standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Format of the lists
    #[arg(long, value_name = "FORMAT")]
    format: Option<ListFormat>,
}

#[derive(Args)]
struct RemoveLists {
    /// Digests of lists, as `catalog lists` shows them
    #[arg(value_name = "LIST", required = true)]
    lists: Vec<Sha256>,
}

#[derive(Args)]
struct SearchFiles {
    /// File name, or a digest like sha256:<hex>
    #[arg(value_name = "NAME|DIGEST")]
    wanted: String,
}

impl ManageCatalog {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        match self.action {
            CatalogAction::Import(lists) => lists.run(&api, form).await,
            CatalogAction::Search(search) => search.run(&api, form).await,
            CatalogAction::Lists => show_lists(&api, form).await,
            CatalogAction::Remove(lists) => lists.run(&api, form).await,
        }
    }
}

impl ImportLists {
    async fn run(self, api: &ApiClient, form: OutputForm) -> Result<(), Failure> {
        for file in &self.files {
            let name = file.display().to_string();
            let list = read_list(file);
            let list = list.map_err(|error| Failure::failed(format!("{name}: {error}")))?;
            let format = self.format.unwrap_or_else(|| suggested_format(file));
            let parameters = [("format", format.as_str())];
            let upload = api.upload("catalog", &parameters, HeaderMap::new(), list.into());
            let imported = upload.await.map_err(|failure| Failure {
                text: format!("{name}: {}", failure.text),
                ..failure
            })?;
            let reader = match form {
                OutputForm::Json => print_line(&imported)?,
                OutputForm::Text => print_line(&format_args!(
                    "{name}: {} files, list {}",
                    imported["entries"],
                    text(&imported["list"])
                ))?,
            };
            if reader == Reader::Gone {
                break;
            }
        }
        Ok(())
    }
}

fn read_list(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut list = Vec::new();
    if file.as_os_str() == STDIN {
        let stdin = std::io::stdin().lock();
        stdin.take(MAX_LIST_BYTES + 1).read_to_end(&mut list)?;
    } else {
        let file = std::fs::File::open(file)?;
        file.take(MAX_LIST_BYTES + 1).read_to_end(&mut list)?;
    }
    if list.len() as u64 > MAX_LIST_BYTES {
        let text = format!("a list has at most {MAX_LIST_BYTES} bytes");
        return Err(std::io::Error::other(text));
    }
    Ok(list)
}

fn suggested_format(file: &Path) -> ListFormat {
    let name = file.file_name().unwrap_or_default();
    ListFormat::of_file_name(&name.to_string_lossy())
}

impl SearchFiles {
    async fn run(self, api: &ApiClient, form: OutputForm) -> Result<(), Failure> {
        let key = match Digest::parse_named(&self.wanted) {
            Ok(_) => "digest",
            Err(_) => "name",
        };
        let page = api
            .call(Method::GET, "catalog", &[(key, &self.wanted)])
            .await?;
        let entries = page["entries"].as_array().map(Vec::as_slice);
        let entries = entries.unwrap_or_default();
        if entries.is_empty() {
            let text = format!("the catalog has no file {}", self.wanted);
            return Err(Failure::new(FailureCode::NotFound, text));
        }
        for entry in entries {
            let reader = match form {
                OutputForm::Json => print_line(entry)?,
                OutputForm::Text => print_line(&entry_line(entry))?,
            };
            if reader == Reader::Gone {
                break;
            }
        }
        Ok(())
    }
}

async fn show_lists(api: &ApiClient, form: OutputForm) -> Result<(), Failure> {
    let page = api.call(Method::GET, "catalog", &[]).await?;
    for list in page["lists"].as_array().into_iter().flatten() {
        let reader = match form {
            OutputForm::Json => print_line(list)?,
            OutputForm::Text => print_line(&format_args!(
                "{}  {} files",
                text(&list["list"]),
                list["entries"]
            ))?,
        };
        if reader == Reader::Gone {
            break;
        }
    }
    Ok(())
}

impl RemoveLists {
    async fn run(self, api: &ApiClient, form: OutputForm) -> Result<(), Failure> {
        for list in &self.lists {
            let list = list.to_string();
            let removed = api
                .call(Method::DELETE, "catalog", &[("list", &list)])
                .await?;
            let reader = match form {
                OutputForm::Json => print_line(&removed)?,
                OutputForm::Text => print_line(&format_args!("removed list {list}"))?,
            };
            if reader == Reader::Gone {
                break;
            }
        }
        Ok(())
    }
}

/// Formats an entry as one line.
fn entry_line(entry: &Value) -> String {
    let digests = entry["digests"].as_object().into_iter().flatten();
    let digests: Vec<String> = digests
        .map(|(algorithm, hex)| format!("{algorithm}:{}", text(hex)))
        .collect();
    let url = entry["url"].as_str().unwrap_or("-");
    format!(
        "{}  {:>10}  {:<6}  {url}  {}",
        text(&entry["name"]),
        size_of(&entry["size_bytes"]),
        text(&entry["origin"]),
        digests.join(" ")
    )
}
