//! Entry of a node in the index. The main type is [`NodeEntry`].

use serde::{Deserialize, Serialize};

/// Bound on the JSON of an entry, in bytes. A URL that is longer is no address of a node.
pub const MAX_ENTRY_BYTES: usize = 1024;

/// Length of the identity of a node, at most.
const MAX_ID_LENGTH: usize = 64;

/// Node, as it states itself in the index. Anybody who may write to Redis can state another one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeEntry {
    /// Random number that the node keeps.
    #[serde(skip)]
    pub id: String,
    /// Value of `cluster.advertise`.
    pub address: String,
    pub version: String,
    /// Version of the layout of the cache folder.
    pub layout: u32,
}

impl NodeEntry {
    /// Parses the entry of the node `id`. Returns `None` for one that no node makes.
    #[must_use]
    pub fn parse(id: &str, json: &[u8]) -> Option<Self> {
        if json.len() > MAX_ENTRY_BYTES {
            return None;
        }
        let entry: Self = serde_json::from_slice(json).ok()?;
        Some(Self {
            id: id.to_owned(),
            ..entry
        })
    }

    /// Returns the JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Returns whether a text may be the identity of a node.
pub fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_ID_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_entries_are_parsed() {
        let entry = NodeEntry {
            id: "ab12".to_owned(),
            address: "http://10.0.0.11:8080/".to_owned(),
            version: "0.2.0".to_owned(),
            layout: 2,
        };
        let json = entry.to_json();
        assert_eq!(NodeEntry::parse("ab12", json.as_bytes()), Some(entry));
        let long = format!("{json}{}", " ".repeat(MAX_ENTRY_BYTES));
        for garbage in ["", "{}", "[]", "\u{0}", &json[1..], &long] {
            assert_eq!(NodeEntry::parse("ab12", garbage.as_bytes()), None);
        }
        for (id, is_valid) in [("ab12", true), ("", false), ("a:b", false), ("a\n", false)] {
            assert_eq!(is_id(id), is_valid, "{id}");
        }
        assert!(!is_id(&"a".repeat(MAX_ID_LENGTH + 1)));
    }
}
