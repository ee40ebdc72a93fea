//! Settings for the expansion of specs. The main type is [`SpecOptions`].

use std::str::FromStr;

/// Macro that a user defines, as for `rpmbuild --define`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecDefine {
    pub name: String,
    pub body: String,
}

/// Error returned for a text that defines no macro.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be like \"name value\"")]
pub struct SpecDefineError;

impl FromStr for SpecDefine {
    type Err = SpecDefineError;

    fn from_str(text: &str) -> Result<Self, SpecDefineError> {
        let text = text.trim_start_matches(['%', ' ']);
        let (name, body) = text
            .split_once(char::is_whitespace)
            .ok_or(SpecDefineError)?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_word) {
            return Err(SpecDefineError);
        }
        Ok(Self {
            name: name.to_owned(),
            body: body.trim().to_owned(),
        })
    }
}

/// Settings for the expansion.
#[derive(Debug, Clone, Default)]
pub struct SpecOptions {
    /// Macros in addition to the standard ones.
    pub defines: Vec<SpecDefine>,
}
