//! Scripted responses of an origin, and their faults.

mod send;

use std::time::Duration;

use super::script::{Gate, Stop};
use super::{Body, DATE};

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
    /// Honoured, with the bytes of another body of the same length.
    Of(Body),
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

    /// Honours ranges, and sends those of another body of the same length.
    pub fn ranges_of(self, other: &Body) -> Self {
        Self {
            ranges: Ranges::Of(other.clone()),
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
}
