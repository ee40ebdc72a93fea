//! Renders Markdown as HTML. The main function is [`render_markdown`].

use std::collections::BTreeMap;

use pulldown_cmark::{Alignment, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// A heading of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageHeading {
    pub level: HeadingLevel,
    /// Fragment of a URL that leads to the heading.
    pub anchor: String,
    pub text: String,
}

/// A page as HTML.
#[derive(Debug)]
pub struct RenderedMarkdown {
    pub html: String,
    pub headings: Vec<PageHeading>,
}

/// Renders a text. `resolve` returns the URL for the destination of a link or an image. A link
/// without one becomes plain text.
///
/// HTML within the text is left out: the texts have only comments. Alignment of table columns is a
/// class and no style, because the policy of the page forbids styles in attributes.
pub fn render_markdown(text: &str, resolve: impl Fn(&str) -> Option<String>) -> RenderedMarkdown {
    let events: Vec<_> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let mut renderer = MarkdownRenderer {
        resolve,
        headings: Vec::new(),
        anchors: BTreeMap::new(),
        links: Vec::new(),
    };
    let changed: Vec<_> = (0..events.len())
        .flat_map(|at| renderer.change(&events, at))
        .collect();
    let mut html = String::with_capacity(text.len() * 2);
    html::push_html(&mut html, changed.into_iter());
    RenderedMarkdown {
        html,
        headings: renderer.headings,
    }
}

struct MarkdownRenderer<R> {
    resolve: R,
    headings: Vec<PageHeading>,
    /// Number of headings with the same anchor.
    anchors: BTreeMap<String, usize>,
    /// Whether each open link is rendered.
    links: Vec<bool>,
}

impl<R: Fn(&str) -> Option<String>> MarkdownRenderer<R> {
    /// Returns the events that replace the one at a place.
    fn change<'a>(&mut self, events: &[Event<'a>], at: usize) -> Vec<Event<'a>> {
        match &events[at] {
            Event::Html(_) | Event::InlineHtml(_) => Vec::new(),
            Event::Start(Tag::Heading { level, .. }) => {
                vec![self.heading(*level, &events[at + 1..])]
            }
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => {
                self.link(&events[at]).into_iter().collect()
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                let is_rendered = self.links.pop().unwrap_or_default();
                is_rendered
                    .then(|| events[at].clone())
                    .into_iter()
                    .collect()
            }
            Event::Start(Tag::Table(columns)) => vec![
                raw("<div class=\"scroll\">"),
                Event::Start(Tag::Table(vec![Alignment::None; columns.len()])),
            ],
            Event::End(TagEnd::Table) => vec![events[at].clone(), raw("</div>")],
            event => vec![event.clone()],
        }
    }

    fn heading<'a>(&mut self, level: HeadingLevel, rest: &[Event<'a>]) -> Event<'a> {
        let is_inside = |event: &&Event| !matches!(event, Event::End(TagEnd::Heading(_)));
        let text: String = rest
            .iter()
            .take_while(is_inside)
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
                _ => None,
            })
            .collect();
        let mut anchor = anchor_of(&text);
        let same = self.anchors.entry(anchor.clone()).or_default();
        if *same > 0 {
            anchor = format!("{anchor}-{same}");
        }
        *same += 1;
        self.headings.push(PageHeading {
            level,
            anchor: anchor.clone(),
            text,
        });
        Event::Start(Tag::Heading {
            level,
            id: Some(CowStr::from(anchor)),
            classes: Vec::new(),
            attrs: Vec::new(),
        })
    }

    fn link<'a>(&mut self, event: &Event<'a>) -> Option<Event<'a>> {
        let mut event = event.clone();
        let url = match &event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                (self.resolve)(dest_url)
            }
            _ => None,
        };
        self.links.push(url.is_some());
        let url = url?;
        if let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = &mut event {
            *dest_url = CowStr::from(url);
        }
        Some(event)
    }
}

fn raw(markup: &'static str) -> Event<'static> {
    Event::Html(CowStr::Borrowed(markup))
}

/// Returns the anchor of a heading, as Git hosts and mdBook make it.
fn anchor_of(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html_of(text: &str) -> String {
        let resolve = |url: &str| (!url.starts_with("dead")).then(|| format!("/x/{url}"));
        render_markdown(text, resolve).html
    }

    #[test]
    fn links_without_url_become_text() {
        let html = html_of("[one](a.md) [two *three*](dead.md) ![four](dead.svg)\n");
        assert_eq!(
            html,
            "<p><a href=\"/x/a.md\">one</a> two <em>three</em> four</p>\n"
        );
    }

    #[test]
    fn headings_have_unique_anchors() {
        let rendered = render_markdown("# `a.b` & C\n\n## X\n\n## X\n", |_| None);
        let anchors: Vec<_> = rendered.headings.iter().map(|h| &h.anchor).collect();
        assert_eq!(anchors, ["ab--c", "x", "x-1"]);
        assert!(rendered.html.contains("<h2 id=\"x-1\">X</h2>"));
        assert_eq!(rendered.headings[0].text, "a.b & C");
    }

    #[test]
    fn html_and_styles_are_left_out() {
        let html = html_of("<!-- note -->\n\na <b onclick=x>c</b>\n\n| n |\n| --: |\n| 1 |\n");
        assert!(html.starts_with("<p>a c</p>\n<div class=\"scroll\"><table>"));
        assert!(html.ends_with("</table>\n</div>"), "{html}");
        assert!(!html.contains("style"));
        assert!(html_of("    <script>\n").contains("&lt;script&gt;"));
    }
}
