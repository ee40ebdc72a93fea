//! `millpond spec import`: stores the files beside specs under the URLs of their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::found::SpecArgs;
use super::stated::NamedDigests;
use crate::cli::client::api_client::ApiClient;
use crate::cli::client::failure::Failure;
use crate::cli::client::import::{Copy, Imports};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::model::Target;
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
        let mut copies = SpecCopies::default();
        found.for_each(|path, _, listed| copies.add_spec(path, &listed, &prefix))?;
        for (path, text) in &copies.conflicts {
            found.problems.add(path, text);
        }
        let missing = copies.missing;
        let copies = copies.finish();
        if copies.is_empty() && found.problems.count == 0 {
            let text = "no source of the specs lies beside them";
            return Err(Failure::usage(text));
        }
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

/// Files of all specs by their URLs.
#[derive(Default)]
struct SpecCopies {
    copies: BTreeMap<String, Copy>,
    /// URLs for which two specs have files with different bytes. None of them is imported.
    ambiguous: BTreeSet<String>,
    /// Files with such URLs, and the reasons.
    conflicts: Vec<(PathBuf, String)>,
    /// Number of URLs without a file.
    missing: usize,
}

impl SpecCopies {
    /// Adds the files of a spec.
    fn add_spec(
        &mut self,
        spec: &Path,
        listed: &SpecSources,
        gateway_prefix: &str,
    ) -> Result<(), Failure> {
        let beside = NamedDigests::beside(spec)?;
        for url in listed.sources.iter().flat_map(|source| &source.urls) {
            let Some(path) = file_of(spec, &url.file) else {
                self.missing += 1;
                continue;
            };
            let text = url.url.strip_prefix(gateway_prefix);
            self.add(Copy {
                path,
                url: text.unwrap_or(&url.url).to_owned(),
                expected: beside.of(&url.file),
            });
        }
        Ok(())
    }

    /// Adds a file. Another spec may have one with the same URL, which must have the same bytes.
    fn add(&mut self, copy: Copy) {
        let Some(known) = self.copies.get_mut(&copy.url) else {
            self.copies.insert(copy.url.clone(), copy);
            return;
        };
        let text = match have_same_bytes(&known.path, &copy.path) {
            Ok(true) => {
                known.expected.extend(copy.expected.iter().cloned());
                return;
            }
            Ok(false) => format!(
                "{} has other bytes, and the same URL {}; none is imported",
                known.path.display(),
                Target::redact(&copy.url)
            ),
            Err(error) => error.to_string(),
        };
        self.ambiguous.insert(copy.url);
        self.conflicts.push((copy.path, text));
    }

    /// Returns the files that can be imported.
    fn finish(self) -> Vec<Copy> {
        let copies = self.copies.into_values();
        copies
            .filter(|copy| !self.ambiguous.contains(&copy.url))
            .collect()
    }
}

fn have_same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    if fs::canonicalize(one)? == fs::canonicalize(other)? {
        return Ok(true);
    }
    if fs::metadata(one)?.len() != fs::metadata(other)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (
        BufReader::new(File::open(one)?),
        BufReader::new(File::open(other)?),
    );
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        one.consume(length);
        other.consume(length);
    }
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
