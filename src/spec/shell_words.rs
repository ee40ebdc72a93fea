//! Words of a shell command, with the values of its variables.
//!
//! The main function is [`shell_words`].

use std::collections::HashMap;

use super::bounded_text::TextBound;

/// Returns the words of a command, with its variables replaced.
pub fn shell_words(text: &str, variables: &HashMap<String, String>) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (c, quote) {
            ('$', None | Some('"')) => {
                let (value, after) = variable(rest, variables)?;
                TextBound::SHELL.push(word.get_or_insert_default(), &value)?;
                rest = after;
            }
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\' | '*' | '?' | '(' | '{' | '#' | '~' | '\n', None) => {
                // Tildes occur in versions, and a leading one would be a home folder.
                if c != '~' || word.is_none() {
                    return None;
                }
                word.get_or_insert_default().push(c);
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// Returns the value of a variable, whose `$` was taken, and what follows.
fn variable<'a>(text: &'a str, variables: &HashMap<String, String>) -> Option<(String, &'a str)> {
    let (inside, rest) = if let Some(inside) = text.strip_prefix('{') {
        inside.split_once('}')?
    } else {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()))
    };
    let end = inside.find([':', '%', '#', '/']).unwrap_or(inside.len());
    let (name, operation) = inside.split_at(end);
    let value = variables.get(name)?;
    Some((parameter_expansion(value, operation)?, rest))
}

fn parameter_expansion(value: &str, operation: &str) -> Option<String> {
    if operation.is_empty() {
        return Some(value.to_owned());
    }
    if let Some(range) = operation.strip_prefix(':') {
        let (from, count) = range.split_once(':').unwrap_or((range, "4096"));
        let (from, count) = (from.trim().parse().ok()?, count.trim().parse().ok()?);
        return Some(value.chars().skip(from).take(count).collect());
    }
    if let Some(rest) = operation.strip_prefix('/') {
        let (is_all, rest) = match rest.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (from, to) = rest.split_once('/').unwrap_or((rest, ""));
        if from.is_empty() || from.contains(['*', '?', '[', '\\', '#', '%']) {
            return None;
        }
        let count = if is_all { usize::MAX } else { 1 };
        return TextBound::SHELL.replace(value, from, to, count);
    }
    let unchanged = || value.to_owned();
    let cut = match operation.strip_prefix("%%") {
        Some(pattern) => {
            let from = pattern.strip_suffix('*').filter(|from| is_plain(from))?;
            value.split_once(from).map(|(head, _)| head.to_owned())
        }
        None => match (operation.strip_prefix('%'), operation.strip_prefix("##")) {
            (Some(pattern), _) => match pattern.strip_suffix('*') {
                Some(from) if is_plain(from) => value.rsplit_once(from).map(|(a, _)| a.to_owned()),
                None if is_plain(pattern) => value.strip_suffix(pattern).map(str::to_owned),
                _ => return None,
            },
            (None, Some(pattern)) => {
                let to = pattern.strip_prefix('*').filter(|to| is_plain(to))?;
                value.rsplit_once(to).map(|(_, tail)| tail.to_owned())
            }
            (None, None) => {
                let pattern = operation.strip_prefix('#')?;
                match pattern.strip_prefix('*') {
                    Some(to) if is_plain(to) => value.split_once(to).map(|(_, b)| b.to_owned()),
                    None if is_plain(pattern) => value.strip_prefix(pattern).map(str::to_owned),
                    _ => return None,
                }
            }
        },
    };
    Some(cut.unwrap_or_else(unchanged))
}

fn is_plain(pattern: &str) -> bool {
    !pattern.is_empty() && !pattern.contains(['*', '?', '[', '\\', '$', '"', '\''])
}
