//! Names of repositories. The main type is [`RepositoryName`].

use std::fmt;

use super::error::RegistryError;

/// Maximum length of a name. Registries have the same bound (OCI distribution specification 1.1,
/// "Pulling manifests").
const MAX_NAME_BYTES: usize = 255;

/// Separators between the words of a component. Hyphens may repeat.
const SEPARATORS: [&str; 3] = [".", "_", "__"];

/// Name of a repository, such as `library/debian`. It has no dot segments and nothing to encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`RegistryError::Name`].
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let is_name = text.len() <= MAX_NAME_BYTES && text.split('/').all(is_component);
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(RegistryError::Name)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is words of lower-case letters and digits with separators between them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (mut rest, mut expects_word) = (text, true);
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| is_word(byte) != expects_word);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        let is_separator = || SEPARATORS.contains(&part) || part.bytes().all(|byte| byte == b'-');
        if part.is_empty() || !expects_word && !is_separator() {
            return false;
        }
        (rest, expects_word) = (after, !expects_word);
    }
    // The last part is a word.
    !text.is_empty() && !expects_word
}
