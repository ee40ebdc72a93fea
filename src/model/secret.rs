//! Values that must not appear in logs or output.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ConfigError;

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
    /// [`ConfigError`] if both keys are set, or if the file is unreadable or empty.
    pub fn or_from_file(&self, key: &str, file: &Path) -> Result<Self, ConfigError> {
        if file.as_os_str().is_empty() {
            return Ok(self.clone());
        }
        let file_key = format!("{key}_file");
        if !self.is_empty() {
            let reason = format!("cannot be set together with {key}");
            return Err(ConfigError::new(file_key, reason));
        }
        Self::from_file(&file_key, file)
    }

    /// Reads the secret from a file, which the key or option `key` names.
    ///
    /// # Errors
    /// [`ConfigError`] if the file is unreadable or empty.
    pub fn from_file(key: &str, file: &Path) -> Result<Self, ConfigError> {
        match read_secret(file) {
            Ok(text) if text.is_empty() => {
                let reason = format!("{}: the file is empty", file.display());
                Err(ConfigError::new(key.to_owned(), reason))
            }
            Ok(text) => Ok(Self(text)),
            Err(error) => {
                let reason = format!("{}: {error}", file.display());
                Err(ConfigError::new(key.to_owned(), reason))
            }
        }
    }

    /// Returns a placeholder for output.
    fn placeholder(&self) -> &'static str {
        if self.is_empty() { "" } else { "…" }
    }
}

/// Reads a secret file without the line break at its end.
fn read_secret(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?
        .take(MAX_SECRET_BYTES)
        .read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.placeholder())
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
        serializer.serialize_str(self.placeholder())
    }
}
