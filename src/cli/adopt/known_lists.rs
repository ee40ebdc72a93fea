//! Specs and lists that an adoption is given: the URLs and digests that they state.
//!
//! The main type is [`ListArgs`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::adopt::{ExcludedFiles, KnownSource, KnownSources, TooManySources};
use crate::cache::{CatalogEntry, EntryOrigin};
use crate::catalog::{ListFormat, parse_apt_list};
use crate::cli::client::failure::Failure;
use crate::cli::client::spec::{NamedDigests, SpecArgs, SpecProblems};
use crate::cli::client::url_list::read_text;
use crate::cli::output::OutputForm;
use crate::lockfile::{LockfileError, RegistryBase, RegistryBases, RegistryKind, parse_lockfile};
use crate::model::{ExpectedDigests, StoredHeaders, Target, file_names};
use crate::spec::{SpecDefine, SpecSources};

/// Bound on nested folders of lists.
const MAX_DEPTH: usize = 16;

/// Names of lists that are read in folders, in addition to those that end with a suffix.
const LIST_NAMES: [&str; 8] = [
    "sources",
    "Manifest",
    "distinfo",
    "conandata.yml",
    "Cargo.lock",
    "package-lock.json",
    "yarn.lock",
    ".SRCINFO",
];

/// Suffixes of lists that are read in folders.
const LIST_SUFFIXES: [&str; 4] = [".hash", ".nix", ".dsc", "conda-lock.yml"];

/// Names of the lists of an apt archive. A client of apt keeps them as `<host>_<path>_<name>`.
const APT_NAMES: [&str; 2] = ["Packages", "Sources"];

/// Bound on an unpacked list of an apt archive, in bytes. `Sources` of Debian 12 has some 50 MB.
const MAX_APT_BYTES: u64 = 256 << 20;

#[derive(clap::Args)]
pub struct ListArgs {
    /// Spec file, or folder that contains some: they state the URLs of sources
    #[arg(long, value_name = "PATH")]
    specs: Vec<PathBuf>,
    /// Manifest, sources, .hash, distinfo, Packages, Sources, checksum or lock file, or folder that
    /// contains some: they state digests and URLs
    #[arg(long = "list", value_name = "PATH")]
    lists: Vec<PathBuf>,
    /// Macro in addition to those of the specs, as for rpmbuild
    #[arg(short = 'D', long, value_name = "\"NAME VALUE\"")]
    define: Vec<SpecDefine>,
    /// Base URL of a registry whose URL no spec or lock file contains, such as cargo=URL
    #[arg(long, value_name = "KIND=URL")]
    registry: Vec<RegistryBase>,
}

/// Statements of all specs and lists.
pub struct KnownLists {
    pub sources: KnownSources,
    /// The files that were read.
    pub excluded: ExcludedFiles,
    /// Files that could not be read, already reported.
    pub problems: SpecProblems,
}

/// Reads specs and lists.
struct StatementReader {
    known: KnownLists,
    bases: RegistryBases,
    /// URL of the gateway with a slash, which rewritten specs have in front of URLs.
    gateway_prefix: Option<String>,
}

impl ListArgs {
    /// Reads all specs and lists. Those that cannot be read are reported.
    ///
    /// # Errors
    /// [`Failure`] if there is none in a folder, or if they name too many files.
    pub fn read(
        self,
        public_base: Option<String>,
        form: OutputForm,
    ) -> Result<KnownLists, Failure> {
        let mut reader = StatementReader {
            known: KnownLists {
                sources: KnownSources::default(),
                excluded: ExcludedFiles::default(),
                problems: SpecProblems::new(form),
            },
            bases: RegistryBases(self.registry.clone()),
            gateway_prefix: public_base.map(|base| format!("{base}/")),
        };
        if !self.specs.is_empty() {
            let arguments = SpecArgs {
                paths: self.specs,
                define: self.define,
                registry: self.registry,
            };
            let mut found = arguments.find(form)?;
            found.for_each(|path, _, listed| reader.add_spec(path, &listed))?;
            reader.known.problems.count += found.problems.count;
        }
        for list in &self.lists {
            match fs::metadata(list) {
                Ok(metadata) if metadata.is_dir() => reader.add_folder(list, 0)?,
                Ok(_) => reader.add_list(list)?,
                Err(error) => reader.known.problems.add(list, &error),
            }
        }
        Ok(reader.known)
    }
}

impl StatementReader {
    /// Adds the sources of a spec, with the digests of the file `sources` beside it.
    fn add_spec(&mut self, path: &Path, listed: &SpecSources) -> Result<(), Failure> {
        let list = self.exclude(path);
        let beside = NamedDigests::beside(path)?;
        let urls = listed.sources.iter().flat_map(|source| &source.urls);
        for url in urls {
            let prefix = self.gateway_prefix.as_deref();
            let text = prefix.and_then(|prefix| url.url.strip_prefix(prefix));
            let source = KnownSource {
                target: Target::parse(text.unwrap_or(&url.url)).ok(),
                digests: beside.of(&url.file),
                list: Arc::clone(&list),
            };
            if source.target.is_some() || !source.digests.is_empty() {
                self.add(&url.file, source)?;
            }
        }
        Ok(())
    }

    /// Adds the lists in a folder and its subfolders, by their names.
    fn add_folder(&mut self, folder: &Path, depth: usize) -> Result<(), Failure> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.known.problems.add(folder, &error);
                return Ok(());
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type();
            let is_hidden = name.starts_with('.');
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                if !is_hidden && depth < MAX_DEPTH {
                    self.add_folder(&path, depth + 1)?;
                }
            } else if kind.is_ok_and(|kind| kind.is_file()) && is_list(&path, &name) {
                self.add_list(&path)?;
            }
        }
        Ok(())
    }

    /// Adds a list. One that cannot be read is reported.
    fn add_list(&mut self, path: &Path) -> Result<(), Failure> {
        let list = self.exclude(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let entries = match apt_list(&name) {
            Some(packing) => self.apt_entries(path, packing),
            None => read_text(path)
                .map_err(|error| error.to_string())
                .and_then(|text| self.entries_of(path, &text)),
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(problem) => {
                self.known.problems.add(path, &problem);
                return Ok(());
            }
        };
        for entry in entries {
            self.add(
                &entry.name,
                KnownSource {
                    target: entry.target,
                    digests: entry.digests,
                    list: Arc::clone(&list),
                },
            )?;
        }
        Ok(())
    }

    /// Parses a list of an apt archive, whose paths are below the base URL for files.
    fn apt_entries(&self, path: &Path, packing: AptPacking) -> Result<Vec<CatalogEntry>, String> {
        let text = packing.read(path).map_err(|error| error.to_string())?;
        let entries = parse_apt_list(&text, self.bases.get(RegistryKind::Files));
        entries.map_err(|bad| format!("line {}: {}", bad.line, bad.reason))
    }

    /// Parses a list in the format that its name or its contents suggest.
    fn entries_of(&self, path: &Path, text: &str) -> Result<Vec<CatalogEntry>, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let parse = |format: ListFormat, text: &str| {
            let entries = format.parse(text);
            entries.map_err(|bad| format!("line {}: {}", bad.line, bad.reason))
        };
        match ListFormat::of_file_name(&name) {
            ListFormat::Sums => {}
            ListFormat::GentooManifest => {
                return parse(ListFormat::GentooManifest, &with_src_uri(path, text));
            }
            format => return parse(format, text),
        }
        match parse_lockfile(&name, text, &self.bases) {
            Ok(locked) => {
                let files = locked.files.iter();
                let located = files.filter_map(|file| {
                    let target = Target::parse(file.url.as_str()).ok()?;
                    Some((target, file.expected.clone()))
                });
                Ok(located.flat_map(named_entries).collect())
            }
            // A list of sums has URLs or names behind the digests.
            Err(LockfileError::Unknown) => {
                let named = parse(ListFormat::Sums, text);
                named.or_else(|_| parse(ListFormat::FedoraSources, text))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Notes that a file was read. Returns its path without symbolic links.
    fn exclude(&mut self, path: &Path) -> Arc<Path> {
        if let Ok(metadata) = fs::metadata(path) {
            let identity = (metadata.dev(), metadata.ino());
            self.known.excluded.lists.insert(identity);
        }
        path.canonicalize()
            .unwrap_or_else(|_| path.to_owned())
            .into()
    }

    fn add(&mut self, name: &str, source: KnownSource) -> Result<(), Failure> {
        let added = self.known.sources.add(name, source);
        added.map_err(|error: TooManySources| Failure::usage(error.to_string()))
    }
}

/// How a list of an apt archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AptPacking {
    None,
    Gzip,
    /// A format that Millpond cannot unpack.
    Other,
}

impl AptPacking {
    fn read(self, path: &Path) -> io::Result<String> {
        let file = File::open(path)?;
        let reader: Box<dyn Read> = match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Other => {
                let text = "only gzip is unpacked here; unpack the list first";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        let mut text = String::new();
        let read_bytes = reader.take(MAX_APT_BYTES + 1).read_to_string(&mut text)?;
        if read_bytes as u64 > MAX_APT_BYTES {
            let text = format!("a list of apt has at most {MAX_APT_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(text)
    }
}

/// Returns how a list of an apt archive is packed. `None` for the name of another file.
fn apt_list(name: &str) -> Option<AptPacking> {
    let (stem, packing) = match name.rsplit_once('.') {
        Some((stem, "gz")) => (stem, AptPacking::Gzip),
        Some((stem, "xz" | "bz2" | "lz4" | "zst")) => (stem, AptPacking::Other),
        _ => (name, AptPacking::None),
    };
    let last = stem.rsplit('_').next().unwrap_or(stem);
    APT_NAMES.contains(&last).then_some(packing)
}

/// Returns whether the same list lies in the folder unpacked, or else as gzip, which is read then.
fn has_simpler_form(packed: &Path) -> bool {
    let is_gzip = packed.extension().is_some_and(|suffix| suffix == "gz");
    packed.with_extension("").exists() || (!is_gzip && packed.with_extension("gz").exists())
}

/// Returns whether a file in a folder is read, by its name.
fn is_list(path: &Path, name: &str) -> bool {
    match apt_list(name) {
        Some(AptPacking::None) => true,
        Some(_) => !has_simpler_form(path),
        None => {
            LIST_NAMES.contains(&name) || LIST_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        }
    }
}

/// Returns the entries of a file: one for each of its names.
fn named_entries(
    (target, digests): (Target, ExpectedDigests),
) -> impl Iterator<Item = CatalogEntry> {
    let names = file_names(&target, &StoredHeaders::default());
    names.into_iter().map(move |name| CatalogEntry {
        name,
        target: Some(target.clone()),
        size_bytes: None,
        digests: digests.clone(),
        origin: EntryOrigin::Import,
    })
}

/// Returns a Manifest with the lines of its package in the metadata cache of its repository, which
/// have the URLs: `metadata/md5-cache/<category>/<package>-<version>`.
fn with_src_uri(manifest: &Path, text: &str) -> String {
    let mut joined = format!("{text}\n");
    let package = manifest
        .parent()
        .and_then(|folder| folder.canonicalize().ok());
    let parts = package.as_deref().and_then(|package| {
        let (name, category) = (package.file_name()?.to_str()?, package.parent()?);
        let cache = category.parent()?.join("metadata/md5-cache");
        Some((format!("{name}-"), cache.join(category.file_name()?)))
    });
    let Some((prefix, cache)) = parts else {
        return joined;
    };
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            && let Ok(text) = read_text(&entry.path())
        {
            let lines = text.lines().filter(|line| line.starts_with("SRC_URI="));
            lines.for_each(|line| joined.extend([line, "\n"]));
        }
    }
    joined
}
