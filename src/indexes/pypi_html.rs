//! Simple indexes as HTML (PEP 503, PEP 658, PEP 714, PEP 740).
//!
//! Only the values of `href` and `data-provenance` are replaced; all other bytes stay as they are.

use super::document::{IndexDocument, LinkPlaces};
use super::error::IndexError;
use super::html_tag::{HtmlTag, encode_entities};
use super::pypi_link::{FileDigests, provenance_link, read_digest};
use crate::model::Target;

/// Attributes that state the digest of a file's metadata. The first one that is there counts.
const METADATA_ATTRIBUTES: [&str; 2] = ["data-core-metadata", "data-dist-info-metadata"];

/// Attribute with the URL of the provenance of a file.
const PROVENANCE: &str = "data-provenance";

/// Folder of project pages at this gateway.
const PROJECTS: &str = "/mirror/pypi/simple";

/// Rewrites the links of a page.
pub fn rewrite(
    body: &[u8],
    document: IndexDocument,
    places: LinkPlaces<'_>,
) -> Result<Vec<u8>, IndexError> {
    let page = std::str::from_utf8(body).map_err(|_| IndexError::Utf8)?;
    let mut base = None;
    let mut written = String::with_capacity(page.len() * 2);
    let mut rest = page;
    while let Some(start) = rest.find('<').filter(|_| !places.budget.is_spent()) {
        let (text, from_tag) = rest.split_at(start);
        written.push_str(text);
        let tag = HtmlTag::read(from_tag);
        rest = &from_tag[tag.text.len()..];
        if tag.is_named("base") {
            // Links of the rewritten page are at this gateway. The first base counts.
            let href = tag.value("href").filter(|_| base.is_none());
            base = href.and_then(|href| places.page.join(&href).ok()).or(base);
            continue;
        }
        if tag.is_named("a") {
            let base = base.as_ref().unwrap_or(places.page);
            write_link(&tag, base, document, places, &mut written);
        } else {
            written.push_str(tag.text);
        }
    }
    written.push_str(rest);
    Ok(written.into_bytes())
}

/// Writes a tag with new values of its attributes.
fn write_link(
    tag: &HtmlTag<'_>,
    base: &Target,
    document: IndexDocument,
    places: LinkPlaces<'_>,
    written: &mut String,
) {
    let provenance = || {
        let target = base.join(&tag.value(PROVENANCE)?).ok()?;
        places.budget.take(provenance_link(&target, places.gateway))
    };
    let new = [
        ("href", new_link(tag, base, document, places)),
        (PROVENANCE, provenance()),
    ];
    let mut places: Vec<_> = new
        .into_iter()
        .filter_map(|(name, value)| Some((tag.attribute(name)?, value?)))
        .collect();
    places.sort_by_key(|(attribute, _)| attribute.start);
    let mut end = 0;
    for (attribute, value) in places {
        written.push_str(&tag.text[end..attribute.start]);
        written.push('"');
        written.push_str(&encode_entities(&value));
        written.push('"');
        end = attribute.end;
    }
    written.push_str(&tag.text[end..]);
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
            .then(|| format!("{PROJECTS}{project}"))
            .and_then(|link| places.budget.take(link));
    }
    let metadata = METADATA_ATTRIBUTES.iter().find_map(|name| tag.value(name));
    let digests = FileDigests {
        file: fragment.and_then(|fragment| fragment.split('&').find_map(read_digest)),
        metadata: metadata.and_then(|value| read_digest(&value)),
    };
    let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
    places.budget.take(digests.link(&target) + &fragment)
}

#[cfg(test)]
mod tests {
    use super::super::document::LinkBudget;
    use super::*;

    fn rewritten(document: IndexDocument, page: &str) -> String {
        let target = Target::parse("https://pypi.example.org/simple/tiny/").unwrap();
        let budget = LinkBudget::default();
        let places = LinkPlaces {
            budget: &budget,
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
                "<a data-provenance='/p/a' href=\"f&#x2F;d.whl&#35;x&apos;&amp;lt;\">".to_owned(),
                format!(
                    "<a data-provenance=\"http://mill.example.org{files}/-/-/{pypi}/p/a\" \
                     href=\"{files}/-/-/{pypi}/simple/tiny/f/d.whl#x'&amp;lt;\">"
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
        let page = "<base href=\"https://f.example.org/d/\"><base href=\"/e/\"><a href=\"a.whl\">";
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
