//! Lines of the preamble of a spec, with their macros expanded: tags and sections.

/// Tags whose values are macros for the rest of the spec.
const MACRO_TAGS: [&str; 7] = [
    "name", "version", "release", "epoch", "url", "summary", "license",
];

/// Names of sections that have no tags.
const SECTIONS: [&str; 24] = [
    "description",
    "prep",
    "build",
    "install",
    "check",
    "clean",
    "pre",
    "post",
    "preun",
    "postun",
    "pretrans",
    "posttrans",
    "preuntrans",
    "postuntrans",
    "verifyscript",
    "files",
    "changelog",
    "conf",
    "generate_buildrequires",
    "sepolicy",
    "triggerin",
    "triggerun",
    "triggerpostun",
    "triggerprein",
];

/// Section of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Tags of the package itself.
    Preamble,
    /// Tags of a further package.
    Package,
    /// `%sourcelist`: one source a line.
    SourceList,
    /// `%patchlist`: one patch a line.
    PatchList,
    /// No tags.
    Other,
}

impl Section {
    /// Returns the section that a line begins.
    pub fn parse(line: &str) -> Option<Self> {
        let text = line.strip_prefix('%')?;
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let word = &text[..end.unwrap_or(text.len())];
        if text[word.len()..].starts_with(|c: char| !c.is_whitespace()) {
            return None;
        }
        match word {
            "package" => Some(Self::Package),
            "sourcelist" => Some(Self::SourceList),
            "patchlist" => Some(Self::PatchList),
            word if SECTIONS.contains(&word) || word.contains("filetrigger") => Some(Self::Other),
            _ => None,
        }
    }

    pub fn has_tags(self) -> bool {
        matches!(self, Self::Preamble | Self::Package)
    }
}

/// Tag of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag<'a> {
    Source(Option<u32>),
    Patch(Option<u32>),
    /// A tag whose value is a macro for the rest of the spec: its name in lower case.
    Macro(&'static str),
    Other(&'a str),
}

/// Parses `Tag: value`. Returns the tag, and the position of the value, whose blanks are trimmed.
pub fn parse_tag(line: &str) -> Option<(Tag<'_>, std::ops::Range<usize>)> {
    let (name, value) = line.split_once(':')?;
    let from = name.len() + 1;
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let from = from + (value.len() - value.trim_start().len());
    let range = from..from + value.trim().len();
    let numbered = |prefix: &str| -> Option<Option<u32>> {
        let head = name.get(..prefix.len())?;
        let digits = head
            .eq_ignore_ascii_case(prefix)
            .then(|| &name[prefix.len()..])?;
        if digits.is_empty() {
            Some(None)
        } else {
            digits.parse().ok().map(Some)
        }
    };
    let tag = if let Some(number) = numbered("source") {
        Tag::Source(number)
    } else if let Some(number) = numbered("patch") {
        Tag::Patch(number)
    } else {
        let known = MACRO_TAGS.iter().find(|tag| name.eq_ignore_ascii_case(tag));
        known.map_or(Tag::Other(name), |tag| Tag::Macro(tag))
    };
    Some((tag, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_numbers_and_values() {
        let parsed = |line| parse_tag(line).map(|(tag, range)| (tag, &line[range]));
        let source = |number| Tag::Source(number);
        assert_eq!(parsed("Source0:\t a b "), Some((source(Some(0)), "a b")));
        assert_eq!(parsed("source: x"), Some((source(None), "x")));
        assert_eq!(parsed("PATCH12 :x"), Some((Tag::Patch(Some(12)), "x")));
        assert_eq!(
            parsed("URL: https://x"),
            Some((Tag::Macro("url"), "https://x"))
        );
        assert_eq!(parsed("Sources: x"), Some((Tag::Other("Sources"), "x")));
        assert_eq!(parsed("no tag: x"), None);
        assert_eq!(Section::parse("%package -n x"), Some(Section::Package));
        assert_eq!(Section::parse("%prep"), Some(Section::Other));
        assert_eq!(Section::parse("%prepare"), None);
    }
}
