//! Tags of HTML, and the entities in their attributes.
//!
//! The main type is [`HtmlTag`].

use crate::model::MAX_TARGET_BYTES;

/// Bound on the length of a tag: twice that of a target, and its attributes. The text of a longer
/// one stays.
const MAX_TAG_BYTES: usize = 3 * MAX_TARGET_BYTES;

/// Longest entity that is decoded, in bytes without its signs, such as `#x10FFFF`.
const MAX_ENTITY_BYTES: usize = 8;

/// A tag, or a part of the text that begins with `<`.
pub struct HtmlTag<'a> {
    pub text: &'a str,
    name: &'a str,
    attributes: Vec<Attribute<'a>>,
}

/// An attribute of a tag. Its value is at these places of the tag's text, with its quotes.
pub struct Attribute<'a> {
    name: &'a str,
    pub start: usize,
    pub end: usize,
}

impl<'a> HtmlTag<'a> {
    /// Reads a tag at the start of a text that begins with `<`. A comment is one tag without a
    /// name. A tag that does not end has no attributes.
    pub fn read(text: &'a str) -> Self {
        let nameless = |length: usize| Self {
            text: &text[..length],
            name: "",
            attributes: Vec::new(),
        };
        if text.starts_with("<!--") {
            return nameless(text.find("-->").map_or(text.len(), |end| end + 3));
        }
        // The bound keeps the time linear if tags do not end.
        let text = &text[..text.floor_char_boundary(MAX_TAG_BYTES)];
        let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric();
        let bytes = text.as_bytes();
        let name_end = 1 + bytes[1..]
            .iter()
            .take_while(|byte| is_name_byte(byte))
            .count();
        if name_end == 1 {
            return nameless(1);
        }
        let mut attributes = Vec::new();
        let mut at = name_end;
        loop {
            at = skip(bytes, at, |byte| byte.is_ascii_whitespace() || byte == b'/');
            match bytes.get(at) {
                None => return nameless(1),
                Some(b'>') => break,
                Some(_) => {}
            }
            let start = at;
            at = skip(bytes, at, |byte| {
                !byte.is_ascii_whitespace() && !b"=>/".contains(&byte)
            });
            let name = &text[start..at];
            let equals = skip(bytes, at, |byte| byte.is_ascii_whitespace());
            if bytes.get(equals) != Some(&b'=') {
                // A lone sign must not stop the scan.
                at = at.max(start + 1);
                continue;
            }
            let start = skip(bytes, equals + 1, |byte| byte.is_ascii_whitespace());
            at = match bytes.get(start) {
                Some(quote @ (b'"' | b'\'')) => skip(bytes, start + 1, |byte| byte != *quote) + 1,
                _ => skip(bytes, start, |byte| {
                    !byte.is_ascii_whitespace() && byte != b'>'
                }),
            };
            if at > bytes.len() {
                return nameless(1);
            }
            attributes.push(Attribute {
                name,
                start,
                end: at,
            });
        }
        Self {
            text: &text[..=at],
            name: &text[1..name_end],
            attributes,
        }
    }

    /// Returns whether the tag has this name, in any case.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Returns the first attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        let mut attributes = self.attributes.iter();
        attributes.find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }

    /// Returns the value of an attribute without quotes and entities.
    pub fn value(&self, name: &str) -> Option<String> {
        let attribute = self.attribute(name)?;
        let value = &self.text[attribute.start..attribute.end];
        Some(decode_entities(
            value.trim_matches(['"', '\'']).trim_ascii(),
        ))
    }
}

/// Returns the first place from `at` on whose byte is not `wanted`.
fn skip(bytes: &[u8], at: usize, wanted: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| wanted(**byte)).count()
}

/// Decodes numeric entities, and the named ones that URLs need. Others stay as they are.
fn decode_entities(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        decoded.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest
            .bytes()
            .take(MAX_ENTITY_BYTES + 1)
            .position(|byte| byte == b';');
        let entity = end.and_then(|end| Some((read_entity(&rest[..end])?, &rest[end + 1..])));
        match entity {
            Some((character, behind)) => {
                decoded.push(character);
                rest = behind;
            }
            None => decoded.push('&'),
        }
    }
    decoded.push_str(rest);
    decoded
}

fn read_entity(name: &str) -> Option<char> {
    let number = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        },
        None => {
            return match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => None,
            };
        }
    };
    char::from_u32(number.ok()?)
}

/// Encodes the characters that an attribute in double quotes cannot have.
pub fn encode_entities(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}
