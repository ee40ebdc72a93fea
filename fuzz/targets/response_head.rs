//! Heads of an origin's responses in any pieces, and each head as the HTTP library reads it.

#![no_main]

use httparse::{EMPTY_HEADER, ParserConfig, Status};
use libfuzzer_sys::fuzz_target;
use millpond::origin::{HeadReader, Requests};
use tokio::io::ReadBuf;

/// Largest number of fields that this target reads.
const MAX_FIELDS: usize = 256;

/// Names of the fields that state where a body ends.
const FRAMING_FIELDS: [&str; 2] = ["transfer-encoding", "content-length"];

/// Bytes of a connection that the HTTP client gets.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    bytes: Vec<u8>,
    /// How many received bytes belong to heads. `None` if the last head has no end.
    heads_bytes: Option<usize>,
    is_rewritten: bool,
}

/// Passes bytes through the reader in pieces. `None` if it refuses them.
fn pass(bytes: &[u8], piece_bytes: usize) -> Option<Passed> {
    let mut reader = HeadReader::new(Requests::One);
    let mut passed = Vec::new();
    let mut give = |reader: &mut HeadReader| {
        let mut buffer = [0; 4096];
        let mut buffer = ReadBuf::new(&mut buffer);
        while reader.give(&mut buffer) {
            passed.extend_from_slice(buffer.filled());
            buffer.clear();
        }
    };
    let (mut taken, mut heads_bytes) = (0, None);
    for piece in bytes.chunks(piece_bytes) {
        if !reader.is_in_head() {
            break;
        }
        reader.receive(piece).ok()?;
        give(&mut reader);
        taken += piece.len();
        // With pieces of one byte, this is where the last head ends.
        heads_bytes = (!reader.is_in_head()).then_some(taken);
    }
    if reader.is_in_head() {
        reader.end();
        give(&mut reader);
    }
    let is_rewritten = reader.rewritten_head().is_rewritten();
    passed.extend_from_slice(&bytes[taken..]);
    Some(Passed {
        bytes: passed,
        heads_bytes,
        is_rewritten,
    })
}

/// Returns the lines whose name is that of a framing field, if other bytes than letters, digits and
/// hyphens are left out.
fn framing_lines(head: &[u8]) -> Vec<String> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let names = lines.map(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let name: Vec<u8> = name.iter().copied().filter(is_in_name).collect();
        String::from_utf8_lossy(&name).to_ascii_lowercase()
    });
    names
        .filter(|name| FRAMING_FIELDS.contains(&name.as_str()))
        .collect()
}

/// Asserts that the library reads each head where it ends and with all its framing fields. Returns
/// where the last head ends, or `None` if the library refuses one or waits for more.
fn assert_read_alike(passed: &[u8]) -> Option<usize> {
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    let mut start = 0;
    loop {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(Status::Complete(length)) = config.parse_response(&mut response, &passed[start..])
        else {
            return None;
        };
        let mut read: Vec<String> = response
            .headers
            .iter()
            .map(|field| field.name.to_ascii_lowercase())
            .filter(|name| FRAMING_FIELDS.contains(&name.as_str()))
            .collect();
        let head = &passed[start..start + length];
        let text = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        let mut lines = framing_lines(&head[text.unwrap_or_default()..]);
        read.sort();
        lines.sort();
        assert_eq!(read, lines, "the library ignores a line about the framing");
        start += length;
        if !matches!(response.code, Some(100 | 102..=199)) {
            return Some(start);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece_bytes, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = pass(bytes, bytes.len().max(1));
    let by_bytes = pass(bytes, 1);
    for other in [&pass(bytes, usize::from(piece_bytes).max(1)), &by_bytes] {
        let bytes = |passed: &Option<Passed>| {
            passed
                .as_ref()
                .map(|passed| (passed.bytes.clone(), passed.is_rewritten))
        };
        assert_eq!(bytes(other), bytes(&whole));
    }
    let (Some(whole), Some(by_bytes)) = (whole, by_bytes) else {
        return;
    };
    let Some(end) = assert_read_alike(&whole.bytes) else {
        return;
    };
    if whole.is_rewritten {
        assert!(
            whole.bytes[..end]
                .windows(17)
                .any(|window| window == b"Connection: close")
        );
        return;
    }
    // Only empty lines in front of heads are left out.
    let left_out = bytes.len() - whole.bytes.len();
    assert_eq!(
        by_bytes.heads_bytes,
        Some(end + left_out),
        "the heads end elsewhere"
    );
    assert!(bytes.ends_with(&whole.bytes[end..]));
});
