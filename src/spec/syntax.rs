//! Syntax of macros in a text. The file expands nothing.
//!
//! The main function is [`next_piece`].

/// Part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    /// `%%`, which means one `%`.
    Percent,
    Call(MacroCall<'a>),
    /// `%(command)`.
    Shell(&'a str),
    /// `%[expression]`.
    Expression(&'a str),
}

/// Call of a macro, such as `%name`, `%{?name:text}` and `%{name argument}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacroCall<'a> {
    pub name: &'a str,
    pub test: MacroTest,
    pub tail: CallTail<'a>,
}

/// Condition of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacroTest {
    None,
    /// `?`
    Defined,
    /// `!?`
    Undefined,
}

/// Text after the name of a macro in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallTail<'a> {
    None,
    /// After a colon.
    Body(&'a str),
    /// After a blank, within braces.
    Arguments(&'a str),
    /// The call has no braces. A macro with parameters takes the rest of the line.
    Line,
}

/// Returns the first part of a text that is not empty, and its length in bytes.
pub fn next_piece(text: &str) -> (Piece<'_>, usize) {
    let Some(rest) = text.strip_prefix('%') else {
        let end = text.find('%').unwrap_or(text.len());
        return (Piece::Text(&text[..end]), end);
    };
    let alone = (Piece::Text(&text[..1]), 1);
    match rest.as_bytes().first() {
        Some(b'%') => (Piece::Percent, 2),
        Some(b'(') => match matching(rest, b'(', b')') {
            Some(end) => (Piece::Shell(&rest[1..end]), end + 2),
            None => alone,
        },
        Some(b'[') => match matching(rest, b'[', b']') {
            Some(end) => (Piece::Expression(&rest[1..end]), end + 2),
            None => alone,
        },
        Some(b'{') => {
            let Some(end) = matching(rest, b'{', b'}') else {
                return alone;
            };
            match braced(&rest[1..end]) {
                Some(call) => (Piece::Call(call), end + 2),
                None => (Piece::Text(&text[..end + 2]), end + 2),
            }
        }
        _ => {
            let (presence, after) = take_test(rest);
            let name_bytes = name_length(after);
            if name_bytes == 0 {
                return alone;
            }
            let call = MacroCall {
                name: &after[..name_bytes],
                test: presence,
                tail: CallTail::Line,
            };
            (Piece::Call(call), 1 + rest.len() - after.len() + name_bytes)
        }
    }
}

/// Returns the position of the bracket that closes the one at the start of the text.
pub fn matching(text: &str, open: u8, close: u8) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == open {
            depth += 1;
        } else if byte == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

fn braced(inside: &str) -> Option<MacroCall<'_>> {
    let (test, after) = take_test(inside);
    let name_bytes = name_length(after);
    let (name, rest) = after.split_at(name_bytes);
    if name.is_empty() {
        return None;
    }
    let tail = match rest.as_bytes().first() {
        None => CallTail::None,
        Some(b':') => CallTail::Body(&rest[1..]),
        Some(byte) if byte.is_ascii_whitespace() => CallTail::Arguments(rest.trim()),
        Some(_) => return None,
    };
    Some(MacroCall { name, test, tail })
}

/// Takes `?` and `!` in front of a name.
fn take_test(text: &str) -> (MacroTest, &str) {
    let after = text.trim_start_matches(['?', '!']);
    let flags = &text[..text.len() - after.len()];
    let presence = if !flags.contains('?') {
        MacroTest::None
    } else if flags.matches('!').count() % 2 == 1 {
        MacroTest::Undefined
    } else {
        MacroTest::Defined
    };
    (presence, after)
}

/// Returns the length of the name at the start of a text: a word, a number, `*`, `**`, `#`, `-f`
/// or `-f*`.
fn name_length(text: &str) -> usize {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'#') => 1,
        Some(b'*') => bytes
            .iter()
            .take(2)
            .take_while(|byte| **byte == b'*')
            .count(),
        Some(b'-') if bytes.get(1).is_some_and(u8::is_ascii_alphabetic) => {
            2 + usize::from(bytes.get(2) == Some(&b'*'))
        }
        _ => bytes.iter().take_while(|byte| is_word(byte)).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(name: &'a str, test: MacroTest, tail: CallTail<'a>) -> Piece<'a> {
        Piece::Call(MacroCall { name, test, tail })
    }

    #[test]
    fn calls_have_all_forms() {
        use CallTail::{Arguments, Body, Line};
        use MacroTest::{Defined, Undefined};
        let none = MacroTest::None;
        for (text, expected) in [
            ("%name-x", (call("name", none, Line), 5)),
            ("%?name", (call("name", Defined, Line), 6)),
            ("%{name}", (call("name", none, CallTail::None), 7)),
            ("%{?a:%{b}}", (call("a", Defined, Body("%{b}")), 10)),
            ("%{!?a:x}y", (call("a", Undefined, Body("x")), 8)),
            ("%{a  b c }", (call("a", none, Arguments("b c")), 10)),
            ("%{-f*}", (call("-f*", none, CallTail::None), 6)),
            ("%1x", (call("1x", none, Line), 3)),
            ("%%a", (Piece::Percent, 2)),
            ("%(a (b) c)d", (Piece::Shell("a (b) c"), 10)),
            ("%[1 + 2]", (Piece::Expression("1 + 2"), 8)),
            ("a%b", (Piece::Text("a"), 1)),
            ("%{open", (Piece::Text("%"), 1)),
            ("%{a-b}", (Piece::Text("%{a-b}"), 6)),
            ("% x", (Piece::Text("%"), 1)),
        ] {
            assert_eq!(next_piece(text), expected, "{text}");
        }
    }
}
