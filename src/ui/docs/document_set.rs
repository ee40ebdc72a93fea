//! Names and URLs of the files of the documentation. The main type is [`DocumentSet`].

use std::sync::OnceLock;

use super::contents::Contents;
use super::document_file::DocumentFile;
use super::page::{PageLinks, ROOT, render_page};
use crate::ui::assets::Asset;

/// Folder whose files have no folder in their URLs.
const FOLDER: &str = "docs/";

/// Index of the documentation.
const INDEX: &str = "docs/README.md";

/// Table of contents, in the form of mdBook. It is no page itself.
const SUMMARY: &str = "docs/SUMMARY.md";

/// All files of the documentation.
#[derive(Debug)]
pub struct DocumentSet {
    contents: Contents<'static>,
    documents: Vec<Document>,
}

/// A file with its name in URLs.
#[derive(Debug)]
struct Document {
    name: String,
    file: &'static DocumentFile,
    rendered: OnceLock<Asset>,
}

impl DocumentSet {
    pub fn new(files: &'static [DocumentFile]) -> Self {
        let summary = files.iter().find(|file| file.path == SUMMARY);
        let pages = files.iter().filter(|file| file.path != SUMMARY);
        let document = |file: &'static DocumentFile| Document {
            name: name_of(file.path),
            file,
            rendered: OnceLock::new(),
        };
        Self {
            contents: Contents::parse(summary.map_or("", |summary| summary.text)),
            documents: pages.map(document).collect(),
        }
    }

    /// Returns a page or file. The first call for it renders it.
    pub fn find(&'static self, name: &str) -> Option<&'static Asset> {
        let document = self.documents.iter().find(|one| one.name == name)?;
        Some(document.rendered.get_or_init(|| self.render(document.file)))
    }

    fn render(&self, file: &DocumentFile) -> Asset {
        let DocumentFile { path, text } = *file;
        match path.rsplit('.').next() {
            Some("md") => {
                let links = PageLinks {
                    own: self.url_of("", path),
                    on_page: &|link| self.url_of(path, link),
                    in_contents: &|link| self.url_of(SUMMARY, link),
                };
                let html = render_page(&self.contents, text, &links);
                Asset::new(path, "text/html; charset=utf-8", html.into_bytes())
            }
            Some("svg") => Asset::new(path, "image/svg+xml", text.as_bytes()),
            _ => Asset::new(path, "text/plain; charset=utf-8", text.as_bytes()),
        }
    }

    /// Returns the URL for a link on a page, if it leads to a file of the documentation or to
    /// another host. `from` is the path of the page.
    fn url_of(&self, from: &str, link: &str) -> Option<String> {
        if link.starts_with("https://") || link.starts_with('#') {
            return Some(link.to_owned());
        }
        let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
        let path = resolve(from, path)?;
        let document = self.documents.iter().find(|one| one.file.path == path)?;
        let hash = if fragment.is_empty() { "" } else { "#" };
        Some(format!("{ROOT}{}{hash}{fragment}", document.name))
    }
}

fn name_of(path: &str) -> String {
    if path == INDEX {
        return String::new();
    }
    let name = path.strip_prefix(FOLDER).unwrap_or(path);
    let name = name.strip_suffix(".md").unwrap_or(name);
    name.to_ascii_lowercase()
}

/// Returns the path in the source tree for a relative path on the page `from`.
fn resolve(from: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn file(path: &'static str, text: &'static str) -> DocumentFile {
        DocumentFile { path, text }
    }

    static FILES: [DocumentFile; 6] = [
        file(
            "docs/README.md",
            "# Index\n\n[install](guides/install.md)\n",
        ),
        file(
            "docs/SUMMARY.md",
            "# Start\n\n- [Install](guides/install.md)\n",
        ),
        file(
            "docs/guides/install.md",
            "# Install\n\n![one](../one.svg)\n",
        ),
        file("docs/one.svg", "<svg/>"),
        file("CHANGELOG.md", "# Changelog\n"),
        file("config/rules.toml", "# rules"),
    ];

    #[test]
    fn links_lead_to_provided_files() {
        let set = DocumentSet::new(&FILES);
        let from = "docs/guides/install.md";
        for (link, url) in [
            ("install.md", Some("/ui/docs/guides/install")),
            ("../README.md", Some("/ui/docs/")),
            ("../README.md#pools", Some("/ui/docs/#pools")),
            ("../../CHANGELOG.md", Some("/ui/docs/changelog")),
            (
                "../../config/rules.toml",
                Some("/ui/docs/config/rules.toml"),
            ),
            ("#start", Some("#start")),
            ("https://example.org/", Some("https://example.org/")),
            ("../SUMMARY.md", None),
            ("../../src/main.rs", None),
            ("../../../../etc/passwd", None),
            ("//example.org/", None),
            ("javascript:alert(1)", None),
        ] {
            assert_eq!(set.url_of(from, link).as_deref(), url, "{link}");
        }
    }

    #[test]
    fn files_have_their_types() {
        let set: &'static DocumentSet = Box::leak(Box::new(DocumentSet::new(&FILES)));
        for (name, content_type) in [
            ("", "text/html; charset=utf-8"),
            ("guides/install", "text/html; charset=utf-8"),
            ("one.svg", "image/svg+xml"),
            ("config/rules.toml", "text/plain; charset=utf-8"),
        ] {
            let asset = set.find(name).map(|asset| asset.content_type);
            assert_eq!(asset, Some(content_type), "{name}");
        }
        assert!(set.find("guides/install.md").is_none());
        assert!(set.find("summary").is_none());
    }
}
