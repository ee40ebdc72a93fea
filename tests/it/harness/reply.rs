//! Scripted responses of an origin, and their faults.

use std::io;
use std::thread;
use std::time::Duration;

use super::origin::Asked;
use super::script::{Gate, Stop};
use super::wire::Wire;
use super::{Body, DATE};

const PIECE_BYTES: usize = 64 << 10;

#[derive(Clone)]
enum Framing {
    Length,
    /// A `Content-Length` that differs from the body's length.
    Claimed(usize),
    Chunked,
    /// Chunks under these `Transfer-Encoding` field lines, and the connection closes.
    Coded(Vec<String>),
    UntilClose,
}

#[derive(Clone)]
enum Ranges {
    Ignored,
    Honoured,
    /// Ignores `If-Range`.
    Unconditional,
    /// 206 with this `Content-Range` and the whole body, for every range.
    Wrong(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Conditions {
    Ignored,
    Evaluated,
}

/// A scripted response.
#[derive(Clone)]
pub struct Reply {
    version: &'static str,
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    framing: Framing,
    ranges: Ranges,
    conditions: Conditions,
    before_head: Option<Stop>,
    on_reuse: Option<Stop>,
    stops: Vec<(usize, Stop)>,
    drip: Option<(usize, Duration)>,
    /// The whole response, in place of all that the other fields say.
    raw: Option<Vec<u8>>,
    /// Bytes after the response.
    trailing: Vec<u8>,
}

/// State of the connection after a response.
#[derive(PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
    Reset,
}

impl Reply {
    /// Returns 200 with a `Content-Length` and no validator.
    pub fn ok(body: &Body) -> Self {
        Self {
            version: "HTTP/1.1",
            status: 200,
            headers: Vec::new(),
            body: body.clone(),
            framing: Framing::Length,
            ranges: Ranges::Ignored,
            conditions: Conditions::Ignored,
            before_head: None,
            on_reuse: None,
            stops: Vec::new(),
            drip: None,
            raw: None,
            trailing: Vec::new(),
        }
    }

    /// Returns 200 as a static file server sends it: with validators and range support.
    pub fn file(body: &Body) -> Self {
        let tag = super::sha256(body);
        Self::ok(body)
            .header("Last-Modified", DATE)
            .header("ETag", &format!("\"{}\"", &tag[..16]))
            .ranges()
    }

    /// Sends exactly these bytes, and closes the connection.
    pub fn raw(bytes: &[u8]) -> Self {
        Self {
            raw: Some(bytes.to_vec()),
            ..Self::status(200)
        }
    }

    /// Sends these bytes after the response, and keeps the connection.
    pub fn trailing(self, bytes: &[u8]) -> Self {
        Self {
            trailing: bytes.to_vec(),
            ..self
        }
    }

    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::ok(&format!("the origin says {status}\n").into_bytes().into())
        }
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location)
    }

    /// Returns the HTML page of a bot protection, at any path.
    pub fn html() -> Self {
        let page = format!(
            "<!DOCTYPE html><html><title>One moment, please</title>{}</html>",
            " ".repeat(1000)
        );
        Self::ok(&page.into_bytes().into()).header("Content-Type", "text/html")
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns 304 to a condition that the client's copy fulfils.
    pub fn conditional(self) -> Self {
        Self {
            conditions: Conditions::Evaluated,
            ..self
        }
    }

    pub fn ranges(self) -> Self {
        Self {
            ranges: Ranges::Honoured,
            ..self
        }
    }

    pub fn ranges_ignored(self) -> Self {
        Self {
            ranges: Ranges::Ignored,
            ..self
        }
    }

    /// Honours ranges and ignores `If-Range`.
    pub fn ranges_without_condition(self) -> Self {
        Self {
            ranges: Ranges::Unconditional,
            ..self
        }
    }

    pub fn wrong_content_range(self, value: &str) -> Self {
        Self {
            ranges: Ranges::Wrong(value.to_owned()),
            ..self
        }
    }

    pub fn chunked(self) -> Self {
        Self {
            framing: Framing::Chunked,
            ..self
        }
    }

    /// Frames the body in chunks, whatever these `Transfer-Encoding` field lines say, and closes
    /// the connection.
    pub fn transfer_encoding(self, lines: &[&str]) -> Self {
        Self {
            framing: Framing::Coded(lines.iter().map(|line| (*line).to_owned()).collect()),
            ..self
        }
    }

    pub fn http_1_0(self) -> Self {
        Self {
            version: "HTTP/1.0",
            ..self
        }
    }

    pub fn until_close(self) -> Self {
        Self {
            framing: Framing::UntilClose,
            ..self
        }
    }

    pub fn claims_length(self, length: usize) -> Self {
        Self {
            framing: Framing::Claimed(length),
            ..self
        }
    }

    pub fn gate_before_head(self, gate: &Gate) -> Self {
        Self {
            before_head: Some(Stop::Gate(gate.clone())),
            ..self
        }
    }

    pub fn stop_before_head(self, stop: Stop) -> Self {
        Self {
            before_head: Some(stop),
            ..self
        }
    }

    /// Stops before the head, unless the request is the first on its connection.
    pub fn stop_on_reuse(self, stop: Stop) -> Self {
        Self {
            on_reuse: Some(stop),
            ..self
        }
    }

    /// Waits at the gate after `offset` bytes of the body.
    pub fn gate_at(self, offset: usize, gate: &Gate) -> Self {
        self.stop_at(offset, Stop::Gate(gate.clone()))
    }

    pub fn cut_at(self, offset: usize) -> Self {
        self.stop_at(offset, Stop::Cut)
    }

    pub fn stop_at(mut self, offset: usize, stop: Stop) -> Self {
        self.stops.push((offset, stop));
        self.stops.sort_by_key(|(offset, _)| *offset);
        self
    }

    /// Sends `bytes` at a time, with a pause of `every` after each piece.
    pub fn drip(self, bytes: usize, every: Duration) -> Self {
        Self {
            drip: Some((bytes, every)),
            ..self
        }
    }

    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.stops
            .iter()
            .map(|(_, stop)| stop)
            .chain(&self.before_head)
            .filter_map(|stop| match stop {
                Stop::Gate(gate) => Some(gate),
                _ => None,
            })
    }

    /// Sends the response to a request.
    pub(super) fn send(&self, wire: &mut Wire, asked: &Asked) -> io::Result<After> {
        let on_reuse = self.on_reuse.as_ref().filter(|_| asked.turn > 0);
        if let Some(stop) = on_reuse.or(self.before_head.as_ref())
            && let Some(after) = halt(wire, stop)
        {
            return Ok(after);
        }
        if let Some(raw) = &self.raw {
            return wire.send(raw).map(|()| After::Close);
        }
        let after = self.send_scripted(wire, asked)?;
        wire.send(&self.trailing)?;
        Ok(after)
    }

    fn send_scripted(&self, wire: &mut Wire, asked: &Asked) -> io::Result<After> {
        let (status, first, last, content_range) = self.select(asked);
        let body = &self.body[first..last];
        let bodyless = asked.method == "HEAD" || matches!(status, 204 | 304);
        wire.send(
            self.head(status, body.len(), content_range.as_deref())
                .as_bytes(),
        )?;
        if bodyless {
            return Ok(After::Keep);
        }
        if let Some(after) = self.send_body(wire, body)? {
            return Ok(after);
        }
        match self.framing {
            Framing::Chunked => wire.send(b"0\r\n\r\n").map(|()| After::Keep),
            Framing::Length => Ok(After::Keep),
            Framing::Coded(_) => wire.send(b"0\r\n\r\n").map(|()| After::Close),
            Framing::Claimed(_) | Framing::UntilClose => Ok(After::Close),
        }
    }

    /// Returns the status, the bounds of the part to send, and its `Content-Range`.
    fn select(&self, asked: &Asked) -> (u16, usize, usize, Option<String>) {
        let size = self.body.len();
        if self.conditions == Conditions::Evaluated && self.is_current(asked) {
            return (304, 0, 0, None);
        }
        let whole = (self.status, 0, size, None);
        match &self.ranges {
            Ranges::Ignored => whole,
            Ranges::Wrong(_) if asked.header("range").is_none() => whole,
            Ranges::Wrong(value) => (206, 0, size, Some(value.clone())),
            Ranges::Honoured if !self.if_range_holds(asked) => whole,
            Ranges::Honoured | Ranges::Unconditional => {
                match asked.header("range").and_then(parse_range) {
                    Some((first, last)) if self.status == 200 && first < size => {
                        let last = last.map_or(size, |last| (last + 1).min(size));
                        (
                            206,
                            first,
                            last,
                            Some(format!("bytes {first}-{}/{size}", last - 1)),
                        )
                    }
                    _ => whole,
                }
            }
        }
    }

    fn if_range_holds(&self, asked: &Asked) -> bool {
        asked.header("if-range").is_none_or(|value| {
            [self.own("ETag"), self.own("Last-Modified")].contains(&Some(value))
        })
    }

    /// Returns whether the client has this body (RFC 9110, section 13.1).
    fn is_current(&self, asked: &Asked) -> bool {
        if let Some(list) = asked.header("if-none-match") {
            return self.own("ETag").is_some_and(|own| list.contains(own));
        }
        let since = asked.header("if-modified-since");
        since.is_some() && since == self.own("Last-Modified")
    }

    fn own(&self, name: &str) -> Option<&str> {
        let own = self.headers.iter().find(|(own, _)| own == name);
        own.map(|(_, value)| value.as_str())
    }

    fn head(&self, status: u16, size: usize, content_range: Option<&str>) -> String {
        let mut head = format!("{} {status} Scripted\r\n", self.version);
        for (name, value) in &self.headers {
            head += &[name, ": ", value, "\r\n"].concat();
        }
        if let Some(content_range) = content_range {
            head += &["Content-Range: ", content_range, "\r\n"].concat();
        }
        let framing = match &self.framing {
            _ if status == 204 => String::new(),
            Framing::Length => format!("Content-Length: {size}\r\n"),
            Framing::Claimed(claimed) => format!("Content-Length: {claimed}\r\n"),
            Framing::Coded(lines) => lines
                .iter()
                .map(|line| ["Transfer-Encoding: ", line, "\r\n"].concat())
                .collect(),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::UntilClose => "Connection: close\r\n".to_owned(),
        };
        head + &framing + "\r\n"
    }

    fn send_body(&self, wire: &mut Wire, body: &[u8]) -> io::Result<Option<After>> {
        let mut sent = 0;
        for (offset, stop) in &self.stops {
            let offset = (*offset).min(body.len());
            self.send_pieces(wire, &body[sent.min(offset)..offset])?;
            sent = offset;
            if let Some(after) = halt(wire, stop) {
                return Ok(Some(after));
            }
        }
        self.send_pieces(wire, &body[sent..])?;
        Ok(None)
    }

    fn send_pieces(&self, wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
        let (size, pause) = self.drip.unwrap_or((PIECE_BYTES, Duration::ZERO));
        for piece in bytes.chunks(size) {
            match self.framing {
                Framing::Chunked | Framing::Coded(_) => {
                    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                    chunk.extend_from_slice(piece);
                    chunk.extend_from_slice(b"\r\n");
                    wire.send(&chunk)?;
                }
                _ => wire.send(piece)?,
            }
            thread::sleep(pause);
        }
        Ok(())
    }
}

/// Performs the stop. Returns `None` if the response continues after it.
fn halt(wire: &mut Wire, stop: &Stop) -> Option<After> {
    match stop {
        Stop::Gate(gate) => (!gate.pass()).then_some(After::Close),
        Stop::Cut => Some(After::Close),
        Stop::Reset => Some(After::Reset),
        Stop::Stall => {
            wire.await_end();
            Some(After::Close)
        }
    }
}

fn parse_range(value: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}
