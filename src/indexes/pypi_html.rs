//! Simple indexes as HTML (PEP 503, PEP 658, PEP 714).
//!
//! Only the values of `href` are replaced; all other bytes stay as they are.

use super::document::{IndexDocument, LinkPlaces};
use super::error::IndexError;
use super::pypi_link::{FileDigests, read_digest};
use crate::model::{MAX_TARGET_BYTES, Target};

/// Attributes that state the digest of a file's metadata. The first one that is there counts.
const METADATA_ATTRIBUTES: [&str; 2] = ["data-core-metadata", "data-dist-info-metadata"];

/// Bound on the length of a tag: twice that of a target, and its attributes. The text of a longer
/// one stays.
const MAX_TAG_BYTES: usize = 3 * MAX_TARGET_BYTES;

/// Folder of project pages at this gateway.
const PROJECTS: &str = "/mirror/pypi/simple";

/// Rewrites the links of a page.
pub fn rewrite(
    body: &[u8],
    document: IndexDocument,
    places: LinkPlaces<'_>,
) -> Result<Vec<u8>, IndexError> {
    let page = std::str::from_utf8(body).map_err(|_| IndexError::Utf8)?;
    let mut base = places.page.clone();
    let mut written = String::with_capacity(page.len() * 2);
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let (text, from_tag) = rest.split_at(start);
        written.push_str(text);
        let tag = HtmlTag::read(from_tag);
        rest = &from_tag[tag.text.len()..];
        if tag.is_named("base") {
            // Links of the rewritten page are at this gateway.
            if let Some(joined) = tag.value("href").and_then(|href| base.join(&href).ok()) {
                base = joined;
            }
            continue;
        }
        let new = if tag.is_named("a") {
            new_link(&tag, &base, document, places)
        } else {
            None
        };
        match (new, tag.attribute("href")) {
            (Some(new), Some(href)) => {
                written.push_str(&tag.text[..href.start]);
                written.push('"');
                written.push_str(&encode_entities(&new));
                written.push('"');
                written.push_str(&tag.text[href.end..]);
            }
            _ => written.push_str(tag.text),
        }
    }
    written.push_str(rest);
    Ok(written.into_bytes())
}

/// Returns the new value of `href`, or `None` if the link stays.
fn new_link(
    tag: &HtmlTag<'_>,
    base: &Target,
    document: IndexDocument,
    places: LinkPlaces<'_>,
) -> Option<String> {
    let href = tag.value("href")?;
    let (link, fragment) = match href.split_once('#') {
        Some((link, fragment)) => (link, Some(fragment)),
        None => (href.as_str(), None),
    };
    // A link within the page.
    if link.is_empty() {
        return None;
    }
    let target = base.join(link).ok()?;
    if document == IndexDocument::PypiProjects {
        let project = target.as_str().strip_prefix(places.upstream)?;
        return project
            .starts_with('/')
            .then(|| format!("{PROJECTS}{project}"));
    }
    let metadata = METADATA_ATTRIBUTES.iter().find_map(|name| tag.value(name));
    let digests = FileDigests {
        file: fragment.and_then(|fragment| fragment.split('&').find_map(read_digest)),
        metadata: metadata.and_then(|value| read_digest(&value)),
    };
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    Some(digests.link(&target) + &fragment)
}

/// A tag, or a part of the text that begins with `<`.
struct HtmlTag<'a> {
    text: &'a str,
    name: &'a str,
    attributes: Vec<Attribute<'a>>,
}

/// An attribute of a tag. Its value is at these places of the tag's text, with its quotes.
struct Attribute<'a> {
    name: &'a str,
    start: usize,
    end: usize,
}

impl<'a> HtmlTag<'a> {
    /// Reads a tag at the start of a text that begins with `<`. A comment is one tag without a
    /// name. A tag that does not end has no attributes.
    fn read(text: &'a str) -> Self {
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

    fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        let mut attributes = self.attributes.iter();
        attributes.find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }

    /// Returns the value of an attribute without quotes and entities.
    fn value(&self, name: &str) -> Option<String> {
        let attribute = self.attribute(name)?;
        let value = &self.text[attribute.start..attribute.end];
        let value = value.trim_matches(['"', '\'']).trim_ascii();
        let decoded = value.replace("&#38;", "&").replace("&quot;", "\"");
        Some(decoded.replace("&#43;", "+").replace("&amp;", "&"))
    }
}

/// Returns the first place from `at` on whose byte is not `wanted`.
fn skip(bytes: &[u8], at: usize, wanted: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| wanted(**byte)).count()
}

fn encode_entities(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(document: IndexDocument, page: &str) -> String {
        let target = Target::parse("https://pypi.example.org/simple/tiny/").unwrap();
        let places = LinkPlaces {
            page: &target,
            upstream: "https://pypi.example.org/simple",
            gateway: "http://mill.example.org",
        };
        String::from_utf8(rewrite(page.as_bytes(), document, places).unwrap()).unwrap()
    }

    #[test]
    fn links_of_files_lead_to_gateway() {
        let (file, metadata) = ("ab".repeat(32), "cd".repeat(32));
        let files = "/mirror/pypi/files";
        let pypi = "https://pypi.example.org";
        let digests = format!("data-core-metadata='sha256={metadata}'");
        for (tag, wanted) in [
            (
                format!("<a href=\"../../f/a.whl#sha256={file}\" {digests}>"),
                format!(
                    "<a href=\"{files}/sha256-{file}/sha256-{metadata}/{pypi}/f/a.whl\
                     #sha256={file}\" {digests}>"
                ),
            ),
            (
                "<A class=x\n HREF = https://f.example.org/b.whl data-x=\"&gt;=3\">".to_owned(),
                format!(
                    "<A class=x\n HREF = \"{files}/-/-/https://f.example.org/b.whl\" \
                     data-x=\"&gt;=3\">"
                ),
            ),
            (
                "<a href='c.whl?a=1&amp;b=2'/>".to_owned(),
                format!("<a href=\"{files}/-/-/{pypi}/simple/tiny/c.whl?a=1&amp;b=2\"/>"),
            ),
        ] {
            let page = format!("<!DOCTYPE html><p x='<a'>ä {tag}x</a> < y");
            let wanted = page.replace(&tag, &wanted);
            assert_eq!(rewritten(IndexDocument::PypiProject, &page), wanted);
        }
    }

    #[test]
    fn other_tags_stay() {
        for page in [
            "",
            "<",
            "<a",
            "<a href=",
            "<a href=\"x",
            "<a href=\"#x\">",
            "<a href=\"mailto:x@example.org\">",
            "<a href>",
            "<a = >",
            "<!-- <a href=\"x\"> -->",
            "<!-- <a href=\"x\">",
            "<area href=\"x\">",
            "<a/ =\"x\" ==>",
        ] {
            assert_eq!(rewritten(IndexDocument::PypiProject, page), page);
        }
    }

    #[test]
    fn base_of_page_is_applied_and_removed() {
        let page = "<base href=\"https://f.example.org/d/\"><a href=\"a.whl\">";
        let wanted = "<a href=\"/mirror/pypi/files/-/-/https://f.example.org/d/a.whl\">";
        assert_eq!(rewritten(IndexDocument::PypiProject, page), wanted);
    }

    #[test]
    fn links_of_projects_stay_below_index() {
        let page = "<a href=\"/simple/tiny/\">tiny</a><a href=\"https://www.example.org/\">";
        let wanted = page.replace("/simple/tiny/", "/mirror/pypi/simple/tiny/");
        assert_eq!(rewritten(IndexDocument::PypiProjects, page), wanted);
    }
}
