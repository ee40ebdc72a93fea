//! Functions of RPM on texts, such as `%{basename:...}` and `%{lower:...}`.
//!
//! The arguments are expanded already. The main function is [`call_function`].

use super::bounded_text::TextBound;
use super::words::{QUOTE, split_words};

/// Bound on `%{rep:...}`, so that no text grows without a check.
const MAX_REPEATS: usize = 1000;

/// Calls a function that takes one text. `None` if there is no such function.
pub fn call_function(name: &str, text: &str) -> Option<String> {
    Some(match name {
        "lower" => text.to_lowercase(),
        "upper" => text.to_uppercase(),
        "basename" => text.rsplit('/').next().unwrap_or(text).to_owned(),
        "url2path" | "u2p" => match text.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
            None => text.to_owned(),
        },
        "dirname" => match text.rsplit_once('/') {
            Some((folder, _)) => folder.to_owned(),
            None => ".".to_owned(),
        },
        "suffix" => text
            .rsplit_once('.')
            .map_or("", |(_, suffix)| suffix)
            .to_owned(),
        "quote" => format!("{QUOTE}{text}{QUOTE}"),
        "shrink" => text.split_whitespace().collect::<Vec<_>>().join(" "),
        "len" => text.chars().count().to_string(),
        "reverse" => text.chars().rev().collect(),
        // Their effects are on the build machine, or on the log.
        "echo" | "warn" | "error" | "trace" | "dump" | "verbose" | "load" | "include" => {
            String::new()
        }
        _ => return None,
    })
}

/// Calls a function that takes words. `None` if there is no such function, or words are missing.
pub fn call_with_words(name: &str, arguments: &str) -> Option<String> {
    let words = split_words(arguments);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (name, &words[..]) {
        ("gsub", [text, from, to, ..]) => {
            TextBound::LINE.replace(text, &literal(from)?, to, usize::MAX)
        }
        ("sub", [text, from]) => substring(text, from, "-1"),
        ("sub", [text, from, to]) => substring(text, from, to),
        ("rep", [text, count]) => {
            let count: usize = count.parse().ok()?;
            let is_short = text.len().checked_mul(count)? <= TextBound::LINE.0;
            (is_short && count <= MAX_REPEATS).then(|| text.repeat(count))
        }
        ("lower" | "upper" | "basename" | "dirname" | "suffix" | "len" | "reverse", [text]) => {
            call_function(name, text)
        }
        ("shrink" | "quote", _) => call_function(name, arguments),
        _ => None,
    }
}

/// Returns the text of a pattern of Lua without special characters.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => text.push(chars.next().filter(|c| !c.is_ascii_alphanumeric())?),
            '^' | '$' | '(' | ')' | '.' | '[' | ']' | '*' | '+' | '-' | '?' => {
                // A single special character is meant literally only by mistake, apart from these.
                if pattern.len() > 1 || !matches!(c, '-' | '+') {
                    return None;
                }
                text.push(c);
            }
            c => text.push(c),
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Returns a part of a text as `string.sub` of Lua does: from 1, and from the end if negative.
fn substring(text: &str, from: &str, to: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let length = i64::try_from(chars.len()).ok()?;
    let place = |number: &str| -> Option<i64> {
        let number: i64 = number.parse().ok()?;
        Some(if number < 0 {
            length + number + 1
        } else {
            number
        })
    };
    let from = place(from)?.clamp(1, length + 1);
    let to = place(to)?.clamp(0, length);
    if from > to {
        return Some(String::new());
    }
    let (from, to) = (usize::try_from(from - 1).ok()?, usize::try_from(to).ok()?);
    Some(chars[from..to].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_follow_rpm() {
        for (name, text, expected) in [
            ("lower", "AbC", Some("abc")),
            (
                "basename",
                "https://example.org/a/b.tar.gz",
                Some("b.tar.gz"),
            ),
            ("dirname", "a/b/c", Some("a/b")),
            ("suffix", "x.tar.gz", Some("gz")),
            ("u2p", "https://example.org/a/b", Some("/a/b")),
            ("unknown", "x", None),
        ] {
            assert_eq!(call_function(name, text).as_deref(), expected, "{name}");
        }
        for (name, text, expected) in [
            ("sub", "abcdef 1 2", Some("ab")),
            ("sub", "abcdef -2", Some("ef")),
            ("gsub", "a_b_c _ -", Some("a-b-c")),
            ("gsub", "a.b %. _", Some("a_b")),
            ("gsub", "a.b .+ _", None),
            ("rep", "ab 2", Some("abab")),
            ("rep", "ab 99999999", None),
        ] {
            assert_eq!(
                call_with_words(name, text).as_deref(),
                expected,
                "{name} {text}"
            );
        }
    }
}
