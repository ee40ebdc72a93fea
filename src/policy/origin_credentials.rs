//! Credentials for origins and parents, as header fields.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{ConfigError, Secret};

/// Maximum number of header fields in one rule.
const MAX_FIELDS: usize = 16;

/// Maximum length of a value. Servers reject longer fields.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// Header fields that a rule must not set, because they frame the message or select the response.
const RESERVED_FIELDS: [&str; 14] = [
    "accept-encoding",
    "cache-control",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-range",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Credentials for one host. Their values are never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginCredentials {
    fields: Vec<(String, Secret)>,
    giver: Giver,
}

/// Origin of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Giver {
    Operator,
    /// The token service of the host.
    Host,
}

impl OriginCredentials {
    /// Builds the credentials of a configuration table: header fields, and the value of
    /// `Authorization` or a file with it.
    ///
    /// Returns `None` if the table has none.
    ///
    /// # Errors
    /// [`ConfigError`] with the key, but without a value.
    pub fn new(
        table: &str,
        headers: &BTreeMap<String, Secret>,
        authorization: &Secret,
        file: &Path,
    ) -> Result<Option<Self>, ConfigError> {
        let mut fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        let authorization = authorization.or_from_file(&format!("{table}.authorization"), file)?;
        if !authorization.is_empty() {
            fields.push(("authorization".to_owned(), authorization));
        }
        if fields.len() > MAX_FIELDS {
            let reason = format!("at most {MAX_FIELDS} are allowed");
            return Err(ConfigError::new(format!("{table}.headers"), reason));
        }
        for (name, value) in &fields {
            check(name, value).map_err(|reason| {
                ConfigError::new(format!("{table}.headers"), format!("{name}: {reason}"))
            })?;
        }
        Ok((!fields.is_empty()).then_some(Self {
            fields,
            giver: Giver::Operator,
        }))
    }

    /// Returns credentials with this value of `Authorization`, or `None` if no field can have it.
    #[must_use]
    pub fn authorization(value: &Secret) -> Option<Self> {
        check("authorization", value).ok()?;
        let fields = vec![("authorization".to_owned(), value.clone())];
        Some(Self {
            fields,
            giver: Giver::Host,
        })
    }

    /// Returns whether Millpond got the credentials itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.giver == Giver::Host
    }

    /// Returns the fields, with lower-case names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }
}

fn check(name: &str, value: &Secret) -> Result<(), &'static str> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let value = value.expose();
    let is_value = !value.is_empty() && value.len() <= MAX_VALUE_BYTES;
    if !is_name {
        Err("the field name is invalid")
    } else if RESERVED_FIELDS.contains(&name) {
        Err("this field cannot be set by a rule")
    } else if !is_value
        || !value
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        Err("the value is empty, too long, or not visible ASCII")
    } else {
        Ok(())
    }
}
