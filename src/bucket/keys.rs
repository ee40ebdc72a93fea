//! Keys of objects, records, pins and uses in the bucket.
//!
//! The keys have the layout of the cache folder, below the configured prefix.

use crate::model::{Key, Sha256};

/// Builds the keys of one bucket.
#[derive(Debug, Clone)]
pub struct ObjectKeys {
    prefix: String,
}

impl ObjectKeys {
    /// Creates the keys below `prefix`, with or without a slash at its end.
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

    /// `pins/ab/<key>/<sha256>`
    pub fn pin(&self, key: Key, sha256: Sha256) -> String {
        format!("{}{sha256}", self.pins_of(key))
    }

    /// `used/`
    pub fn uses(&self) -> String {
        format!("{}used/", self.prefix)
    }

    /// `used/began`: its modification time is the time since which uses are recorded.
    pub fn uses_began(&self) -> String {
        format!("{}began", self.uses())
    }

    /// `objects/ab/abcdef...`
    pub fn object(&self, sha256: Sha256) -> String {
        let name = sha256.to_string();
        format!("{}{}/{name}", self.objects(), &name[..2])
    }

    /// `used/ab/abcdef...`: its modification time is the last recorded use of an object.
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

    /// Returns the digest of an object by its key. Returns `None` for keys of other files.
    pub fn object_digest(&self, object_key: &str) -> Option<Sha256> {
        parse_digest(object_key).filter(|sha256| self.object(*sha256) == object_key)
    }
}

/// Returns the digest at the end of the key of an object, a use or a pin.
#[must_use]
pub fn parse_digest(object_key: &str) -> Option<Sha256> {
    object_key.rsplit_once('/')?.1.parse().ok()
}

/// Returns the target and the digest in the key of a pin.
#[must_use]
pub fn parse_pin_key(pin_key: &str) -> Option<(Key, Sha256)> {
    let (folder, sha256) = pin_key.rsplit_once('/')?;
    Some((
        folder.rsplit_once('/')?.1.parse().ok()?,
        sha256.parse().ok()?,
    ))
}

/// Returns the target and the digest in the key of a record.
#[must_use]
pub fn parse_record_key(record_key: &str) -> Option<(Key, Sha256)> {
    let (folder, file) = record_key.rsplit_once('/')?;
    let key = folder.rsplit_once('/')?.1.parse().ok()?;
    Some((key, file.strip_suffix(".json")?.parse().ok()?))
}
