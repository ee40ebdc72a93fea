//! The table of contents, read from `docs/SUMMARY.md`. The main type is [`Contents`].

/// A part of the documentation, with its pages in their order.
#[derive(Debug, PartialEq, Eq)]
pub struct ContentsPart<'a> {
    pub title: &'a str,
    pub pages: Vec<ContentsEntry<'a>>,
}

/// A page in the table of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentsEntry<'a> {
    pub title: &'a str,
    /// Path of the file, relative to `docs/`.
    pub link: &'a str,
}

/// The table of contents.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents<'a> {
    pub parts: Vec<ContentsPart<'a>>,
}

impl<'a> Contents<'a> {
    /// Reads the table. A heading begins a part, and a line with a link is a page.
    pub fn parse(summary: &'a str) -> Self {
        let mut parts: Vec<ContentsPart<'a>> = Vec::new();
        for line in summary.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                let pages = Vec::new();
                parts.push(ContentsPart { title, pages });
            } else if let (Some(entry), Some(part)) = (entry_of(line), parts.last_mut()) {
                part.pages.push(entry);
            }
        }
        Self { parts }
    }

    /// Returns the pages before and behind the one of a link.
    pub fn around(&self, link: &str) -> [Option<ContentsEntry<'a>>; 2] {
        let pages: Vec<_> = self.parts.iter().flat_map(|part| &part.pages).collect();
        let at = pages.iter().position(|page| page.link == link);
        let near = |at: Option<usize>| at.and_then(|at| pages.get(at)).map(|page| **page);
        [
            near(at.and_then(|at| at.checked_sub(1))),
            near(at.map(|at| at + 1)),
        ]
    }
}

fn entry_of(text: &str) -> Option<ContentsEntry<'_>> {
    let entry = text.trim_start().trim_start_matches("- ");
    let linked = entry.strip_prefix('[')?.strip_suffix(')')?;
    let (title, link) = linked.split_once("](")?;
    Some(ContentsEntry { title, link })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_has_parts_and_pages() {
        let contents = Contents::parse("# All\n\nText.\n\n[A](a.md)\n\n# B\n\n- [C](x/c.md)\n");
        let titles: Vec<_> = contents.parts.iter().map(|part| part.title).collect();
        assert_eq!(titles, ["All", "B"]);
        let [before, behind] = contents.around("x/c.md");
        assert_eq!(before.map(|page| page.title), Some("A"));
        assert_eq!(behind, None);
        assert_eq!(contents.around("other.md"), [None, None]);
    }
}
