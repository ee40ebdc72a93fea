//! The results of a search. The main type is [`SearchResults`].

use maud::{Markup, html};

use super::shown;
use super::target_index::{Coverage, SearchMatches};
use crate::model::Target;

/// Longest query, in bytes. A URL may be as long.
pub const MAX_QUERY_BYTES: usize = 8 << 10;

/// Results of a search.
pub struct SearchResults {
    found: SearchMatches,
    /// The query, if it is a whole URL.
    exact: Option<Target>,
}

impl SearchResults {
    /// Adds the target that the query names to what the index has found.
    #[must_use]
    pub fn new(query: &str, found: SearchMatches) -> Self {
        let is_url = query.contains("://");
        Self {
            exact: is_url.then(|| Target::parse(query).ok()).flatten(),
            found,
        }
    }

    /// Renders the results.
    #[must_use]
    pub fn render(&self) -> String {
        let found = &self.found;
        let markup = html! {
            @if let Some(target) = &self.exact {
                p { "This URL: " (shown::target_link(target.as_str())) }
            }
            p.note data-found=(found.total) {
                (shown::count(found.total as u64)) " of " (shown::count(found.indexed as u64))
                " stored targets"
                @if found.total > found.targets.len() {
                    ", of which the first " (found.targets.len()) " are shown"
                }
                "." (coverage_note(found.coverage))
            }
            @if !found.targets.is_empty() { (table(found)) }
        };
        markup.into_string()
    }
}

fn coverage_note(coverage: Coverage) -> Markup {
    html! {
        @match coverage {
            Coverage::Reading => " The records are being read; search again in a while.",
            Coverage::Complete => {},
            Coverage::Truncated => " There are more targets than the search can hold. \
                Enter the whole URL of others.",
        }
    }
}

fn table(found: &SearchMatches) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr {
                    th { "Target" } th.number { "Size" } th { "State" } th { "SHA-256" }
                } }
                tbody {
                    @for (url, target) in &found.targets {
                        tr {
                            td { (shown::target_link(url)) }
                            td.number { (shown::bytes(target.size_bytes)) }
                            td.state {
                                @if target.is_pinned { span.badge { "pinned" } " " }
                                @if target.is_cached { "on the disk" } @else { "not on the disk" }
                            }
                            td { (shown::digest(&target.sha256.to_string())) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sha256;
    use crate::ui::IndexedTarget;

    #[test]
    fn hostile_names_stay_text() {
        let target = IndexedTarget {
            sha256: Sha256::from_bytes([1; 32]),
            size_bytes: 1,
            is_cached: true,
            is_pinned: false,
        };
        let hostile = [
            "https://a.example/\"><script>alert(1)</script>",
            "javascript:alert(1)",
            "https://a.example/x' onmouseover='y",
            "https://a.example/\u{202e}gz.rat",
        ];
        let found = SearchMatches {
            targets: hostile.map(|url| (url.into(), target.clone())).into(),
            total: 4,
            indexed: 4,
            coverage: Coverage::Complete,
        };
        let html = SearchResults::new("x", found).render();
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("href"), "no foreign text is a link: {html}");
        assert!(!html.contains("\"javascript:alert(1)\" href"));
        assert!(html.contains("data-story=\"https://a.example/&quot;&gt;&lt;script&gt;"));
        assert!(html.contains("<bdi>https://a.example/\u{fffd}gz.rat</bdi>"));
    }
}
