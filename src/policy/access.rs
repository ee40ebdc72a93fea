//! What a host is told so that it lets us in.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::Secret;

/// How many header fields one rule may add, and how long each may be, in bytes.
const MAX_FIELDS: usize = 16;
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// What a rule may not say for us: it frames the message, or decides what comes.
const OURS: [&str; 14] = [
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

/// Header fields for one host. None of them is shown to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    fields: Vec<(String, Secret)>,
}

impl Access {
    /// Reads what a table of the configuration says: any fields, and the value of `Authorization` or a file that holds it.
    /// Nothing where it says nothing.
    ///
    /// # Errors
    /// A line that names the key, and no value.
    pub fn new(
        table: &str,
        headers: &BTreeMap<String, Secret>,
        authorization: &Secret,
        file: &Path,
    ) -> Result<Option<Self>, String> {
        let mut fields: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let authorization = authorization.or_from(&format!("{table}.authorization"), file)?;
        if !authorization.is_empty() {
            fields.push(("authorization".to_owned(), authorization));
        }
        if fields.len() > MAX_FIELDS {
            return Err(format!("{table}.headers: there may be at most {MAX_FIELDS}"));
        }
        for (name, value) in &fields {
            check(name, value).map_err(|why| format!("{table}.headers: {name}: {why}"))?;
        }
        Ok((!fields.is_empty()).then_some(Self { fields }))
    }

    /// Names are in lower case.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value))
    }
}

fn check(name: &str, value: &Secret) -> Result<(), &'static str> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let value = value.expose();
    let is_value = !value.is_empty() && value.len() <= MAX_VALUE_BYTES;
    if !is_name {
        Err("that is no name of a field")
    } else if OURS.contains(&name) {
        Err("this field is not a rule's to set")
    } else if !is_value || !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        Err("the value is empty, too long, or not plain text")
    } else {
        Ok(())
    }
}
