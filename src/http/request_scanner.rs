//! Finds where the head and the body of a request end (RFC 9112, sections 2.2, 5, 6 and 7.1).
//!
//! The scanner reads no socket and keeps no bytes. Its result does not depend on the pieces in
//! which the bytes arrive. It rejects spellings that another implementation could read as another
//! request. No front server and no origin therefore sees a request where Millpond saw a body. The
//! HTTP library finds the same end of each request that the scanner accepts.

/// The longest request head, including empty lines before it. nginx takes 32 KiB by default
/// (`large_client_header_buffers`). A field name of more than 65535 bytes would make the HTTP
/// library panic.
pub const MAX_HEAD_BYTES: usize = 65_000;

/// The longest line with the size of a chunk, including chunk extensions. Millpond ignores these.
const MAX_CHUNK_LINE_BYTES: usize = 4096;

/// The longest trailer section. Millpond ignores trailers.
const MAX_TRAILER_BYTES: usize = 8192;

/// Error returned when the end of a request is unknown, so that its connection cannot be used any
/// further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("the request head is longer than {} bytes", MAX_HEAD_BYTES)]
    HeadTooLarge,
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}

/// Position in the request that arrives on a connection.
#[derive(Debug, Clone)]
pub struct RequestScanner {
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Head(HeadEnd),
    /// A body with this many bytes left.
    Sized(u64),
    Chunked(ChunkedBody),
    /// `CONNECT` or an upgrade: no request follows.
    Tunnel,
    Complete,
}

impl Default for RequestScanner {
    fn default() -> Self {
        Self {
            stage: Stage::Head(HeadEnd::default()),
        }
    }
}

impl RequestScanner {
    /// Starts with the next request.
    pub fn restart(&mut self) {
        *self = Self::default();
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

    /// Returns how many of `bytes` belong to the request. A head counts once it is complete.
    ///
    /// The caller passes uncounted bytes again, in front of the bytes that follow them.
    ///
    /// # Errors
    /// [`FramingError`]; every later call returns it again.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        let mut taken = 0;
        loop {
            let (count, next) = match self.stage {
                Stage::Complete => return Ok(taken),
                Stage::Tunnel => return Ok(bytes.len()),
                Stage::Head(mut head) => match head.find(bytes)? {
                    Some(end) => (end, read_framing(&bytes[..end])?),
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

/// Search for the empty line behind a head.
#[derive(Debug, Clone, Copy, Default)]
struct HeadEnd {
    scanned: usize,
    line_start: usize,
    has_request_line: bool,
}

impl HeadEnd {
    /// Returns where the head ends. `bytes` begin with those of the previous call.
    fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, FramingError> {
        while let Some(&byte) = bytes.get(self.scanned) {
            if self.scanned == MAX_HEAD_BYTES {
                return Err(FramingError::HeadTooLarge);
            }
            let is_after_cr = self.scanned > 0 && bytes[self.scanned - 1] == b'\r';
            check_head_byte(byte, is_after_cr)?;
            self.scanned += 1;
            if byte != b'\n' {
                continue;
            }
            let is_empty = self.scanned - self.line_start == 2;
            if is_empty && self.has_request_line {
                return Ok(Some(self.scanned));
            }
            // Empty lines before a request are ignored (RFC 9112, section 2.2).
            self.has_request_line |= !is_empty;
            self.line_start = self.scanned;
        }
        Ok(None)
    }
}

fn check_head_byte(byte: u8, is_after_cr: bool) -> Result<(), FramingError> {
    let error = match byte {
        b'\n' if is_after_cr => return Ok(()),
        b'\n' => "a line of the head ends with a bare LF",
        _ if is_after_cr => "the head contains a bare CR",
        b'\r' | b'\t' => return Ok(()),
        byte if byte.is_ascii_control() => "the head contains a control character",
        _ => return Ok(()),
    };
    Err(FramingError::Malformed(error))
}

/// Returns what follows a complete head.
fn read_framing(head: &[u8]) -> Result<Stage, FramingError> {
    // `HeadEnd` has checked that every LF follows a CR.
    let lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.skip_while(|line| line.is_empty());
    let request = read_request_line(lines.next().unwrap_or_default())?;
    let mut fields = FramingFields::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        fields.read(line)?;
    }
    fields.check(request)
}

#[derive(Debug, Clone, Copy)]
struct RequestLine {
    is_connect: bool,
    is_http_1_0: bool,
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
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
        return Err(malformed);
    }
    if !is_http_1_0 && version != b"HTTP/1.1" {
        return Err(malformed);
    }
    Ok(RequestLine {
        is_connect: method == b"CONNECT",
        is_http_1_0,
    })
}

/// A protocol of `Upgrade` that the HTTP library knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    WebSocket,
}

/// Fields of a head that decide where its request ends, and `Host`.
#[derive(Debug, Default)]
struct FramingFields {
    length: Option<u64>,
    is_chunked: bool,
    upgrade: Option<Upgrade>,
    has_host: bool,
}

impl FramingFields {
    fn read(&mut self, line: &[u8]) -> Result<(), FramingError> {
        let (name, value) = read_field(line)?;
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
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            if value.eq_ignore_ascii_case(b"websocket") {
                self.upgrade = Some(Upgrade::WebSocket);
            }
        } else if name.eq_ignore_ascii_case(b"host") && std::mem::replace(&mut self.has_host, true)
        {
            return Err(FramingError::Malformed("there is more than one Host"));
        }
        Ok(())
    }

    /// Returns what follows the head (RFC 9112, section 6.3).
    fn check(&self, request: RequestLine) -> Result<Stage, FramingError> {
        if !self.has_host && !request.is_http_1_0 {
            return Err(FramingError::Malformed("there is no Host"));
        }
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(FramingError::Malformed(
                "there are both Content-Length and Transfer-Encoding",
            )),
            (None, true) if request.is_http_1_0 => Err(FramingError::Malformed(
                "Transfer-Encoding does not belong in HTTP/1.0",
            )),
            (None, true) => Ok(Stage::Chunked(ChunkedBody::default())),
            // The HTTP library ignores the length of such a request.
            _ if self.upgrade.is_some() => Ok(Stage::Tunnel),
            (None | Some(0), false) if request.is_connect => Ok(Stage::Tunnel),
            (None | Some(0), false) => Ok(Stage::Complete),
            (Some(length), false) => Ok(Stage::Sized(length)),
        }
    }
}

/// Splits a field line into name and value (RFC 9112, section 5.1). A folded line has no name.
fn read_field(line: &[u8]) -> Result<(&[u8], &[u8]), FramingError> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) =
        line.split_at(colon.ok_or(FramingError::Malformed("a field line has no colon"))?);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(FramingError::Malformed("a field name is not a token"));
    }
    Ok((name, value[1..].trim_ascii()))
}

/// Whether a byte may be part of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn read_length(value: &[u8]) -> Result<u64, FramingError> {
    let digits = str::from_utf8(value)
        .ok()
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(FramingError::Malformed("Content-Length is not a length"))
}

/// Position in a chunked body (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, Default)]
struct ChunkedBody {
    state: ChunkState,
    /// Bytes of the chunk that have not arrived yet.
    left_bytes: u64,
    /// Bytes of the current size line or of the trailer section so far.
    line_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ChunkState {
    #[default]
    SizeStart,
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl ChunkedBody {
    /// Returns how many of `bytes` belong to the body, and whether it has ended.
    fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), FramingError> {
        let mut taken = 0;
        while taken < bytes.len() && self.state != ChunkState::End {
            if self.state == ChunkState::Data {
                let rest = bytes.len() - taken;
                let count = usize::try_from(self.left_bytes).map_or(rest, |left| left.min(rest));
                self.left_bytes -= count as u64;
                taken += count;
                if self.left_bytes == 0 {
                    self.state = ChunkState::DataCr;
                }
                continue;
            }
            self.state = self.step(bytes[taken])?;
            taken += 1;
        }
        Ok((taken, self.state == ChunkState::End))
    }

    fn step(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        use ChunkState::{
            Data, DataCr, DataLf, End, EndLf, Extension, Size, SizeLf, SizeSpace, SizeStart,
            Trailer, TrailerLf, TrailerStart,
        };
        self.line_bytes += 1;
        let is_trailer = matches!(self.state, TrailerStart | Trailer | TrailerLf | EndLf);
        let max_bytes = if is_trailer {
            MAX_TRAILER_BYTES
        } else {
            MAX_CHUNK_LINE_BYTES
        };
        if self.line_bytes > max_bytes {
            return Err(FramingError::Malformed(
                "a chunk size line or the trailer section is too long",
            ));
        }
        let is_text = byte == b'\t' || !byte.is_ascii_control();
        match (self.state, byte) {
            (SizeStart | Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.add_digit(byte),
            (Size | SizeSpace | Extension, b'\r') => Ok(SizeLf),
            (Size | SizeSpace, b' ' | b'\t') => Ok(SizeSpace),
            (Size | SizeSpace, b';') => Ok(Extension),
            (Extension, _) if is_text => Ok(Extension),
            (SizeLf, b'\n') => {
                self.line_bytes = 0;
                Ok(if self.left_bytes > 0 {
                    Data
                } else {
                    TrailerStart
                })
            }
            (DataCr, b'\r') => Ok(DataLf),
            (DataLf, b'\n') => {
                self.line_bytes = 0;
                Ok(SizeStart)
            }
            (TrailerStart, b'\r') => Ok(EndLf),
            (Trailer, b'\r') => Ok(TrailerLf),
            (TrailerStart | Trailer, _) if is_text => Ok(Trailer),
            (TrailerLf, b'\n') => Ok(TrailerStart),
            (EndLf, b'\n') => Ok(End),
            _ => Err(FramingError::Malformed(
                "the framing of the chunked body is invalid",
            )),
        }
    }

    fn add_digit(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        let size = self
            .left_bytes
            .checked_mul(16)
            .and_then(|size| size.checked_add(digit));
        self.left_bytes =
            size.ok_or(FramingError::Malformed("the size of a chunk is too large"))?;
        Ok(ChunkState::Size)
    }
}
