//! Texts of an order for a job that name files: specs, lock files and bills of materials.

use serde::Serialize;
use utoipa::ToSchema;

use super::job_views::JobSummary;
use crate::gateway::RequestError;
use crate::jobs::JobKind;
use crate::lockfile::{RegistryBase, RegistryBases, RegistryKind, parse_lockfile};
use crate::model::{ExpectedDigests, WantedFile, sanitize_line};
use crate::spec::{SpecDefine, SpecOptions, list_sources};

/// Bound on the notes in the response to an order.
const MAX_NOTES: usize = 1000;

/// Texts that name files, for jobs of the kind `fetch`.
#[derive(Debug, Default)]
pub struct JobTexts {
    pub spec: String,
    pub lockfile: String,
    pub sbom: String,
    /// Base URLs, such as `cargo=URL`.
    pub registries: Vec<String>,
}

/// A job that was created.
#[derive(Serialize, ToSchema)]
pub struct CreatedJob {
    #[serde(flatten)]
    pub job: JobSummary,
    /// Sources whose URL is not known, and entries without a file or a digest.
    pub notes: Vec<String>,
}

/// Files that texts name.
#[derive(Default)]
pub struct NamedFiles {
    pub files: Vec<WantedFile>,
    pub notes: Vec<String>,
}

impl JobTexts {
    /// Returns the files of all texts.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if a text cannot be read, or the job is no fetch.
    pub fn files(&self, kind: JobKind) -> Result<NamedFiles, RequestError> {
        let mut named = NamedFiles::default();
        let has_text = [&self.spec, &self.lockfile, &self.sbom]
            .iter()
            .any(|text| !text.is_empty());
        if !has_text {
            return Ok(named);
        }
        if kind != JobKind::Fetch {
            return Err(bad_text(
                "spec, lockfile and sbom",
                &"only a fetch takes them",
            ));
        }
        let bases: Result<Vec<RegistryBase>, _> =
            self.registries.iter().map(|base| base.parse()).collect();
        let bases = RegistryBases(bases.map_err(|error| bad_text("registries", &error))?);
        if !self.spec.is_empty() {
            named.add_spec(&self.spec, &bases)?;
        }
        for (field, text) in [("lockfile", &self.lockfile), ("sbom", &self.sbom)] {
            if !text.is_empty() {
                let locked = parse_lockfile("", text, &bases);
                let locked = locked.map_err(|error| bad_text(field, &error))?;
                named.files.extend(locked.files);
                named
                    .notes
                    .extend(locked.notes.iter().map(ToString::to_string));
            }
        }
        named.notes.truncate(MAX_NOTES);
        Ok(named)
    }
}

impl NamedFiles {
    fn add_spec(&mut self, text: &str, bases: &RegistryBases) -> Result<(), RequestError> {
        let macros = [
            ("__crates_url", RegistryKind::Cargo),
            ("__pypi_url", RegistryKind::Pypi),
        ];
        let defines = macros.into_iter().filter_map(|(name, kind)| {
            let body = bases.get(kind)?.to_owned();
            let name = name.to_owned();
            Some(SpecDefine { name, body })
        });
        let options = SpecOptions {
            defines: defines.collect(),
        };
        let listed = list_sources(text.as_bytes(), &options);
        let listed = listed.map_err(|error| bad_text("spec", &error))?;
        for source in listed.sources {
            let place = format!("line {}", source.line);
            for note in &source.unresolved {
                self.notes.push(sanitize_line(&format!("{place}: {note}")));
            }
            for url in source.urls {
                match url.url.parse() {
                    Ok(url) => self.files.push(WantedFile {
                        url,
                        expected: ExpectedDigests::nothing(),
                    }),
                    Err(error) => self.notes.push(format!("{place}: {error}")),
                }
            }
        }
        Ok(())
    }
}

fn bad_text(field: &str, error: &dyn std::fmt::Display) -> RequestError {
    RequestError::BadRequest(format!("the job is invalid: {field}: {error}"))
}
