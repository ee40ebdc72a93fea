//! Parts of a request head that the HTTP library must not see.
//!
//! The library answers an expectation before any decision, and opens a tunnel for each offer of a
//! WebSocket. It rejects a `CONNECT` without `Host`, and a target with bytes beyond ASCII, which
//! curl sends as they are. [`ScannedEnd::rewritten`] removes the fields, adds `Host` and encodes
//! the target. This file reads no socket. Its main type is [`HeadNotes`].

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

/// Expectation of a request (RFC 9110, section 10.1.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expectation {
    #[default]
    None,
    /// The client sends the body after a 100 response.
    Continue,
    /// An expectation that no server here meets.
    Unknown,
}

/// Facts about a head besides its framing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadNotes {
    pub expectation: Expectation,
    upgrade: UpgradeNotes,
    /// Whether the library gets another head, see [`ScannedEnd::rewritten`].
    pub is_rewritten: bool,
}

/// Facts about an offer of another protocol (RFC 9110, section 7.8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct UpgradeNotes {
    /// Whether `Upgrade` names a protocol that a client cannot do without, such as WebSocket.
    names_protocol: bool,
    /// Whether `Connection` has the option `upgrade`.
    has_option: bool,
}

/// The end of a head that the scanner has just reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScannedEnd {
    /// Length of the head with its empty line, in bytes.
    pub length_bytes: usize,
    pub notes: HeadNotes,
}

impl ScannedEnd {
    /// Returns the head that the library gets, if it is not the scanned one, with which `bytes`
    /// begin.
    #[must_use]
    pub fn rewritten(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let head = &bytes[..self.length_bytes];
        self.notes.is_rewritten.then(|| rewrite_head(head))
    }
}

impl HeadNotes {
    /// Notes the request line.
    pub fn read_request_line(&mut self, line: &[u8]) {
        self.is_rewritten |= !line.is_ascii();
    }

    /// Notes a field line.
    pub fn read(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"expect") {
            self.is_rewritten = true;
            let is_continue = value.eq_ignore_ascii_case(b"100-continue");
            self.expectation = match self.expectation {
                Expectation::None if value.is_empty() => Expectation::None,
                Expectation::None | Expectation::Continue if is_continue => Expectation::Continue,
                _ => Expectation::Unknown,
            };
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.is_rewritten = true;
            self.upgrade.names_protocol |= options(value).any(is_other_protocol);
        } else if name.eq_ignore_ascii_case(b"connection") && options(value).any(is_upgrade) {
            self.is_rewritten = true;
            self.upgrade.has_option = true;
        }
    }

    /// Whether the client wants to speak another protocol than HTTP on this connection (RFC 9110,
    /// section 7.8).
    #[must_use]
    pub fn wants_other_protocol(&self) -> bool {
        self.upgrade.names_protocol && self.upgrade.has_option
    }

    /// Forgets what HTTP/1.0 does not have (RFC 9110, sections 7.8 and 10.1.1).
    pub fn limit_to_http_1_0(&mut self) {
        self.expectation = Expectation::None;
        self.upgrade.names_protocol = false;
    }
}

/// Whether the whole field is removed. Millpond speaks no other protocol, so it ignores every offer
/// (RFC 9110, section 7.8).
fn is_removed(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"expect")
}

fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is_upgrade(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"upgrade")
}

/// Whether a protocol of `Upgrade` is another one than HTTP and TLS, which clients offer although
/// they can do without them.
fn is_other_protocol(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next();
    let name = name.unwrap_or_default();
    let is_offer = |own: &[u8]| name.eq_ignore_ascii_case(own);
    !name.is_empty()
        && ![&b"h2c"[..], b"h2", b"http", b"tls"]
            .into_iter()
            .any(is_offer)
}

/// Percent-encodes the bytes beyond ASCII in a target, or in a whole request line. A fragment is
/// kept, as no server gets it.
pub fn encode_target(target: &[u8]) -> Cow<'_, [u8]> {
    if target.is_ascii() {
        return target.into();
    }
    let is_fragment_start = |byte: &u8| *byte == b'#';
    let fragment = target.iter().position(is_fragment_start);
    let (before, fragment) = target.split_at(fragment.unwrap_or(target.len()));
    let mut encoded = Vec::with_capacity(target.len() * 3);
    for byte in before {
        if byte.is_ascii() {
            encoded.push(*byte);
        } else {
            encoded.extend_from_slice(percent_encode_byte(*byte).as_bytes());
        }
    }
    encoded.extend_from_slice(fragment);
    encoded.into()
}

/// Returns a valid head without `Upgrade` and `Expect`, and without the option `upgrade` of
/// `Connection`. A head without `Host` gets an empty one.
fn rewrite_head(head: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + b"Host: \r\n".len());
    let mut has_host = false;
    let mut is_request_line = true;
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let name = colon.map_or(&b""[..], |colon| &line[..colon]);
        if std::mem::take(&mut is_request_line) {
            out.extend_from_slice(&encode_target(line));
        } else if is_removed(name) {
            continue;
        } else if name.eq_ignore_ascii_case(b"connection") {
            let kept: Vec<_> = options(&line[name.len() + 1..])
                .filter(|option| !is_upgrade(option))
                .collect();
            out.extend_from_slice(b"Connection: ");
            out.extend_from_slice(&kept.join(&b", "[..]));
        } else {
            has_host |= name.eq_ignore_ascii_case(b"host");
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b"\r\n");
    }
    if !has_host {
        out.extend_from_slice(b"Host: \r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}
