//! `conandata.yml` of a Conan recipe: URLs and digests of the sources of each version.
//!
//! A full YAML parser is not needed: recipes write keys, texts and lists of texts only.

use super::{BadLine, digest, located};
use crate::cache::CatalogEntry;
use crate::model::{Digest, ExpectedDigests};

/// Keys of digests in a source.
const DIGESTS: [&str; 4] = ["sha256", "sha512", "sha1", "md5"];

/// One source while its lines are read.
#[derive(Default)]
struct RecipeSource {
    urls: Vec<String>,
    digests: Vec<Digest>,
    /// Column of its keys.
    indent: usize,
    /// Whether lines of a list of URLs follow.
    is_in_list: bool,
}

impl RecipeSource {
    /// Adds the entries of the source, and begins another one.
    fn finish(&mut self, entries: &mut Vec<CatalogEntry>) {
        let source = std::mem::take(self);
        let digests: ExpectedDigests = source.digests.into_iter().collect();
        if !digests.is_empty() {
            let located = |url: &String| located(url, None, digests.clone());
            entries.extend(source.urls.iter().filter_map(located));
        }
    }
}

/// Parses a `conandata.yml`.
///
/// # Errors
/// [`BadLine`].
pub fn parse(text: &str) -> Result<Vec<CatalogEntry>, BadLine> {
    let mut entries = Vec::new();
    let mut source = RecipeSource::default();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') || content == "---" {
            continue;
        }
        let bad = |reason| BadLine {
            line: number + 1,
            reason,
        };
        let item = content.strip_prefix("- ");
        let indent = line.len() - line.trim_start().len() + if item.is_some() { 2 } else { 0 };
        let content = item.unwrap_or(content).trim();
        if source.is_in_list
            && let Some(url) = item.map(unquoted).filter(|text| text.contains("://"))
            && !url.starts_with("url:")
        {
            source.urls.push(url.to_owned());
            continue;
        }
        source.is_in_list = false;
        let Some((key, value)) = split_key(content) else {
            if item.is_some() {
                continue;
            }
            return Err(bad("the line must be like key: value"));
        };
        if item.is_some() || indent != source.indent || key == "url" && !source.urls.is_empty() {
            source.finish(&mut entries);
            source.indent = indent;
        }
        if key == "url" {
            source.is_in_list = value.is_empty();
            source
                .urls
                .extend((!value.is_empty()).then(|| value.to_owned()));
        } else if DIGESTS.contains(&key) {
            source.digests.extend(digest(key, value).map_err(bad)?);
        }
    }
    source.finish(&mut entries);
    Ok(entries)
}

/// Splits `key: value`, and removes quotes and comments.
fn split_key(content: &str) -> Option<(&str, &str)> {
    let (key, value) = content.split_once(": ").or_else(|| {
        let key = content.strip_suffix(':')?;
        Some((key, ""))
    })?;
    Some((unquoted(key), unquoted(value)))
}

fn unquoted(text: &str) -> &str {
    let text = text.split(" #").next().unwrap_or_default().trim();
    text.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_versions_are_read() {
        let (one, other) = ("ab".repeat(32), "cd".repeat(32));
        let text = [
            "sources:\n  \"1.2\":\n    url: \"https://h/x-1.2.tar.gz\"\n    sha256: \"",
            &one,
            "\"\n  1.3:\n    url:\n      - \"https://h/x-1.3.tar.gz\"\n",
            "      - https://m/x-1.3.tar.gz\n    sha256: ",
            &other,
            "\npatches:\n  \"1.2\":\n    - patch_file: patches/a.patch\n",
            "      patch_description: some text\n",
        ]
        .concat();
        let found: Vec<_> = parse(&text)
            .unwrap()
            .into_iter()
            .map(|entry| {
                (
                    entry.target.unwrap().as_str().to_owned(),
                    entry.digests.to_string(),
                )
            })
            .collect();
        let (one, other) = (format!("sha256:{one}"), format!("sha256:{other}"));
        assert_eq!(
            found,
            [
                ("https://h/x-1.2.tar.gz".to_owned(), one),
                ("https://h/x-1.3.tar.gz".to_owned(), other.clone()),
                ("https://m/x-1.3.tar.gz".to_owned(), other),
            ]
        );
    }

    #[test]
    fn bad_conandata_line_is_named() {
        let error = parse("sources:\n  nonsense\n").unwrap_err();
        assert_eq!(error.line, 2);
        let error = parse("sources:\n  \"1\":\n    sha256: ab\n").unwrap_err();
        assert_eq!(error.line, 3);
    }
}
