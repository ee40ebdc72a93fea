//! Values that must not appear in logs or output.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum size of a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Password, or a URL that may contain one.
///
/// `Debug`, deserialization errors and the printed configuration never show the value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the secret of configuration key `key`, or reads it from the file of `<key>_file`.
    ///
    /// # Errors
    /// A line with the key, if both keys are set, or if the file is unreadable or empty.
    pub fn or_from_file(&self, key: &str, file: &Path) -> Result<Self, String> {
        if file.as_os_str().is_empty() {
            return Ok(self.clone());
        }
        if !self.is_empty() {
            return Err(format!("{key} and {key}_file cannot both be set"));
        }
        let complaint = |why: &dyn fmt::Display| format!("{key}_file: {}: {why}", file.display());
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(|why| complaint(&why))?;
        opened
            .take(MAX_SECRET_BYTES)
            .read_to_string(&mut text)
            .map_err(|why| complaint(&why))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(complaint(&"the file is empty"));
        }
        Ok(Self::from(text.to_owned()))
    }

    fn shown(&self) -> &'static str {
        if self.is_empty() { "" } else { "…" }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The library's error message would show a value of another type.
        let text = String::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("must be a quoted string"))?;
        Ok(Self(text))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}
