//! The htpasswd file: one user a line, with the hash of the password.
//!
//! The main type is [`UserList`].

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::UserFileError;
use super::password_hash::PasswordHash;

/// Largest file, in bytes: more than 10,000 users.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Permissions that users outside the owner and the group must not have.
const OTHERS: u32 = 0o007;

/// Names and password hashes of all users. It has at least one user.
#[derive(Debug)]
pub struct UserList {
    hashes: HashMap<Vec<u8>, PasswordHash>,
    /// Checked in place of the hash of an unknown user, so that the time does not reveal which
    /// names are known.
    decoy: PasswordHash,
}

impl UserList {
    /// Reads a file.
    ///
    /// # Errors
    /// [`UserFileError`] if the file cannot be used.
    pub fn read(path: &Path) -> Result<Self, UserFileError> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(UserFileError::NoFile);
        }
        if metadata.permissions().mode() & OTHERS != 0 {
            return Err(UserFileError::OpenToAll);
        }
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(UserFileError::TooLong(MAX_FILE_BYTES));
        }
        Self::parse(&text)
    }

    /// Parses the lines of a file. Empty lines and those that begin with `#` are ignored.
    fn parse(text: &[u8]) -> Result<Self, UserFileError> {
        let (mut hashes, mut decoy) = (HashMap::new(), None);
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let (number, line) = (at + 1, line.trim_ascii());
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut parts = line.split(|byte| *byte == b':');
            let (Some(name @ [_, ..]), Some(hash)) = (parts.next(), parts.next()) else {
                return Err(UserFileError::NoUser(number));
            };
            let hash = PasswordHash::parse(&String::from_utf8_lossy(hash));
            let hash = hash.map_err(|error| UserFileError::Hash(number, error))?;
            decoy.get_or_insert_with(|| hash.clone());
            if hashes.insert(name.to_vec(), hash).is_some() {
                return Err(UserFileError::Twice(number));
            }
        }
        let decoy = decoy.ok_or(UserFileError::Empty)?;
        Ok(Self { hashes, decoy })
    }

    /// Whether a user has this password. Slow by design.
    #[must_use]
    pub fn has(&self, name: &[u8], password: &[u8]) -> bool {
        if let Some(hash) = self.hashes.get(name) {
            return hash.is_of(password);
        }
        // Takes the time of a known user. The result is that of another one.
        let _ = self.decoy.is_of(password);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$apr1$b6SXIZ/L$9vK7eIoR84RSDKRQFlFDv/";

    fn error_of(text: &str) -> String {
        UserList::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_users_or_comments() {
        let text = format!("# builders\n\nann:{HASH}\r\nbob:{HASH}:a note\n");
        let users = UserList::parse(text.as_bytes()).unwrap();
        for name in ["ann", "bob"] {
            assert!(users.has(name.as_bytes(), b"secret"), "{name}");
            assert!(!users.has(name.as_bytes(), b"Secret"), "{name}");
        }
        assert!(!users.has(b"eve", b"secret"));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            (String::new(), "has no user"),
            ("ann".to_owned(), "line 1: must be"),
            (format!("ann:{HASH}\n:{HASH}"), "line 2: must be"),
            (format!("ann:{HASH}\nann:{HASH}"), "line 2: the user is"),
            ("#\nann:secret".to_owned(), "line 2: the password is not"),
        ] {
            let error = error_of(&text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
