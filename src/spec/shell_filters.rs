//! Commands that filter a text: `tr`, `cut`, `head`, `sed` and `awk` in their plain forms.
//!
//! The main function is [`filter_text`].

use super::bounded_text::TextBound;

/// Filters a text. `None` if the command is none of the known ones.
pub fn filter_text(words: &[String], text: &str) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["tr", "-d", set] => {
            let set = char_set(set)?;
            Some(text.chars().filter(|c| !set.contains(c)).collect())
        }
        ["tr", from, to] => {
            let (from, to) = (char_set(from)?, char_set(to)?);
            let last = *to.last()?;
            let change = |c: char| match from.iter().position(|found| *found == c) {
                Some(at) => to.get(at).copied().unwrap_or(last),
                None => c,
            };
            Some(text.chars().map(change).collect())
        }
        ["cut", ref options @ ..] => cut(options, text),
        ["head", "-c", count] => {
            let count: usize = count.parse().ok()?;
            Some(text.chars().take(count).collect())
        }
        ["head", count] if count.starts_with("-c") => {
            let count: usize = count[2..].parse().ok()?;
            Some(text.chars().take(count).collect())
        }
        ["sed", ref options @ ..] => sed(options, text),
        ["awk", ref options @ ..] => awk(options, text),
        _ => None,
    }
}

/// Returns the characters of a set of `tr`, without classes.
fn char_set(set: &str) -> Option<Vec<char>> {
    match set {
        "[:upper:]" | "A-Z" => Some(('A'..='Z').collect()),
        "[:lower:]" | "a-z" => Some(('a'..='z').collect()),
        _ if set.contains(['\\', '[']) || (set.len() > 1 && set.contains('-')) => None,
        _ => Some(set.chars().collect()),
    }
}

fn cut(options: &[&str], text: &str) -> Option<String> {
    let (mut delimiter, mut fields, mut chars) = ('\t', None, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let (kind, value) = option.split_at_checked(2)?;
        let value = match value {
            "" => options.next()?,
            value => value.trim_start_matches('='),
        };
        match kind {
            "-d" => delimiter = value.chars().next()?,
            "-f" => fields = Some(value),
            "-c" | "-b" => chars = Some(value),
            _ => return None,
        }
    }
    match (fields, chars) {
        (Some(list), None) => {
            let parts: Vec<&str> = text.split(delimiter).collect();
            if parts.len() == 1 {
                return Some(text.to_owned());
            }
            let picked: Vec<&str> = pick(list, &parts)?;
            Some(picked.join(&delimiter.to_string()))
        }
        (None, Some(list)) => {
            let parts: Vec<char> = text.chars().collect();
            Some(pick(list, &parts)?.into_iter().collect())
        }
        _ => None,
    }
}

/// Returns the items of a list such as `1,3-`, in the order of the items.
fn pick<T: Copy>(list: &str, items: &[T]) -> Option<Vec<T>> {
    let mut is_picked = vec![false; items.len()];
    for part in list.split(',') {
        let (from, to) = match part.split_once('-') {
            Some((from, to)) => (
                if from.is_empty() {
                    1
                } else {
                    from.parse().ok()?
                },
                if to.is_empty() {
                    items.len()
                } else {
                    to.parse().ok()?
                },
            ),
            None => (part.parse().ok()?, part.parse().ok()?),
        };
        for at in from.max(1)..=to.min(items.len()) {
            is_picked[at - 1] = true;
        }
    }
    let picked = items.iter().zip(is_picked);
    Some(
        picked
            .filter(|(_, is_picked)| *is_picked)
            .map(|(item, _)| *item)
            .collect(),
    )
}

/// `sed` with substitutions of plain texts.
fn sed(options: &[&str], text: &str) -> Option<String> {
    let mut text = text.to_owned();
    let scripts: Vec<&str> = if let [script] = options {
        vec![script]
    } else {
        let mut scripts = Vec::new();
        for pair in options.chunks(2) {
            let ["-e", script] = pair else { return None };
            scripts.push(*script);
        }
        scripts
    };
    for script in scripts.iter().flat_map(|script| script.split(';')) {
        let script = script.trim().strip_prefix('s')?;
        let mark = script.chars().next()?;
        let parts: Vec<&str> = script.split(mark).collect();
        let ["", from, to, flags] = parts[..] else {
            return None;
        };
        if to.contains(['&', '\\']) {
            return None;
        }
        text = match (plain_pattern(from)?, flags) {
            (Pattern::Any(from), "g") => TextBound::SHELL.replace(&text, &from, to, usize::MAX)?,
            (Pattern::Any(from), "") => text.replacen(&from, to, 1),
            (Pattern::Start(from), "" | "g") => match text.strip_prefix(&from) {
                Some(rest) => format!("{to}{rest}"),
                None => text,
            },
            (Pattern::End(from), "" | "g") => match text.strip_suffix(&from) {
                Some(rest) => format!("{rest}{to}"),
                None => text,
            },
            _ => return None,
        };
    }
    Some(text)
}

/// Pattern without special characters.
enum Pattern {
    Any(String),
    Start(String),
    End(String),
}

fn plain_pattern(pattern: &str) -> Option<Pattern> {
    let (is_start, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (is_end, rest) = match rest.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.replace("\\.", "\u{1}").replace("[.]", "\u{1}");
    if rest.is_empty() || rest.contains(['.', '*', '[', ']', '\\', '^', '$', '+', '?', '(', '{']) {
        return None;
    }
    let plain = rest.replace('\u{1}', ".");
    match (is_start, is_end) {
        (false, false) => Some(Pattern::Any(plain)),
        (true, false) => Some(Pattern::Start(plain)),
        (false, true) => Some(Pattern::End(plain)),
        (true, true) => None,
    }
}

/// `awk` that prints fields and quoted texts.
fn awk(options: &[&str], text: &str) -> Option<String> {
    let (delimiter, program) = match options {
        ["-F", delimiter, program] => (*delimiter, *program),
        [delimiter, program] => (delimiter.strip_prefix("-F")?, *program),
        _ => return None,
    };
    let program = program.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut rest = program
        .trim()
        .trim_end_matches(';')
        .strip_prefix("print")?
        .trim();
    let parts: Vec<&str> = text.split(delimiter).collect();
    let mut output = String::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('$') {
            let end = after
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len());
            let number: usize = after[..end].parse().ok()?;
            let part = parts.get(number.checked_sub(1)?).unwrap_or(&"");
            TextBound::SHELL.push(&mut output, part)?;
            rest = after[end..].trim_start();
        } else {
            let (text, after) = rest.strip_prefix('"')?.split_once('"')?;
            TextBound::SHELL.push(&mut output, text)?;
            rest = after.trim_start();
        }
    }
    Some(output)
}
