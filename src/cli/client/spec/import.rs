//! `millpond spec import`: stores the files beside specs under the URLs of their sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::found::SpecArgs;
use super::stated::NamedDigests;
use crate::cli::client::api_client::ApiClient;
use crate::cli::client::failure::Failure;
use crate::cli::client::import::{Copy, Imports};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::spec::SpecSources;

/// Folders with sources, from that of the spec: beside it, and those of `rpmbuild`.
const SOURCE_FOLDERS: [&str; 3] = ["", "../SOURCES", "SOURCES"];

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond spec import x.spec --token-file token
  millpond spec import specs/

A file must have the digest that a file named sources beside the spec states. MD5 and SHA-256 are
printed before and after, so that the file can be removed from its folder.")]
pub struct ImportSpecs {
    #[command(flatten)]
    specs: SpecArgs,
    /// Import also a file whose first bytes are not those that its name promises
    #[arg(long)]
    force: bool,
}

impl ImportSpecs {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let prefix = format!("{}/", ApiClient::new(gateway, form)?.public_base());
        let mut found = self.specs.find(form)?;
        let mut copies: BTreeMap<String, Copy> = BTreeMap::new();
        let mut missing = 0_usize;
        found.for_each(|path, _, listed| {
            missing += add_copies(path, &listed, &prefix, &mut copies)?;
            Ok(())
        })?;
        if copies.is_empty() && found.problems.count == 0 {
            let text = "no source of the specs lies beside them";
            return Err(Failure::usage(text));
        }
        let copies: Vec<Copy> = copies.into_values().collect();
        let imports = Imports::new(gateway, form, copies.len(), self.force)?;
        let imported = imports.import_all(&copies).await;
        if missing > 0 && form == OutputForm::Text {
            notice(&format_args!(
                "millpond: sources without a file beside the spec: {missing}\n"
            ));
        }
        imported.and_then(|()| found.problems.finish())
    }
}

/// Adds the files of a spec. Returns the number of URLs without a file.
fn add_copies(
    spec: &Path,
    listed: &SpecSources,
    gateway_prefix: &str,
    copies: &mut BTreeMap<String, Copy>,
) -> Result<usize, Failure> {
    let beside = NamedDigests::beside(spec)?;
    let mut missing = 0;
    for url in listed.sources.iter().flat_map(|source| &source.urls) {
        let Some(path) = file_of(spec, &url.file) else {
            missing += 1;
            continue;
        };
        let text = url
            .url
            .strip_prefix(gateway_prefix)
            .unwrap_or(&url.url)
            .to_owned();
        copies.entry(text.clone()).or_insert_with(|| Copy {
            path,
            url: text,
            expected: beside.of(&url.file),
        });
    }
    Ok(missing)
}

/// Returns the file of a source. A name never leads out of the folders.
fn file_of(spec: &Path, name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return None;
    }
    let folder = spec.parent()?;
    let paths = SOURCE_FOLDERS
        .iter()
        .map(|source| folder.join(source).join(name));
    let mut files = paths.filter(|path| path.is_file());
    files.next()
}
