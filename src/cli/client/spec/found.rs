//! The spec files that arguments name, and what they contain.
//!
//! The main types are [`SpecArgs`] and [`FoundSpecs`].

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cli::client::failure::Failure;
use crate::cli::exit::FailureCode;
use crate::cli::output::OutputForm;
use crate::lockfile::{RegistryBase, RegistryKind};
use crate::spec::{MAX_SPEC_BYTES, SpecDefine, SpecOptions, SpecSources, list_sources};

/// Bound on the specs of one command. The largest distributions have some 30,000.
const MAX_SPECS: usize = 200_000;

/// Bound on nested folders.
const MAX_FOLDER_DEPTH: usize = 64;

#[derive(clap::Args)]
pub struct SpecArgs {
    /// Spec files, and folders that contain some
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Macro in addition to those of the spec, as for rpmbuild
    #[arg(short = 'D', long, value_name = "\"NAME VALUE\"")]
    pub define: Vec<SpecDefine>,
    /// Base URL of a registry whose URL no spec contains: cargo or pypi
    #[arg(long, value_name = "KIND=URL")]
    pub registry: Vec<RegistryBase>,
}

/// Spec files of a command.
pub struct FoundSpecs {
    pub paths: Vec<PathBuf>,
    pub options: SpecOptions,
    /// Folders that cannot be read.
    pub problems: SpecProblems,
}

/// Paths that failed, already reported.
pub struct SpecProblems {
    form: OutputForm,
    pub count: usize,
}

impl SpecProblems {
    /// Returns an empty list of problems, which are reported in this form.
    pub fn new(form: OutputForm) -> Self {
        Self { form, count: 0 }
    }

    /// Reports a path that failed.
    pub fn add(&mut self, path: &Path, error: &dyn std::fmt::Display) {
        let failure = Failure::failed(error.to_string());
        failure.report_item(self.form, "file", &path.display().to_string());
        self.count += 1;
    }

    /// Returns the failure of the command, if any path failed.
    pub fn finish(&self) -> Result<(), Failure> {
        if self.count == 0 {
            Ok(())
        } else {
            Err(Failure::silent(FailureCode::Failed))
        }
    }
}

impl SpecArgs {
    /// Finds all spec files, in the order of arguments and names. Folders that cannot be read are
    /// reported.
    ///
    /// # Errors
    /// [`Failure`] if there is no spec file at all.
    pub fn find(self, form: OutputForm) -> Result<FoundSpecs, Failure> {
        let mut defines: Vec<SpecDefine> =
            self.registry.iter().filter_map(registry_macro).collect();
        defines.extend(self.define);
        let mut found = FoundSpecs {
            paths: Vec::new(),
            options: SpecOptions { defines },
            problems: SpecProblems::new(form),
        };
        for path in &self.paths {
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => found.walk(path, 0),
                Ok(_) => found.paths.push(path.clone()),
                Err(error) => found.problems.add(path, &error),
            }
        }
        if found.paths.is_empty() && found.problems.count == 0 {
            return Err(Failure::usage("the folders contain no spec file"));
        }
        if found.paths.len() > MAX_SPECS {
            return Err(Failure::usage(format!(
                "a command takes at most {MAX_SPECS} specs"
            )));
        }
        Ok(found)
    }
}

impl FoundSpecs {
    /// Adds the specs of a folder. Symbolic links to folders, hidden folders and hidden files are
    /// skipped. Editors keep their locks in the latter.
    fn walk(&mut self, folder: &Path, depth: usize) {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.problems.add(folder, &error),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < MAX_FOLDER_DEPTH {
                    self.walk(&path, depth + 1);
                }
            } else if path.extension().is_some_and(|ending| ending == "spec") {
                self.add_file(path);
            }
        }
    }

    /// Adds a file of a folder. A pipe would block the command.
    fn add_file(&mut self, path: PathBuf) {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => self.paths.push(path),
            // A link to a folder.
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => self.problems.add(&path, &"is no regular file"),
            Err(error) => self.problems.add(&path, &error),
        }
    }

    /// Reads the specs one after the other. Those that cannot be read are reported, as are
    /// failures of `work` that concern one spec: [`FailureCode::Usage`].
    pub fn for_each(
        &mut self,
        mut work: impl FnMut(&Path, &[u8], SpecSources) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for path in std::mem::take(&mut self.paths) {
            match self.read(&path) {
                Ok((bytes, listed)) => match work(&path, &bytes, listed) {
                    Err(failure) if failure.code == FailureCode::Usage => {
                        self.problems.add(&path, &failure.text);
                    }
                    worked => worked?,
                },
                Err(failure) => self.problems.add(&path, &failure.text),
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<(Vec<u8>, SpecSources), Failure> {
        let bytes = read_bounded(path)?;
        let listed = list_sources(&bytes, &self.options);
        let listed = listed.map_err(|error| Failure::failed(error.to_string()))?;
        Ok((bytes, listed))
    }
}

/// Returns the macro by which distributions name a registry.
fn registry_macro(base: &RegistryBase) -> Option<SpecDefine> {
    let name = match base.kind {
        RegistryKind::Cargo => "__crates_url",
        RegistryKind::Pypi => "__pypi_url",
        RegistryKind::Npm | RegistryKind::Go | RegistryKind::Files => return None,
    };
    Some(SpecDefine {
        name: name.to_owned(),
        body: base.url.clone(),
    })
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more shows that the file is too large.
    File::open(path)?
        .take(MAX_SPEC_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
