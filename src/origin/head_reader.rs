//! Heads of the responses on one connection, before the HTTP client parses them.
//!
//! The client ignores lines that it cannot read, and refuses chunks of an HTTP/1.0 server. A head
//! in which such a line concerns the framing is refused here, since the end of its body would be a
//! guess. It knows no request and no body. The main type is [`HeadReader`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::ReadBuf;

use super::head_repair::repair;

/// Maximum size of a head in bytes, with the informational ones before it. wget has the same bound.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Beginning of each head.
const START: &[u8] = b"HTTP/1.";

/// Beginning of the status line of a server that claims not to know chunks.
const HTTP_1_0: &[u8] = b"HTTP/1.0 ";

/// The status line of the same head as HTTP/1.1, without its status.
const HTTP_1_1: &[u8] = b"HTTP/1.1 ";

/// Field of a rewritten head. Bytes after its body may belong to no response (RFC 9112, section
/// 6.1).
const CLOSE: &[u8] = b"Connection: close\r\n";

/// Names of the fields that state where a body ends.
const FRAMING_FIELDS: [&str; 2] = ["Transfer-Encoding", "Content-Length"];

/// Error returned when a head cannot be passed to the HTTP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    #[error("the head of the origin's response is longer than {MAX_HEAD_BYTES} bytes")]
    TooLong,
    /// A line with the name of this field is malformed.
    #[error("the origin's response has a malformed {0} line")]
    MalformedField(&'static str),
}

/// Number of requests that a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    One,
    /// One after the other, none with a body. A body could still be sent after the head of its
    /// response, so that a write would not show where the next response begins.
    Many,
}

/// Whether a head was rewritten from HTTP/1.0. The connection shares it with its responses.
#[derive(Debug, Clone, Default)]
pub struct RewrittenHead(Arc<AtomicBool>);

impl RewrittenHead {
    #[must_use]
    pub fn is_rewritten(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Reader of the heads on one connection. It holds a head back until the head is complete.
#[derive(Debug)]
pub struct HeadReader {
    requests: Requests,
    phase: Phase,
    /// Received bytes of the head, in [`Phase::Head`].
    head: Vec<u8>,
    /// Number of bytes of `head` that were searched for its end.
    searched: usize,
    /// Size of what came before `head` in the same response, in bytes: informational heads and
    /// empty lines.
    earlier_bytes: usize,
    /// Bytes for the HTTP client, of which the first `given` bytes were given.
    ready: Vec<u8>,
    given: usize,
    rewritten: RewrittenHead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    /// The bytes of a body, or bytes that are no head. They are not looked at.
    Body,
}

impl HeadReader {
    #[must_use]
    pub fn new(requests: Requests) -> Self {
        Self {
            requests,
            phase: Phase::Head,
            head: Vec::new(),
            searched: 0,
            earlier_bytes: 0,
            ready: Vec::new(),
            given: 0,
            rewritten: RewrittenHead::default(),
        }
    }

    #[must_use]
    pub fn rewritten_head(&self) -> RewrittenHead {
        self.rewritten.clone()
    }

    /// Whether received bytes must be passed to [`HeadReader::receive`].
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.phase == Phase::Head
    }

    /// Expects another head, because the HTTP client writes the next request.
    pub fn begin_request(&mut self) {
        if self.requests == Requests::Many && self.phase == Phase::Body {
            self.phase = Phase::Head;
            self.earlier_bytes = 0;
        }
    }

    /// Takes received bytes, at most until the first head is complete.
    ///
    /// # Errors
    /// [`HeadFault`] if the response must be refused.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), HeadFault> {
        self.head.extend_from_slice(bytes);
        while self.is_in_head() {
            self.drop_empty_lines();
            let known = self.head.len().min(START.len());
            if self.head[..known] != START[..known] {
                break;
            }
            let Some(end) = self.find_end() else {
                let size = self.earlier_bytes + self.head.len();
                return if size > MAX_HEAD_BYTES {
                    Err(HeadFault::TooLong)
                } else {
                    Ok(())
                };
            };
            self.complete_head(end)?;
        }
        self.end();
        Ok(())
    }

    /// Gives up the rest of a head, because no more bytes come or because it is none.
    pub fn end(&mut self) {
        self.phase = Phase::Body;
        self.ready.append(&mut self.head);
        self.searched = 0;
    }

    /// Moves bytes to the HTTP client. Returns whether there were any.
    pub fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let rest = &self.ready[self.given..];
        let size = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..size]);
        self.given += size;
        if self.given == self.ready.len() {
            (self.ready, self.given) = (Vec::new(), 0);
        }
        size > 0
    }

    /// Removes empty lines before the status line, as the HTTP client does.
    fn drop_empty_lines(&mut self) {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let size = self
            .head
            .iter()
            .take_while(|byte| is_line_end(byte))
            .count();
        self.head.drain(..size);
        self.earlier_bytes += size;
    }

    /// Returns the length of the head, if its last line has arrived.
    fn find_end(&mut self) -> Option<usize> {
        let is_line_end = |byte: &u8| *byte == b'\n';
        while let Some(length) = self.head[self.searched..].iter().position(is_line_end) {
            let before = &self.head[..self.searched + length];
            self.searched += length + 1;
            if before.ends_with(b"\n") || before.ends_with(b"\n\r") {
                return Some(self.searched);
            }
        }
        self.searched = self.head.len();
        None
    }

    /// Passes the first `end` bytes on as a head.
    fn complete_head(&mut self, end: usize) -> Result<(), HeadFault> {
        let rest = self.head.split_off(end);
        let mut head = std::mem::replace(&mut self.head, rest);
        self.searched = 0;
        self.earlier_bytes += end;
        if self.earlier_bytes > MAX_HEAD_BYTES {
            return Err(HeadFault::TooLong);
        }
        let framing = Framing::of_head(&head)?;
        repair(&mut head);
        match head.strip_prefix(HTTP_1_0) {
            Some(after_version) if framing == Framing::Chunked => {
                self.ready.extend_from_slice(HTTP_1_1);
                let status_end = after_version.iter().position(|byte| *byte == b'\n');
                let (status, fields) = after_version.split_at(status_end.map_or(0, |end| end + 1));
                self.ready.extend_from_slice(status);
                self.ready.extend_from_slice(CLOSE);
                self.ready.extend_from_slice(fields);
                self.rewritten.0.store(true, Ordering::Release);
            }
            _ => self.ready.extend_from_slice(&head),
        }
        if !is_informational(&head) {
            self.phase = Phase::Body;
        }
        Ok(())
    }
}

/// Returns whether another head follows this one. 101 is a final response here.
fn is_informational(head: &[u8]) -> bool {
    head.get(HTTP_1_0.len()..HTTP_1_0.len() + 3)
        .is_some_and(|status| status.starts_with(b"1") && status != b"101")
}

/// Statement of a head about the end of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// `Transfer-Encoding: chunked` on one line, and no `Content-Length`.
    Chunked,
    Other,
}

impl Framing {
    /// # Errors
    /// [`HeadFault::MalformedField`] if the HTTP client would ignore a line about the framing.
    fn of_head(head: &[u8]) -> Result<Self, HeadFault> {
        let mut lines = [0; FRAMING_FIELDS.len()];
        let mut is_chunked = false;
        let mut previous = None;
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let field = framing_field(line);
            let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
            if let Some(number) = field.or(previous.filter(|_| is_folded)) {
                let value = well_formed_value(line, FRAMING_FIELDS[number]);
                let value = value.ok_or(HeadFault::MalformedField(FRAMING_FIELDS[number]))?;
                lines[number] += 1;
                is_chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            previous = field;
        }
        Ok(match lines {
            [1, 0] if is_chunked => Self::Chunked,
            _ => Self::Other,
        })
    }
}

/// Returns the index of the field in [`FRAMING_FIELDS`] that the line names, if all but letters,
/// digits and hyphens is left out.
fn framing_field(line: &[u8]) -> Option<usize> {
    let name = line.split(|byte| *byte == b':').next()?;
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let name: Vec<u8> = name.iter().copied().filter(is_in_name).collect();
    let is_name = |field: &&str| name.eq_ignore_ascii_case(field.as_bytes());
    FRAMING_FIELDS.iter().position(is_name)
}

/// Returns the value of a line with this name, without spaces around it. `None` if the HTTP client
/// would not read the line. It accepts spaces before the colon.
fn well_formed_value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (found, value) = (&line[..colon], &line[colon + 1..]);
    let end = found
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | b'\t'))?;
    let is_visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let is_well_formed =
        found[..=end].eq_ignore_ascii_case(name.as_bytes()) && value.iter().all(is_visible);
    is_well_formed.then_some(value.trim_ascii())
}
