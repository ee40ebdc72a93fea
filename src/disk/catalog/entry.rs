//! One entry of the catalog. The main type is [`CatalogEntry`].

use serde::{Deserialize, Serialize};

use crate::model::{Digest, ExpectedDigests, Target};

/// Where an entry of the catalog comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOrigin {
    /// The record of a target: its bytes were stored.
    Record,
    /// A list that an operator has imported.
    Import,
}

/// A file: its name, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// File name without folders.
    pub name: String,
    /// Target that has the file, if one is known.
    pub target: Option<Target>,
    pub size_bytes: Option<u64>,
    pub digests: ExpectedDigests,
    pub origin: EntryOrigin,
}

/// An entry of an imported list, as its file has it.
#[derive(Serialize, Deserialize)]
struct EntryLine {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Digests like `sha256:<hex>`.
    digests: Vec<String>,
}

impl CatalogEntry {
    /// Returns the line of an imported list.
    #[must_use]
    pub fn to_line(&self) -> String {
        let line = EntryLine {
            name: self.name.clone(),
            url: self
                .target
                .as_ref()
                .map(|target| target.as_str().to_owned()),
            size_bytes: self.size_bytes,
            digests: self.digests.iter().map(ToString::to_string).collect(),
        };
        serde_json::to_string(&line).expect("an entry contains only strings and numbers")
    }

    /// Parses a line of an imported list. Returns `None` if it is damaged.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let line: EntryLine = serde_json::from_str(line).ok()?;
        let target = line.url.map(|url| Target::parse(&url)).transpose().ok()?;
        let digests = line.digests.iter().map(|text| Digest::parse_named(text));
        Some(Self {
            name: line.name,
            target,
            size_bytes: line.size_bytes,
            digests: digests.collect::<Result<_, _>>().ok()?,
            origin: EntryOrigin::Import,
        })
    }
}
