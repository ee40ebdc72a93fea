//! Sends a scripted response to a request. The main function is [`Reply::send`].

use std::io;
use std::thread;
use std::time::Duration;

use super::{After, Conditions, Framing, Ranges, Reply};
use crate::harness::origin::Asked;
use crate::harness::script::Stop;
use crate::harness::wire::Wire;

const PIECE_BYTES: usize = 64 << 10;

impl Reply {
    /// Sends the response to a request.
    pub(in crate::harness) fn send(&self, wire: &mut Wire, asked: &Asked) -> io::Result<After> {
        let on_reuse = self.on_reuse.as_ref().filter(|_| asked.turn > 0);
        if let Some(stop) = on_reuse.or(self.before_head.as_ref())
            && let Some(after) = halt(wire, stop)
        {
            return Ok(after);
        }
        if let Some(raw) = &self.raw {
            let (size, pause) = self.drip.unwrap_or((raw.len().max(1), Duration::ZERO));
            for piece in raw.chunks(size) {
                wire.send(piece)?;
                thread::sleep(pause);
            }
            return Ok(After::Close);
        }
        let after = self.send_scripted(wire, asked)?;
        wire.send(&self.trailing)?;
        Ok(after)
    }

    fn send_scripted(&self, wire: &mut Wire, asked: &Asked) -> io::Result<After> {
        let (status, first, last, content_range) = self.select(asked);
        let body = match &self.ranges {
            Ranges::Of(other) if content_range.is_some() => &other[first..last],
            _ => &self.body[first..last],
        };
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
            Ranges::Honoured | Ranges::Of(_) if !self.if_range_holds(asked) => whole,
            Ranges::Honoured | Ranges::Unconditional | Ranges::Of(_) => {
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
