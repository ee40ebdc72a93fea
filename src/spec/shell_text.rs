//! Output of shell commands that only change a text, computed without a shell.
//!
//! Specs shorten commits and versions with `echo`, `cut`, `tr`, `sed` and parameter expansions.
//! Every other command is unknown. The main function is [`shell_output`].

use std::collections::HashMap;

use super::bounded_text::TextBound;
use super::shell_filters::filter_text;
use super::shell_words::shell_words;

/// Returns the output of a command, or `None` if it is none of the known ones.
pub fn shell_output(command: &str) -> Option<String> {
    if command.len() > TextBound::SHELL.0 {
        return None;
    }
    let mut variables = HashMap::new();
    let mut statements = split_outside_quotes(command.trim(), ';')?;
    let last = statements.pop()?;
    for statement in statements {
        let (name, value) = statement.trim().split_once('=')?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_word) {
            return None;
        }
        let value = shell_words(value, &variables)?.pop().unwrap_or_default();
        variables.insert(name.to_owned(), value);
    }
    let mut stages = split_outside_quotes(&last, '|')?.into_iter();
    let (first, input) = match stages.next()?.split_once("<<<") {
        Some((first, input)) => (first.to_owned(), Some(input.to_owned())),
        None => (last.split('|').next()?.to_owned(), None),
    };
    let words = shell_words(&first, &variables)?;
    let mut text = match input {
        Some(input) => filter_text(&words, &shell_words(&input, &variables)?.join(" "))?,
        None => echo(&words)?,
    };
    for stage in stages {
        text = filter_text(&shell_words(&stage, &variables)?, &text)?;
    }
    Some(text.trim_end_matches('\n').to_owned())
}

fn echo(words: &[String]) -> Option<String> {
    let (command, rest) = words.split_first()?;
    match command.as_str() {
        "echo" => {
            let rest = rest.strip_prefix(&["-n".to_owned()]).unwrap_or(rest);
            let is_plain = rest.iter().all(|word| !word.contains('\\'));
            is_plain.then(|| rest.join(" "))
        }
        "printf" => match rest {
            [form, text] if form == "%s" => Some(text.clone()),
            [text] if !text.contains(['%', '\\']) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Splits a command at a character outside of quotes.
fn split_outside_quotes(text: &str, at: char) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None::<char>);
    for c in text.chars() {
        match (c, quote) {
            ('`' | '&' | '>', None) | ('`', Some('"')) => return None,
            (c, None) if c == at => parts.push(std::mem::take(&mut part)),
            (c, None) => {
                quote = matches!(c, '"' | '\'').then_some(c);
                part.push(c);
            }
            (c, Some(open)) => {
                quote = (c != open).then_some(open);
                part.push(c);
            }
        }
    }
    parts.push(part);
    (quote.is_none() && parts.len() < 20).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_commands_are_computed() {
        for (command, expected) in [
            ("c=0123456789abcdef; echo ${c:0:7}", Some("0123456")),
            ("echo 1.2.3 | cut -d. -f1-2", Some("1.2")),
            ("echo 1.2.3 | cut -d . -f 1,3", Some("1.3")),
            ("echo abcdefgh | cut -c1-7", Some("abcdefg")),
            ("cut -b -3 <<< abcdef", Some("abc")),
            ("echo 1.2.3 | tr . _", Some("1_2_3")),
            ("echo 'Abc' | tr '[:upper:]' '[:lower:]'", Some("abc")),
            ("echo 1.2~rc1 | sed 's/~//'", Some("1.2rc1")),
            ("echo v1.2 | sed -e 's/^v//' -e 's/\\./_/g'", Some("1_2")),
            ("echo 1.2.3 | awk -F. '{print $1\".\"$2}'", Some("1.2")),
            ("v=1.2.3; echo ${v%.*}", Some("1.2")),
            ("v=1.2.3; echo ${v%%.*}", Some("1")),
            ("v=1.2.3; echo ${v//./-}", Some("1-2-3")),
            ("v=v1; echo ${v#v}", Some("1")),
            ("printf %s abc | head -c 2", Some("ab")),
            ("touch file; echo 1", None),
            ("echo $(id)", None),
            ("echo `id`", None),
            ("date +%Y", None),
            ("echo a > file", None),
            ("echo a | sh", None),
            ("cat /etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(shell_output(command).as_deref(), expected, "{command}");
        }
    }
}
