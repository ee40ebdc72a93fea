//! The files of a lock file, collected while it is read.
//!
//! The main type is [`LockedFiles`].

use std::collections::BTreeMap;

use super::error::LockfileError;
use super::registry::{RegistryBases, RegistryKind};
use crate::model::{Digest, ExpectedDigests, FileUrl, WantedFile};

/// Bound on the files of one lock file.
const MAX_FILES: usize = 100_000;

/// Files of a lock file.
#[derive(Debug, Clone, Default)]
pub struct LockedFiles {
    pub files: Vec<WantedFile>,
    /// Entries without a file or without a digest, by the reason.
    pub notes: Vec<LockfileNote>,
}

/// Entries that lack something, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockfileNote {
    pub reason: String,
    pub count: usize,
    /// The first entry.
    pub first: String,
}

impl std::fmt::Display for LockfileNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            reason,
            count,
            first,
        } = self;
        match count {
            1 => write!(f, "{first}: {reason}"),
            _ => write!(f, "{count} entries, the first is {first}: {reason}"),
        }
    }
}

/// Files that are collected.
pub struct LockListing<'a> {
    bases: &'a RegistryBases,
    files: Vec<WantedFile>,
    notes: BTreeMap<String, (usize, String)>,
}

impl<'a> LockListing<'a> {
    pub fn new(bases: &'a RegistryBases) -> Self {
        Self {
            bases,
            files: Vec::new(),
            notes: BTreeMap::new(),
        }
    }

    /// Adds a file. A fragment of the URL is removed.
    pub fn add(
        &mut self,
        name: &str,
        url: &str,
        digests: impl IntoIterator<Item = Digest>,
    ) -> Result<(), LockfileError> {
        let url = url.split('#').next().unwrap_or(url);
        if !["https://", "http://", "ftp://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            let scheme = url.split_once(':').map_or("no URL", |(scheme, _)| scheme);
            self.note(name, &format!("{scheme} cannot be fetched as a file"));
            return Ok(());
        }
        match url.parse::<FileUrl>() {
            Ok(url) => {
                let mut expected = ExpectedDigests::nothing();
                expected.extend(digests);
                self.files.push(WantedFile { url, expected });
            }
            Err(error) => self.note(name, &error.to_string()),
        }
        if self.files.len() > MAX_FILES {
            return Err(LockfileError::TooMany(MAX_FILES));
        }
        Ok(())
    }

    /// Adds a file below the base URL of a registry. Without one, the entry is noted.
    pub fn add_below(
        &mut self,
        kind: RegistryKind,
        name: &str,
        path: &str,
        digests: impl IntoIterator<Item = Digest>,
    ) -> Result<(), LockfileError> {
        if let Some(base) = self.bases.get(kind) {
            self.add(name, &format!("{base}/{path}"), digests)
        } else {
            self.note(
                name,
                &format!("the file states no URL; name one by {kind}=URL"),
            );
            Ok(())
        }
    }

    /// Notes what cannot be known of an entry.
    pub fn note(&mut self, name: &str, reason: &str) {
        let first = || (0, crate::model::sanitize_line(name));
        self.notes.entry(reason.to_owned()).or_insert_with(first).0 += 1;
    }

    /// Returns the files.
    ///
    /// # Errors
    /// [`LockfileError::Nothing`] if there is none.
    pub fn finish(self) -> Result<LockedFiles, LockfileError> {
        let notes = self.notes.into_iter();
        let note = |(reason, (count, first))| LockfileNote {
            reason,
            count,
            first,
        };
        let notes: Vec<LockfileNote> = notes.map(note).collect();
        if self.files.is_empty() {
            let first = notes.first().map(ToString::to_string);
            return Err(LockfileError::Nothing(first));
        }
        Ok(LockedFiles {
            files: WantedFile::merge(self.files),
            notes,
        })
    }
}
