//! Finds where the head and the body of a request end (RFC 9112, sections 2.2, 5, 6 and 7.1).
//!
//! The scanner reads no socket and keeps no bytes. Its result does not depend on the pieces in
//! which the bytes arrive. It rejects spellings that another implementation could read as another
//! request. No front server and no origin therefore sees a request where Millpond saw a body. The
//! HTTP library finds the same end of each request that the scanner accepts.

use std::net::Ipv6Addr;

use actix_web::http::{Method, Uri};

use super::chunked_body::{ChunkedBody, is_text};
use super::first_bytes::TLS_HANDSHAKE;
use super::framing_error::{FramingError, MAX_FIELDS, MAX_HEAD_BYTES};
use super::request_head::{HeadNotes, ScannedEnd, encode_target};

/// Position in the request that arrives on a connection.
#[derive(Debug, Clone)]
pub struct RequestScanner {
    stage: Stage,
    /// The request is the first one of its connection.
    is_first: bool,
    ended_head: Option<ScannedEnd>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Head(ScannedHead),
    /// A body with this many bytes left.
    Sized(u64),
    Chunked(ChunkedBody),
    /// `CONNECT`: no request follows.
    Tunnel,
    Complete,
}

impl Default for RequestScanner {
    fn default() -> Self {
        Self {
            stage: Stage::Head(ScannedHead::default()),
            is_first: true,
            ended_head: None,
        }
    }
}

impl RequestScanner {
    /// Starts with the next request of the connection.
    pub fn restart(&mut self) {
        *self = Self {
            is_first: false,
            ..Self::default()
        };
    }

    /// Whether the end of the head has not been reached yet.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }

    /// Whether the request has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete)
    }

    /// Returns the end of the head in the bytes of the last call of [`Self::advance`], once. `None`
    /// if the head did not end there.
    pub fn take_ended_head(&mut self) -> Option<ScannedEnd> {
        self.ended_head.take()
    }

    /// Returns how many of `bytes` belong to the request. A head counts once it is complete.
    ///
    /// The caller passes uncounted bytes again, in front of the bytes that follow them.
    ///
    /// # Errors
    /// [`FramingError`]; every later call returns it again.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        if self.is_first && self.is_in_head() && bytes.first() == Some(&TLS_HANDSHAKE) {
            let cause = "the client speaks TLS, and this port speaks plain HTTP";
            return Err(FramingError::Malformed(cause));
        }
        let mut taken = 0;
        loop {
            let (count, next) = match self.stage {
                Stage::Complete => return Ok(taken),
                Stage::Tunnel => return Ok(bytes.len()),
                Stage::Head(mut head) => match head.read(bytes)? {
                    Some((length_bytes, next)) => {
                        let notes = head.fields.notes;
                        self.ended_head = Some(ScannedEnd {
                            length_bytes,
                            notes,
                        });
                        (length_bytes, next)
                    }
                    None => (0, Stage::Head(head)),
                },
                Stage::Sized(left) => {
                    let count = usize::try_from(left)
                        .map_or(bytes.len() - taken, |left| left.min(bytes.len() - taken));
                    let next = match left - count as u64 {
                        0 => Stage::Complete,
                        left => Stage::Sized(left),
                    };
                    (count, next)
                }
                Stage::Chunked(mut body) => match body.advance(&bytes[taken..]) {
                    Ok((count, true)) => (count, Stage::Complete),
                    Ok((count, false)) => (count, Stage::Chunked(body)),
                    // The request has begun. The caller gets its beginning first, and the error at
                    // the next call.
                    Err(_) if taken > 0 => return Ok(taken),
                    Err(error) => return Err(error),
                },
            };
            self.stage = next;
            taken += count;
            if count == 0 || taken == bytes.len() {
                return Ok(taken);
            }
        }
    }
}

/// The part of a head that has been read.
#[derive(Debug, Clone, Copy, Default)]
struct ScannedHead {
    /// How many bytes were read.
    read_bytes: usize,
    line_start: usize,
    request: Option<RequestLine>,
    fields: FramingFields,
}

impl ScannedHead {
    /// Returns where the head ends and what follows it. `bytes` begin with those of the previous
    /// call.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Stage)>, FramingError> {
        let limit = bytes.len().min(MAX_HEAD_BYTES);
        loop {
            let text = bytes[self.read_bytes..limit]
                .iter()
                .position(|byte| !is_text(*byte));
            self.read_bytes = text.map_or(limit, |length| self.read_bytes + length);
            match &bytes[self.read_bytes..limit] {
                // The byte behind a CR decides whether it is a bare one.
                [] | [b'\r'] if bytes.len() > limit => return Err(self.too_large()),
                [] | [b'\r'] => return Ok(None),
                rest => check_line_end(rest)?,
            }
            let line = &bytes[self.line_start..self.read_bytes];
            self.read_bytes += 2;
            self.line_start = self.read_bytes;
            match self.request {
                Some(request) if line.is_empty() => {
                    let next = self.fields.check(request)?;
                    return Ok(Some((self.read_bytes, next)));
                }
                Some(_) => self.fields.read(line)?,
                // Empty lines before a request are ignored (RFC 9112, section 2.2).
                None if line.is_empty() => {}
                None => {
                    self.request = Some(read_request_line(line)?);
                    self.fields.notes.read_request_line(line);
                }
            }
        }
    }
}

impl ScannedHead {
    /// The error of a head that reaches the limit. A request line without end has a long target.
    fn too_large(&self) -> FramingError {
        if self.request.is_none() && self.read_bytes > self.line_start {
            FramingError::TargetTooLong
        } else {
            FramingError::HeadTooLarge
        }
    }
}

/// Checks that `bytes`, which begin behind the text of a line, begin with CR LF.
fn check_line_end(bytes: &[u8]) -> Result<(), FramingError> {
    Err(FramingError::Malformed(match bytes {
        [b'\r', b'\n', ..] => return Ok(()),
        [b'\r', ..] => "the head contains a bare CR",
        [b'\n', ..] => "a line of the head ends with a bare LF",
        _ => "the head contains a control character",
    }))
}

#[derive(Debug, Clone, Copy)]
struct RequestLine {
    method: FramedMethod,
    is_http_1_0: bool,
}

/// Method of a request, as far as the framing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramedMethod {
    Connect,
    Post,
    Other,
}

/// Parses the request line (RFC 9112, section 3).
fn read_request_line(line: &[u8]) -> Result<RequestLine, FramingError> {
    let malformed = FramingError::Malformed("the request line is not METHOD TARGET HTTP/1.1");
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(malformed);
    };
    let is_http_1_0 = version == b"HTTP/1.0";
    if method.is_empty() || !method.iter().all(|byte| is_in(&TOKEN, *byte)) || target.is_empty() {
        return Err(malformed);
    }
    if !is_http_1_0 && version != b"HTTP/1.1" {
        return Err(malformed);
    }
    if !method.iter().all(u8::is_ascii_uppercase) && Method::from_bytes(method).is_err() {
        return Err(FramingError::Malformed("the method is not supported"));
    }
    if !is_plain_path(target) && !is_uri(target) {
        return Err(FramingError::Malformed("the request target is no URI"));
    }
    Ok(RequestLine {
        method: match method {
            b"CONNECT" => FramedMethod::Connect,
            b"POST" => FramedMethod::Post,
            _ => FramedMethod::Other,
        },
        is_http_1_0,
    })
}

/// Whether a target is in origin form and has only bytes that are valid there. Most targets are.
fn is_plain_path(target: &[u8]) -> bool {
    target.starts_with(b"/") && target.iter().all(|byte| is_in(&PLAIN_PATH, *byte))
}

/// Whether the HTTP library reads a target once it is encoded. It needs UTF-8 without tabs, also
/// in a fragment, which it drops.
fn is_uri(target: &[u8]) -> bool {
    let is_read = |target: &str| !target.contains('\t') && Uri::try_from(target).is_ok();
    str::from_utf8(&encode_target(target)).is_ok_and(is_read)
}

/// Fields of a head that decide where its request ends, and `Host`.
#[derive(Debug, Clone, Copy, Default)]
struct FramingFields {
    length: Option<u64>,
    is_chunked: bool,
    has_host: bool,
    count: usize,
    notes: HeadNotes,
}

impl FramingFields {
    fn read(&mut self, line: &[u8]) -> Result<(), FramingError> {
        let (name, value) = read_field(line)?;
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(FramingError::TooManyFields);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.replace(read_length(value)?).is_some() {
                return Err(FramingError::Malformed(
                    "there is more than one Content-Length",
                ));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(FramingError::Malformed(
                    "Transfer-Encoding is something else than one chunked",
                ));
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            if std::mem::replace(&mut self.has_host, true) {
                return Err(FramingError::Malformed("there is more than one Host"));
            }
            check_host(value)?;
        } else {
            self.notes.read(name, value);
        }
        Ok(())
    }

    /// Returns what follows the head (RFC 9112, section 6.3).
    fn check(&mut self, request: RequestLine) -> Result<Stage, FramingError> {
        let is_connect = request.method == FramedMethod::Connect;
        if !self.has_host && !request.is_http_1_0 {
            // The target of a CONNECT has the host, and some clients send only that.
            if !is_connect {
                return Err(FramingError::Malformed("there is no Host"));
            }
            self.notes.is_rewritten = true;
        }
        if request.is_http_1_0 {
            self.notes.limit_to_http_1_0();
        }
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(FramingError::Malformed(
                "there are both Content-Length and Transfer-Encoding",
            )),
            (None, true) if request.is_http_1_0 => Err(FramingError::Malformed(
                "Transfer-Encoding does not belong in HTTP/1.0",
            )),
            (None, true) => Ok(Stage::Chunked(ChunkedBody::default())),
            (None, false) if request.is_http_1_0 && request.method == FramedMethod::Post => Err(
                FramingError::Malformed("a POST of HTTP/1.0 needs a Content-Length"),
            ),
            (None | Some(0), false) if is_connect => Ok(Stage::Tunnel),
            (None | Some(0), false) => Ok(Stage::Complete),
            (Some(length), false) => Ok(Stage::Sized(length)),
        }
    }
}

/// Splits a field line into name and value (RFC 9112, section 5.1). A folded line has no name.
fn read_field(line: &[u8]) -> Result<(&[u8], &[u8]), FramingError> {
    let name_bytes = line.iter().position(|byte| !is_in(&TOKEN, *byte));
    match name_bytes.map(|end| line.split_at(end)) {
        Some((name @ [_, ..], [b':', value @ ..])) => Ok((name, value.trim_ascii())),
        _ if line.contains(&b':') => Err(FramingError::Malformed("a field name is not a token")),
        _ => Err(FramingError::Malformed("a field line has no colon")),
    }
}

/// Checks the form of `Host` (RFC 9112, section 3.2). An empty one is valid.
fn check_host(value: &[u8]) -> Result<(), FramingError> {
    let malformed = FramingError::Malformed("Host is not a host with an optional port");
    let host_end = match value {
        [b'[', ..] => value.iter().position(|byte| *byte == b']').map(|at| at + 1),
        _ => value.iter().position(|byte| *byte == b':'),
    };
    let (host, port) = value.split_at(host_end.unwrap_or(value.len()));
    let is_host = match host {
        [b'[', address @ .., b']'] => {
            str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
        }
        name => name.iter().all(|byte| is_in(&REG_NAME, *byte)),
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_host && is_port {
        Ok(())
    } else {
        Err(malformed)
    }
}

/// Set of bytes, as a table: whether each byte belongs to it. Every byte of a head is looked up.
type ByteSet = [bool; 256];

/// Bytes of a token (RFC 9110, section 5.6.2).
static TOKEN: ByteSet = letters_digits_and(b"!#$%&'*+-.^_`|~");

/// Bytes of a host name and of an IPv4 address (RFC 3986, section 3.2.2), without the comma.
static REG_NAME: ByteSet = letters_digits_and(b"-._~%!$&'()*+;=");

/// Bytes of the paths and queries that are not parsed any further here.
static PLAIN_PATH: ByteSet = letters_digits_and(b"/-._~:@%+=,;&?");

const fn letters_digits_and(others: &[u8]) -> ByteSet {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < u8::MAX {
        set[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

fn is_in(set: &ByteSet, byte: u8) -> bool {
    set[usize::from(byte)]
}

fn read_length(value: &[u8]) -> Result<u64, FramingError> {
    let digits = str::from_utf8(value)
        .ok()
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(FramingError::Malformed("Content-Length is not a length"))
}
