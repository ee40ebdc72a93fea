//! Header fields of a response or a request, as they came.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Header fields in the order in which they came, duplicates included.
///
/// Names are in lower case. Values are bytes without CR, LF and NUL (RFC 9110, section 5.5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Appends a field line.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// Returns the values of all lines of a field. `name` is in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.0.iter().filter(move |(own, _)| own == name);
        lines.map(|(_, value)| value.as_slice())
    }

    /// Returns the first line of a field, if its value is text.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// Returns the combined value of all lines of a field (RFC 9110, section 5.3), with list blanks
    /// normalised, or `None` if there is no line. Each byte becomes the character of the same
    /// number, so that different values stay different.
    #[must_use]
    pub fn combined(&self, name: &str) -> Option<String> {
        let lines: Vec<_> = self.all(name).map(characters).collect();
        let members = lines.iter().flat_map(|line| line.split(','));
        let members: Vec<_> = members
            .map(|member| member.trim_matches([' ', '\t']))
            .filter(|one| !one.is_empty())
            .collect();
        (!lines.is_empty()).then(|| members.join(", "))
    }

    /// Removes all lines of a field.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }

    /// Keeps the lines for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let lines = self.0.iter();
        lines.map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Returns the size of all names and values, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let lines = self.0.iter();
        lines.map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(lines: I) -> Self {
        let mut fields = Self::default();
        for (name, value) in lines {
            fields.push(name, value);
        }
        fields
    }
}

/// A byte of a value is the character of the same number (ISO 8859-1), so that JSON holds every
/// value exactly.
impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lines = self.0.iter();
        serializer.collect_seq(lines.map(|(name, value)| (name, characters(value))))
    }
}

/// Returns the characters with the numbers of the bytes (ISO 8859-1).
fn characters(value: &[u8]) -> String {
    value.iter().copied().map(char::from).collect()
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines = Vec::<(String, String)>::deserialize(deserializer)?;
        let mut fields = Self::default();
        for (name, text) in lines {
            let value: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
            let value = value.filter(|value| value.iter().all(|byte| !b"\r\n\0".contains(byte)));
            let value = value.ok_or_else(|| D::Error::custom("a field value has a wrong byte"))?;
            fields.push(&name, &value);
        }
        Ok(fields)
    }
}

/// Header fields of one connection (RFC 9110, section 7.6.1), and fields that an intermediary sets
/// itself.
const NOT_FORWARDED: [&str; 15] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-real-ip",
];

/// Returns whether a header field is forwarded to the next hop.
///
/// `connection` is the value of the message's `Connection` field. Fields that it names are not
/// forwarded.
#[must_use]
pub fn is_end_to_end_header(name: &str, connection: &str) -> bool {
    let has_prefix = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    !NOT_FORWARDED.iter().any(|other| name.eq_ignore_ascii_case(other))
        // A front server obeys these fields. Neither an origin nor a client may set them.
        && !has_prefix("x-accel-")
        && !has_prefix("x-millpond-")
        && !connection
            .split(',')
            .any(|named| named.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_order_duplicates_and_bytes() {
        let lines: [(&str, &[u8]); 3] = [("Link", b"<a>"), ("x", b"\xff\xe9 "), ("link", b"<b>")];
        let fields = Fields::from_iter(lines);
        let json = serde_json::to_string(&fields).unwrap();
        assert_eq!(serde_json::from_str::<Fields>(&json).unwrap(), fields);
        assert_eq!(fields.combined("link").unwrap(), "<a>, <b>");
        assert_ne!(
            Fields::from_iter([("x", &b"\xff"[..])]).combined("x"),
            Fields::from_iter([("x", &b"\xfe"[..])]).combined("x")
        );
        assert!(serde_json::from_str::<Fields>(r#"[["x", "a\r\nb: c"]]"#).is_err());
        assert!(serde_json::from_str::<Fields>(r#"[["x", "\u0100"]]"#).is_err());
    }
}
