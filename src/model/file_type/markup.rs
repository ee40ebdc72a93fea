//! Detection of web pages and error bodies in place of a file, by their first bytes.
//!
//! Some servers send a page, a JSON object or a line of text with status 200 although the file is
//! missing. This file knows no names. The main function is [`Markup::accepts`].

use std::borrow::Cow;

/// Number of first bytes that are checked before a response head is sent.
pub const FILE_TYPE_SNIFF_BYTES: usize = 512;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const UTF16_BOMS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Elements with which a web page begins. Error pages often leave out the first ones.
const HTML_ELEMENTS: [&str; 9] = [
    "html", "head", "body", "title", "meta", "script", "center", "h1", "h2",
];

/// Bodies of one line that servers send in place of a file, without status code and full stop.
const ERROR_TEXTS: [&str; 24] = [
    "access denied",
    "api rate limit exceeded",
    "authentication required",
    "bad gateway",
    "bad request",
    "file does not exist",
    "file not found",
    "forbidden",
    "gateway time-out",
    "gateway timeout",
    "internal error",
    "internal server error",
    "no such file",
    "no such file or directory",
    "not authorized",
    "not found",
    "object not found",
    "page not found",
    "permission denied",
    "rate limit exceeded",
    "repository not found",
    "service unavailable",
    "too many requests",
    "unauthorized",
];

/// Markup with which a file may begin, according to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Markup {
    /// The file may be a web page.
    Any,
    /// A web page is not expected. JSON and XML are.
    NoPage,
    Json,
    Xml,
    Nothing,
}

impl Markup {
    /// Returns whether a file with these first bytes may have such a name. A line of text that is a
    /// known error is accepted only where a page is.
    pub fn accepts(self, head: &[u8]) -> bool {
        if self == Self::Any {
            return true;
        }
        let text = text_of(head);
        let is_error = is_html(&text) || is_storage_error(&text) || is_error_line(&text);
        let is_expected = match self {
            Self::Any | Self::NoPage => true,
            Self::Json => !is_xml(&text),
            Self::Xml => !is_json(&text),
            Self::Nothing => !is_xml(&text) && !is_json(&text),
        };
        !is_error && is_expected
    }
}

/// Returns text without byte order mark and white space at the start. UTF-16 is reduced to the
/// bytes that are not zero, which are enough for markup.
fn text_of(head: &[u8]) -> Cow<'_, [u8]> {
    let is_utf16 = UTF16_BOMS.iter().any(|bom| head.starts_with(bom));
    if is_utf16 {
        let bytes = head[2..].iter().copied().filter(|byte| *byte != 0);
        let text: Vec<u8> = bytes.collect();
        return Cow::Owned(text.trim_ascii_start().to_vec());
    }
    let text = head.strip_prefix(UTF8_BOM).unwrap_or(head);
    Cow::Borrowed(text.trim_ascii_start())
}

fn is_html(text: &[u8]) -> bool {
    let text = skip_comments(skip_declaration(text));
    HTML_ELEMENTS
        .iter()
        .any(|element| begins_with_element(text, element))
        || doctype(text).is_some_and(|name| begins_with(name, b"html"))
}

fn is_xml(text: &[u8]) -> bool {
    begins_with(text, b"<?xml") || doctype(skip_comments(text)).is_some()
}

/// Returns whether this is an error of an object storage: `<Error><Code>NoSuchKey</Code>`.
fn is_storage_error(text: &[u8]) -> bool {
    let text = skip_comments(skip_declaration(text));
    begins_with_element(text, "error")
        && [&b"<Code>"[..], b"<Message>"]
            .iter()
            .any(|child| contains(text, child))
}

/// Returns whether this is a JSON object, or an array of objects.
fn is_json(text: &[u8]) -> bool {
    match text.split_first() {
        Some((b'{', rest)) => begins_with_member(rest.trim_ascii_start()),
        Some((b'[', rest)) => match rest.trim_ascii_start().split_first() {
            Some((b'{', rest)) => begins_with_member(rest.trim_ascii_start()),
            _ => false,
        },
        _ => false,
    }
}

/// Returns whether an object ends here, or begins with a name and a colon. The name may be cut off.
fn begins_with_member(text: &[u8]) -> bool {
    match text.split_first() {
        Some((b'}', _)) => true,
        Some((b'"', rest)) => match rest.iter().position(|byte| *byte == b'"') {
            Some(end) => rest[end + 1..].trim_ascii_start().starts_with(b":"),
            None => true,
        },
        _ => false,
    }
}

/// Returns whether the whole body is a line such as `404: Not Found`.
fn is_error_line(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    if text.len() >= FILE_TYPE_SNIFF_BYTES {
        return false;
    }
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("http").unwrap_or(&text).trim_start();
    let text = text.strip_prefix("error").unwrap_or(text);
    let text = without_status(text.trim_start_matches([':', ' ']));
    let text = text
        .trim_start_matches([':', '-', ' '])
        .trim_end_matches(['.', '!', ' ']);
    ERROR_TEXTS.contains(&text)
}

/// Removes a status code of an error.
fn without_status(text: &str) -> &str {
    let (digits, rest) = text.split_at_checked(3).unwrap_or(("", text));
    let is_status = digits.starts_with(['4', '5']) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_status { rest } else { text }
}

/// Skips an XML declaration, and white space and comments before and after it.
fn skip_declaration(text: &[u8]) -> &[u8] {
    let text = skip_comments(text);
    if !begins_with(text, b"<?xml") {
        return text;
    }
    match find(text, b"?>") {
        Some(end) => &text[end + 2..],
        None => text,
    }
}

fn skip_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let end = text
            .starts_with(b"<!--")
            .then(|| find(text, b"-->"))
            .flatten();
        match end {
            Some(end) => text = &text[end + 3..],
            None => return text,
        }
    }
}

/// Returns the text behind `<!DOCTYPE` and white space.
fn doctype(text: &[u8]) -> Option<&[u8]> {
    const DOCTYPE: &[u8] = b"<!doctype";
    let rest = begins_with(text, DOCTYPE).then(|| &text[DOCTYPE.len()..])?;
    let name = rest.trim_ascii_start();
    (name.len() < rest.len()).then_some(name)
}

/// Returns whether the text begins with the start tag of an element. The text may end in the tag.
fn begins_with_element(text: &[u8], element: &str) -> bool {
    let Some(tag) = text.strip_prefix(b"<") else {
        return false;
    };
    let is_delimiter = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/');
    begins_with(tag, element.as_bytes()) && tag.get(element.len()).is_none_or(is_delimiter)
}

/// Returns whether the text begins with `start`, in any case.
fn begins_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|found| found.eq_ignore_ascii_case(start))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Markup; 4] = [Markup::NoPage, Markup::Json, Markup::Xml, Markup::Nothing];

    fn accepting(head: &[u8]) -> Vec<Markup> {
        KINDS
            .into_iter()
            .filter(|markup| markup.accepts(head))
            .collect()
    }

    #[test]
    fn pages_and_errors_are_accepted_as_pages_only() {
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("<!DOCTYPE html>".bytes().flat_map(|byte| [byte, 0]))
            .collect();
        for head in [
            &b"<!DOCTYPE html><html>"[..],
            b"\xef\xbb\xbf \r\n<!doctype HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">",
            b"<html>",
            b"<HTML lang=en>",
            b"<html",
            b"<!-- cached -->\n<!-- twice --> <head><title>",
            b"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML\">",
            b"<?xml version=\"1.0\"?><html xmlns=\"x\">",
            b"<h1>Not Found</h1>",
            b"<script>location=1</script>",
            b"<Error><Code>NoSuchKey</Code></Error>",
            b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>x</Message></Error>",
            b"404: Not Found",
            b"404 page not found\n",
            b"Not Found.\n",
            b"Error 403: Forbidden",
            b"HTTP Error 404 - Not Found",
            b"429 Too Many Requests\n",
            &utf16,
        ] {
            assert_eq!(accepting(head), [], "{}", String::from_utf8_lossy(head));
            assert!(Markup::Any.accepts(head));
        }
    }

    #[test]
    fn json_and_xml_are_accepted_where_expected() {
        for head in [
            &b"{\"message\":\"Not Found\"}"[..],
            b" { \"a\" : 1",
            b"{}",
            b"[{\"a\": 1}]",
            b"\xef\xbb\xbf{\"errors\":[",
        ] {
            let text = String::from_utf8_lossy(head);
            assert_eq!(accepting(head), [Markup::NoPage, Markup::Json], "{text}");
        }
        for head in [
            &b"<?xml version=\"1.0\"?><svg>"[..],
            b"<!-- icon -->\n<!DOCTYPE svg>",
            b"<?xml version=\"1.0\"?><Errors/>",
        ] {
            let text = String::from_utf8_lossy(head);
            assert_eq!(accepting(head), [Markup::NoPage, Markup::Xml], "{text}");
        }
    }

    #[test]
    fn other_files_are_accepted() {
        for head in [
            &b""[..],
            b"<htm",
            b"<htmlx>",
            b"<heading>",
            b"< html",
            b"diff --git a/x.html b/x.html\n+<html>",
            b"404\n",
            b"Error\n",
            b"The file was not found.\n",
            b"{ 1, 2 }",
            b"[section]\nkey = 1",
            b"[[table]]",
            b"#!/bin/sh\n",
            b"\x1f\x8b\x08\0",
            b"\xff\xfe\0\0",
        ] {
            assert_eq!(accepting(head), KINDS, "{}", String::from_utf8_lossy(head));
        }
    }
}
