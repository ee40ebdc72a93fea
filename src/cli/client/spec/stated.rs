//! Digests of sources that files beside a spec state: `sources`, and checksum files.
//!
//! The main type is [`NamedDigests`].

use std::collections::HashMap;
use std::path::Path;

use crate::cli::client::failure::Failure;
use crate::cli::client::url_list::read_text;
use crate::lockfile::named_digests;
use crate::model::ExpectedDigests;

/// Name of the file with digests beside a spec.
const SOURCES_FILE: &str = "sources";

/// Digests by the names of files.
#[derive(Default)]
pub struct NamedDigests {
    digests: HashMap<String, ExpectedDigests>,
}

impl NamedDigests {
    /// Reads the file `sources` beside a spec, if there is one.
    ///
    /// # Errors
    /// [`Failure`] if there is one and it cannot be read.
    pub fn beside(spec: &Path) -> Result<Self, Failure> {
        let path = spec.with_file_name(SOURCES_FILE);
        if path.is_file() {
            Self::read(&path)
        } else {
            Ok(Self::default())
        }
    }

    /// Reads a checksum file.
    ///
    /// # Errors
    /// [`Failure`] that names the file, and the line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let text = read_text(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        let named = named_digests(&text);
        let named = named.map_err(|error| Failure::usage(format!("{name}:{error}")))?;
        let mut digests: HashMap<String, ExpectedDigests> = HashMap::new();
        for (file, digest) in named {
            digests
                .entry(file)
                .or_insert_with(ExpectedDigests::nothing)
                .add(digest);
        }
        Ok(Self { digests })
    }

    /// Returns the digests of a file. Empty if none is stated.
    pub fn of(&self, file: &str) -> ExpectedDigests {
        self.digests
            .get(file)
            .cloned()
            .unwrap_or_else(ExpectedDigests::nothing)
    }
}
