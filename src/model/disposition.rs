//! File names of downloads in `Content-Disposition` (RFC 6266).
//!
//! Origins send names in several broken forms, and other origins send none. This file reads every
//! form that browsers read, and writes one valid form. It must not know responses. The main type
//! is [`Attachment`].

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// Longest file name that is kept, in bytes. File systems allow no longer one.
const MAX_NAME_BYTES: usize = 255;

/// Bytes that are encoded in an extended value: all but `attr-char` (RFC 8187, section 3.2.1).
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Name under which a client saves a body. `Display` writes the value of `Content-Disposition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// One path segment without control characters, 1 to [`MAX_NAME_BYTES`] bytes.
    name: String,
}

impl Attachment {
    /// Returns the file name.
    #[must_use]
    pub fn into_name(self) -> String {
        self.name
    }

    /// Reads the file name in a `Content-Disposition` of any type, or without a type. Returns
    /// `None` if there is no usable name.
    #[must_use]
    pub fn from_header(value: &[u8]) -> Option<Self> {
        let (mut plain, mut extended) = (None, None);
        for parameter in split_parameters(value) {
            let Some(at) = parameter.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (name, text) = (
                parameter[..at].trim_ascii(),
                parameter[at + 1..].trim_ascii(),
            );
            if name.eq_ignore_ascii_case(b"filename*") {
                extended = extended.or_else(|| decode_extended(text));
            } else if name.eq_ignore_ascii_case(b"filename") {
                plain = plain.or_else(|| Some(decode(&unquote(text))));
            }
        }
        extended
            .and_then(|name| Self::from_name(&name))
            .or_else(|| Self::from_name(&plain?))
    }

    /// Takes the file name from a URL path: its last segment that is neither empty nor `download`.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        let mut segments = path.rsplit('/');
        let is_name = |one: &&str| !one.is_empty() && !one.eq_ignore_ascii_case("download");
        let segment = segments.find(is_name)?;
        if is_plain(segment) {
            return Some(Self {
                name: segment.to_owned(),
            });
        }
        Self::from_name(&decode(
            &percent_decode(segment.as_bytes()).collect::<Vec<_>>(),
        ))
    }

    /// Returns `None` if nothing of the name can be the name of a file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let segment = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let mut name: String = segment.chars().filter(|c| !c.is_control()).collect();
        name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
        let name = name.trim();
        let is_usable = !name.trim_matches('.').is_empty();
        is_usable.then(|| Self {
            name: name.to_owned(),
        })
    }

    /// Returns whether the name has a suffix, as the names of files have.
    #[must_use]
    pub fn has_suffix(&self) -> bool {
        let suffix = self.name.rsplit_once('.');
        suffix.is_some_and(|(stem, suffix)| !stem.is_empty() && !suffix.is_empty())
    }
}

/// Whether a text is a name that needs no change in any form. Most names are.
fn is_plain(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    text.len() <= MAX_NAME_BYTES
        && text.bytes().all(|byte| is_part(byte) || byte == b'.')
        && text.bytes().any(is_part)
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_quotable = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\');
        let replace = |c: char| if is_quotable(c) { c } else { '_' };
        let simple = if is_plain(&self.name) {
            Cow::Borrowed(self.name.as_str())
        } else {
            self.name.chars().map(replace).collect()
        };
        write!(f, "attachment; filename=\"{simple}\"")?;
        if simple != self.name {
            let extended = utf8_percent_encode(&self.name, EXTENDED);
            write!(f, "; filename*=UTF-8''{extended}")?;
        }
        Ok(())
    }
}

/// Splits a value at the semicolons that are not in a quoted string.
fn split_parameters(value: &[u8]) -> Vec<&[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value
        .split(|byte| {
            let is_end = *byte == b';' && !is_quoted;
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                _ => {}
            }
            is_end
        })
        .collect()
}

/// Removes the quotes and backslashes of a quoted string.
fn unquote(text: &[u8]) -> Vec<u8> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        return text.to_vec();
    };
    let quoted = quoted.strip_suffix(b"\"").unwrap_or(quoted);
    let mut bytes = quoted.iter();
    let mut unquoted = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'\\', Some(b'"' | b'\\')) => unquoted.extend(bytes.next()),
            _ => unquoted.push(*byte),
        }
    }
    unquoted
}

/// Decodes `charset'language'percent-encoded` (RFC 8187, section 3.2). Returns `None` for another
/// charset than UTF-8 and ISO-8859-1.
fn decode_extended(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim_matches('"');
    let (charset, rest) = text.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let bytes: Vec<u8> = percent_decode(encoded.as_bytes()).collect();
    if charset.eq_ignore_ascii_case("utf-8") {
        return String::from_utf8(bytes).ok();
    }
    let is_latin = charset.eq_ignore_ascii_case("iso-8859-1");
    is_latin.then(|| bytes.into_iter().map(char::from).collect())
}

/// Decodes UTF-8, or ISO-8859-1 if the bytes are no UTF-8.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_forms_are_read() {
        for (value, wanted) in [
            (
                &b"attachment; filename=\"x-1.0.tar.gz\""[..],
                "attachment; filename=\"x-1.0.tar.gz\"",
            ),
            (b"inline; filename=x.txt", "attachment; filename=\"x.txt\""),
            (b"filename=x.txt", "attachment; filename=\"x.txt\""),
            (
                b"ATTACHMENT;FileName = \"x.txt\"; size=3",
                "attachment; filename=\"x.txt\"",
            ),
            (
                b"attachment; filename=\"a;b.txt\"",
                "attachment; filename=\"a;b.txt\"",
            ),
            (
                b"attachment; filename=my file.txt",
                "attachment; filename=\"my file.txt\"",
            ),
            (
                b"attachment; filename=\"/etc/x.txt\"",
                "attachment; filename=\"x.txt\"",
            ),
            (
                b"attachment; filename=\"..\\\\x.txt\"",
                "attachment; filename=\"x.txt\"",
            ),
            (
                b"attachment; filename=e.txt; filename*=UTF-8''%c3%a9.txt",
                "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt",
            ),
            (
                b"attachment; filename*=iso-8859-1'en'%E9.txt",
                "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt",
            ),
            (
                b"attachment; filename*=gbk''%c4%e3.txt; filename=\"n.txt\"",
                "attachment; filename=\"n.txt\"",
            ),
            (
                b"attachment; filename=\"\xe9.txt\"",
                "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt",
            ),
            (
                b"attachment; filename=\"\xc3\xa9.txt\"",
                "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt",
            ),
            (
                b"attachment; filename=\"a\\\"b.txt\"",
                "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt",
            ),
        ] {
            let found = Attachment::from_header(value).map(|name| name.to_string());
            assert_eq!(
                found.as_deref(),
                Some(wanted),
                "{}",
                String::from_utf8_lossy(value)
            );
        }
    }

    #[test]
    fn unusable_names_are_ignored() {
        for value in [
            &b"attachment"[..],
            b"",
            b"attachment; filename=",
            b"attachment; filename=\"\"",
            b"attachment; filename=\"..\"",
            b"attachment; filename=\"a/\"",
            b"attachment; filename*=UTF-8''%ff",
            b"x-filename=a.txt",
        ] {
            assert_eq!(Attachment::from_header(value), None);
        }
    }

    #[test]
    fn path_gives_last_name() {
        for (path, wanted) in [
            (
                "/pub/x-1.0.tar.gz",
                Some("attachment; filename=\"x-1.0.tar.gz\""),
            ),
            (
                "/x-1.0.tar.gz/download",
                Some("attachment; filename=\"x-1.0.tar.gz\""),
            ),
            ("/pub/x%20y.txt", Some("attachment; filename=\"x y.txt\"")),
            ("/pub/a%2Fb.txt", Some("attachment; filename=\"b.txt\"")),
            ("/pub/", Some("attachment; filename=\"pub\"")),
            ("/", None),
        ] {
            let found = Attachment::from_path(path).map(|name| name.to_string());
            assert_eq!(found.as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn long_name_is_cut_at_character() {
        let long = Attachment::from_name(&"é".repeat(200)).expect("this is a name");
        assert_eq!(long.name.len(), 254);
    }
}
