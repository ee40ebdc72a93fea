//! What things are called in the bucket. The shape is that of the folder, behind the prefix.

use crate::model::{Key, Sha256};

#[derive(Debug, Clone)]
pub struct ObjectKeys {
    prefix: String,
}

impl ObjectKeys {
    /// A prefix is a folder, whether it was written with a slash at its end or without.
    pub fn new(prefix: &str) -> Self {
        let slash = if prefix.is_empty() || prefix.ends_with('/') {
            ""
        } else {
            "/"
        };
        Self {
            prefix: format!("{prefix}{slash}"),
        }
    }

    /// `objects/`
    pub fn objects(&self) -> String {
        format!("{}objects/", self.prefix)
    }

    /// `records/`
    pub fn records(&self) -> String {
        format!("{}records/", self.prefix)
    }

    /// `pins/`
    pub fn pins(&self) -> String {
        format!("{}pins/", self.prefix)
    }

    /// `pins/ab/<key>/`
    pub fn pins_of(&self, key: Key) -> String {
        let name = key.to_string();
        format!("{}{}/{name}/", self.pins(), &name[..2])
    }

    /// `used/`
    pub fn uses(&self) -> String {
        format!("{}used/", self.prefix)
    }

    /// `used/began`: since when uses are told, by the age of the marker.
    pub fn uses_began(&self) -> String {
        format!("{}began", self.uses())
    }

    /// `objects/ab/abcdef...`
    pub fn object(&self, sha256: Sha256) -> String {
        let name = sha256.to_string();
        format!("{}{}/{name}", self.objects(), &name[..2])
    }

    /// `used/ab/abcdef...`: when an object was last asked for, by the age of the marker.
    pub fn used(&self, sha256: Sha256) -> String {
        let name = sha256.to_string();
        format!("{}{}/{name}", self.uses(), &name[..2])
    }

    /// `records/ab/<key>/`
    pub fn records_of(&self, key: Key) -> String {
        let name = key.to_string();
        format!("{}{}/{name}/", self.records(), &name[..2])
    }

    /// `records/ab/<key>/<sha256>.json`
    pub fn record(&self, key: Key, sha256: Sha256) -> String {
        format!("{}{sha256}.json", self.records_of(key))
    }
}

/// The digest that the name of an object, of a use or of a pin ends with.
#[must_use]
pub fn sha256_of(name: &str) -> Option<Sha256> {
    name.rsplit_once('/')?.1.parse().ok()
}

/// Target and digest of a pin, by its name.
#[must_use]
pub fn pin_of(name: &str) -> Option<(Key, Sha256)> {
    let (folder, sha256) = name.rsplit_once('/')?;
    Some((
        folder.rsplit_once('/')?.1.parse().ok()?,
        sha256.parse().ok()?,
    ))
}

/// Target and digest of a record, by its name.
#[must_use]
pub fn record_of(name: &str) -> Option<(Key, Sha256)> {
    let (folder, file) = name.rsplit_once('/')?;
    let key = folder.rsplit_once('/')?.1.parse().ok()?;
    Some((key, file.strip_suffix(".json")?.parse().ok()?))
}
