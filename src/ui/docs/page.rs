//! The frame of a page: navigation, headings, and the pages before and behind. The main function is
//! [`render_page`].

use maud::{DOCTYPE, Markup, PreEscaped, html};
use pulldown_cmark::HeadingLevel;

use super::contents::{Contents, ContentsEntry};
use super::markdown::{PageHeading, render_markdown};

/// URL of the index.
pub const ROOT: &str = "/ui/docs/";

/// Number of headings from which a page has a list of them.
const MIN_LISTED_HEADINGS: usize = 4;

/// URLs for the links of a page.
pub struct PageLinks<'a> {
    /// URL of the page itself.
    pub own: Option<String>,
    /// URL for a link in the text of the page.
    pub on_page: &'a dyn Fn(&str) -> Option<String>,
    /// URL for a link in the table of contents.
    pub in_contents: &'a dyn Fn(&str) -> Option<String>,
}

impl PageLinks<'_> {
    fn url_of(&self, entry: &ContentsEntry<'_>) -> Option<String> {
        (self.in_contents)(entry.link)
    }

    fn is_own(&self, entry: &ContentsEntry<'_>) -> bool {
        self.url_of(entry) == self.own
    }
}

/// Renders the page of a text in Markdown.
pub fn render_page(contents: &Contents<'_>, text: &str, links: &PageLinks<'_>) -> String {
    let page = render_markdown(text, links.on_page);
    let title = page.headings.first().map(|heading| heading.text.as_str());
    let mut entries = contents.parts.iter().flat_map(|part| &part.pages);
    let own_link = entries.find(|entry| links.is_own(entry));
    let near = contents.around(own_link.map_or("", |entry| entry.link));
    let version = env!("CARGO_PKG_VERSION");
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title.unwrap_or("Documentation")) " – Millpond" }
                link rel="icon" href="/ui/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/ui/page.css";
                link rel="stylesheet" href="/ui/docs.css";
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    p.name { a href=(ROOT) { "Millpond" } " " (version) }
                    p { a href="#pages" { "All pages" } }
                    p { a href="/" { "Use of this gateway" } }
                    p { a href="/ui/" { "Operators' page" } }
                }
                div.columns {
                    main id="main" {
                        (headings(&page.headings))
                        article { (PreEscaped(page.html)) }
                        footer { (adjacent(links, near)) }
                    }
                    (navigation(contents, links))
                }
            }
        }
    };
    markup.into_string()
}

/// Lists the sections of a long page.
fn headings(all: &[PageHeading]) -> Markup {
    let sections: Vec<_> = all.iter().filter(|h| h.level == HeadingLevel::H2).collect();
    html! {
        @if sections.len() >= MIN_LISTED_HEADINGS {
            nav.sections aria-label="On this page" {
                p { "On this page" }
                ul { @for heading in sections {
                    li { a href={ "#" (heading.anchor) } { (heading.text) } }
                } }
            }
        }
    }
}

fn adjacent(links: &PageLinks<'_>, [before, behind]: [Option<ContentsEntry<'_>>; 2]) -> Markup {
    let link = |entry: ContentsEntry| {
        html! {
            a href=[links.url_of(&entry)] { (entry.title) }
        }
    };
    html! {
        @if let Some(entry) = before { p { "Previous: " (link(entry)) } }
        @if let Some(entry) = behind { p { "Next: " (link(entry)) } }
    }
}

fn navigation(contents: &Contents<'_>, links: &PageLinks<'_>) -> Markup {
    html! {
        nav.pages id="pages" aria-label="All pages" {
            @for part in &contents.parts {
                h2 { (part.title) }
                ul { @for entry in &part.pages {
                    li { a href=[links.url_of(entry)]
                        aria-current=[links.is_own(entry).then_some("page")] { (entry.title) } }
                } }
            }
        }
    }
}
