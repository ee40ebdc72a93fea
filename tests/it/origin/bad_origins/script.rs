//! Scripts of `tests/bad_origins.tsv`: what an origin does with one request after the other.

use std::collections::HashMap;

use crate::harness::{Body, gzip, marked};

/// Largest number of bytes that an endless response sends.
pub const ENDLESS_BYTES: usize = 64 << 20;

/// One step of a response.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// Sends the bytes one at a time.
    Drip(Vec<u8>),
    /// Sends the bytes again and again, until the peer closes or [`ENDLESS_BYTES`] are sent.
    Endless(Vec<u8>),
    /// Closes the connection, and ends the response.
    Close,
    /// Resets the connection, and ends the response.
    Reset,
    /// Closes the sending half only.
    HalfClose,
    /// Sends nothing more until the peer closes.
    Stall,
    /// Waits until the peer has sent something, and leaves it unread.
    Await,
}

/// One row of the table.
pub struct Row {
    pub name: String,
    /// Responses to the requests for one target, in turn. The last one repeats.
    pub responses: Vec<Vec<Step>>,
    /// The origin reads no request. It begins with the first response once it is connected.
    pub is_deaf: bool,
    /// Results that the table states.
    pub results: Vec<String>,
}

/// Bodies that scripts name.
pub struct Bodies {
    /// The file that is asked for.
    pub right: Body,
    words: HashMap<&'static str, Vec<u8>>,
}

impl Bodies {
    pub fn new() -> Self {
        let right = gzip(&marked(b"right", 1, 3000));
        let other = gzip(&marked(b"other", 2, 3000));
        assert_eq!(right.len(), other.len());
        let page = b"<!DOCTYPE html><html><title>Sign in</title></html>".to_vec();
        let half = right.len() / 2;
        let words = [
            ("body", right.to_vec()),
            ("other", other.to_vec()),
            ("first", right[..half].to_vec()),
            ("rest", right[half..].to_vec()),
            ("other-rest", other[half..].to_vec()),
            ("chunk", chunk(&right)),
            ("first-chunk", chunk(&right[..half])),
            ("packed", gzip(&right).to_vec()),
            ("packed-size", gzip(&right).len().to_string().into_bytes()),
            ("packed-page", gzip(&page).to_vec()),
            (
                "packed-page-size",
                gzip(&page).len().to_string().into_bytes(),
            ),
            ("page", page),
            ("size", right.len().to_string().into_bytes()),
            ("half", half.to_string().into_bytes()),
            ("last", (right.len() - 1).to_string().into_bytes()),
            ("longer", (right.len() + 10).to_string().into_bytes()),
            ("shorter", (right.len() - 10).to_string().into_bytes()),
            ("left", (right.len() - half).to_string().into_bytes()),
            ("100", vec![b'x'; 100]),
            ("70000", vec![b'x'; 70_000]),
        ];
        Self {
            right,
            words: words.into(),
        }
    }

    /// Whether bytes are the beginning of a body, or of its endless repetition.
    pub fn is_beginning(&self, bytes: &[u8]) -> bool {
        let mut words = self.words.values();
        words.any(|word| word.starts_with(bytes) || bytes.starts_with(word))
    }

    /// Whether bytes are the beginning of the right file and the rest of the other one.
    pub fn is_joined(&self, bytes: &[u8]) -> bool {
        bytes == [&self.words["first"][..], &self.words["other-rest"][..]].concat()
    }

    /// Names a body that a client got.
    pub fn name_of(&self, bytes: &[u8]) -> String {
        if bytes.is_empty() {
            return "empty".to_owned();
        }
        let mut words = self
            .words
            .iter()
            .filter(|(_, word)| word.as_slice() == bytes);
        match words.next() {
            Some((&"body", _)) => "right".to_owned(),
            Some((word, _)) => (*word).to_owned(),
            None if self.right.starts_with(bytes) => "beginning".to_owned(),
            None => format!("{} bytes", bytes.len()),
        }
    }
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

impl Row {
    /// Parses a line: name, script, and results. `port` is that of the origin.
    pub fn parse(line: &str, bodies: &Bodies, port: u16) -> Self {
        let mut columns = line.split('\t');
        let name = columns.next().expect("a name").to_owned();
        let script = columns
            .next()
            .unwrap_or_else(|| panic!("{name} has no script"));
        let (is_deaf, script) = match script.strip_prefix("!deaf ") {
            Some(script) => (true, script),
            None => (false, script),
        };
        let response = |text: &str| {
            let steps = text.split(" | ").map(|step| parse_step(step, bodies, port));
            steps.collect()
        };
        Self {
            responses: script.split(" || ").map(response).collect(),
            is_deaf,
            results: columns.map(str::to_owned).collect(),
            name,
        }
    }

    /// Whether the origin leaves the client waiting.
    pub fn waits(&self) -> bool {
        let mut steps = self.responses.iter().flatten();
        steps.any(|step| matches!(step, Step::Stall))
    }

    /// Returns the path of the target that a request of this kind asks for.
    pub fn path(&self, kind: &str) -> String {
        let file = if kind.ends_with("-fixed") {
            "x-1.0.tar.gz"
        } else {
            "list.tar.gz"
        };
        format!("/{}/{kind}/{file}", self.name)
    }
}

fn parse_step(text: &str, bodies: &Bodies, port: u16) -> Step {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "!close" => Step::Close,
        "!reset" => Step::Reset,
        "!half-close" => Step::HalfClose,
        "!stall" => Step::Stall,
        "!await" => Step::Await,
        "!drip" => Step::Drip(bytes_of(rest, bodies, port)),
        "!endless" => Step::Endless(bytes_of(rest, bodies, port)),
        _ => Step::Send(bytes_of(text, bodies, port)),
    }
}

/// Returns the bytes of a text: `~` is CR LF, `{word}` a body or a number, `\00` a byte, and `{OK}`
/// the beginning of a response that would be right.
fn bytes_of(text: &str, bodies: &Bodies, port: u16) -> Vec<u8> {
    let text = text
        .replace("{OK}", "HTTP/1.1 200 OK~ETag: \"a\"~")
        .replace("{PORT}", &port.to_string());
    let (mut bytes, mut rest) = (Vec::new(), text.as_str());
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '~' => {
                bytes.extend_from_slice(b"\r\n");
                1
            }
            '\\' => {
                bytes.push(u8::from_str_radix(&rest[1..3], 16).expect("two hexadecimal digits"));
                3
            }
            '{' => {
                let end = rest.find('}').expect("a closed brace");
                let word = &rest[1..end];
                let word = bodies.words.get(word);
                bytes.extend_from_slice(word.unwrap_or_else(|| panic!("no word: {rest}")));
                end + 1
            }
            other => {
                bytes.extend_from_slice(other.to_string().as_bytes());
                other.len_utf8()
            }
        };
        rest = &rest[used..];
    }
    bytes
}
