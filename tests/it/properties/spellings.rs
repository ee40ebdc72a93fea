//! Generators for targets and their many spellings, valid and invalid.

use millpond::model::{FtpFile, Target};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use url::Url;

/// Parts of a target. Path and query are as a client may write them, the rest is in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    pub scheme: &'static str,
    pub host: String,
    pub port: Option<u16>,
    pub segments: Vec<String>,
    pub query: Option<String>,
}

/// One of the many ways to write the same target.
#[derive(Debug, Clone)]
pub struct Style {
    pub upper: Vec<bool>,
    pub trailing_dot: bool,
    pub port: PortStyle,
    pub fragment: Option<String>,
    pub root: RootStyle,
    pub encoding: Encoding,
}

#[derive(Debug, Clone, Copy)]
pub enum PortStyle {
    Plain,
    Spelled,
    EmptyIfDefault,
}

/// Spelling of the path `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootStyle {
    Slash,
    Empty,
}

/// Spelling of the bytes that the canonical form encodes.
#[derive(Debug, Clone, Copy)]
pub enum Encoding {
    Raw,
    Percent,
}

impl Parts {
    pub fn default_port(&self) -> u16 {
        match self.scheme {
            "http" => 80,
            "https" => 443,
            _ => 21,
        }
    }

    pub fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// Returns the expected canonical string, built without a URL library.
    pub fn canonical(&self) -> String {
        let port = self
            .port
            .filter(|&port| port != self.default_port())
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let query = self
            .query
            .as_deref()
            .map(|query| format!("?{}", encoded(query, QUERY_ENCODED)))
            .unwrap_or_default();
        format!(
            "{}://{}{port}{}{query}",
            self.scheme,
            self.host,
            encoded(&self.path(), PATH_ENCODED)
        )
    }

    pub fn spelled(&self, style: &Style) -> String {
        let mut flips = style.upper.iter().cycle();
        let mut any_case = |text: &str| -> String {
            let flip = |char: char| {
                if flips.next() == Some(&true) {
                    char.to_ascii_uppercase()
                } else {
                    char
                }
            };
            text.chars().map(flip).collect()
        };
        let mut text = format!("{}://{}", any_case(self.scheme), any_case(&self.host));
        if style.trailing_dot {
            text.push('.');
        }
        let port = match (
            self.port.filter(|&port| port != self.default_port()),
            style.port,
        ) {
            (Some(port), _) => format!(":{port}"),
            (None, PortStyle::Plain) => String::new(),
            (None, PortStyle::Spelled) => format!(":{}", self.default_port()),
            (None, PortStyle::EmptyIfDefault) => ":".to_owned(),
        };
        text.push_str(&port);
        let (path, query) = match style.encoding {
            Encoding::Raw => (self.path(), self.query.clone()),
            Encoding::Percent => (
                encoded(&self.path(), PATH_ENCODED),
                self.query
                    .as_deref()
                    .map(|query| encoded(query, QUERY_ENCODED)),
            ),
        };
        if !(path == "/" && style.root == RootStyle::Empty) {
            text.push_str(&path);
        }
        if let Some(query) = query {
            text.push('?');
            text.push_str(&query);
        }
        if let Some(fragment) = &style.fragment {
            text.push('#');
            text.push_str(fragment);
        }
        text
    }
}

/// Printable bytes that the URL library encodes. If a library update changes these sets, keys
/// change and stored objects are no longer found. These lists must not follow the library without a
/// migration.
pub const PATH_ENCODED: &str = " \"<>`{}";
pub const QUERY_ENCODED: &str = " \"<>'";

pub fn encoded(text: &str, set: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii() && !set.contains(char::from(byte)) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
    out
}

pub fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16)
        .expect("the value is half a byte")
        .to_ascii_uppercase()
}

/// Decodes one layer of percent-encoding. Invalid escapes stay unchanged.
pub fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let value = escape
            .filter(|pair| bytes[at] == b'%' && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}

/// Returns whether a decoder that reads a backslash as a slash sees a dot segment.
pub fn leads_elsewhere(path: &str) -> bool {
    let plain = String::from_utf8_lossy(&decoded(path)).replace('\\', "/");
    plain
        .split('/')
        .any(|segment| segment == "." || segment == "..")
}

pub fn hosts() -> impl Strategy<Value = String> {
    let label = "[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9])?";
    // A last label of digits would be an IP address. Hyphens in the third and fourth place are
    // reserved for punycode.
    let name = (vec(label, 0..4), "[a-z]{2,6}").prop_map(|(labels, last)| {
        let labels = labels
            .into_iter()
            .map(|label| label.replace("--", "-0"))
            .chain([last]);
        labels.collect::<Vec<_>>().join(".")
    });
    prop_oneof![
        6 => name,
        1 => any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
    ]
}

pub fn segments() -> impl Strategy<Value = Vec<String>> {
    let visible = "[ -\"$-.0-;=@-Z^-z|~%\\[\\]{}<>`üあ]{0,8}";
    let name = "[a-z]{1,6}-[0-9]\\.[0-9]\\.tar\\.(gz|xz)";
    let escape = select(vec![
        "%2F", "%2f", "%41", "%00", "%", "%%", "%zz", "+", "", "...", "a..", "..a", "%2e%2ea",
    ]);
    let segment = prop_oneof![visible, name, escape.prop_map(str::to_owned)];
    vec(segment, 1..5).prop_filter("dot segments are refused", |segments| {
        !leads_elsewhere(&segments.join("/"))
    })
}

pub fn queries() -> impl Strategy<Value = Option<String>> {
    option::of("([a-c]=[0-9]{0,2}&?){0,3}[ -\"$-\\[\\]-~ü]{0,8}")
}

pub fn parts() -> impl Strategy<Value = Parts> {
    let ports = option::of(prop_oneof![
        select(vec![21u16, 80, 443, 8080]),
        1..=u16::MAX
    ]);
    (
        select(vec!["http", "https", "ftp"]),
        hosts(),
        ports,
        segments(),
        queries(),
    )
        .prop_map(|(scheme, host, port, segments, query)| Parts {
            scheme,
            host,
            port,
            segments,
            query,
        })
}

pub fn styles() -> impl Strategy<Value = Style> {
    let ports = select(vec![
        PortStyle::Plain,
        PortStyle::Spelled,
        PortStyle::EmptyIfDefault,
    ]);
    let fragments = option::of("[ -\\[\\]-~é]{0,6}");
    (
        vec(any::<bool>(), 1..8),
        any::<bool>(),
        ports,
        fragments,
        select(vec![RootStyle::Slash, RootStyle::Empty]),
        select(vec![Encoding::Raw, Encoding::Percent]),
    )
        .prop_map(
            |(upper, trailing_dot, port, fragment, root, encoding)| Style {
                upper,
                trailing_dot,
                port,
                fragment,
                root,
                encoding,
            },
        )
}

/// Generates text that resembles a URL, and is wrong in the places where parsers disagree.
pub fn dubious_urls() -> impl Strategy<Value = String> {
    let scheme = select(vec![
        "http",
        "https",
        "ftp",
        "HTTPS",
        "hTTp",
        "file",
        "",
        "http:http",
    ]);
    let slashes = select(vec!["://", "://", "://", ":/", ":///", ":\\\\", ":", "//"]);
    let authority = vec(
        select(vec![
            "example",
            ".",
            "org",
            "a",
            "@",
            ":",
            ":80",
            ":0",
            "user",
            "127.0.0.1",
            "0x7f",
            "1",
            "[::1]",
            "[",
            "]",
            "%2e",
            "%",
            "..",
            "。",
            "ü",
            "／",
            "\u{ad}",
            "-",
            "_",
            " ",
            "xn--",
            "*",
            "\\",
        ]),
        0..6,
    );
    let tail = vec(
        select(vec![
            "/",
            "/",
            "a",
            ".",
            "..",
            "%2e",
            "%2E",
            "%2f",
            "%5c",
            "%5C",
            "\\",
            "?",
            "#",
            "%",
            "%25",
            " ",
            "\t",
            "\n",
            "\0",
            "\x7f",
            "ü",
            "'",
            "\"",
            "{",
            "|",
            ";",
            "&",
            "=",
            "+",
            "//",
            "x-1.0.tar.gz",
            "://",
            "@",
        ]),
        0..10,
    );
    (scheme, slashes, authority, tail).prop_map(|(scheme, slashes, authority, tail)| {
        format!("{scheme}{slashes}{}{}", authority.concat(), tail.concat())
    })
}

/// Checks the properties that every target has, however it was parsed.
pub fn check_promises(target: &Target) -> Result<(), TestCaseError> {
    let text = target.as_str();
    prop_assert!(
        text.bytes().all(|byte| byte.is_ascii_graphic()),
        "not only visible ASCII: {text:?}"
    );
    prop_assert!(!text.contains(['\\', '#']), "{text:?}");
    prop_assert!(!leads_elsewhere(target.path()), "{text:?}");
    prop_assert!(target.path().starts_with('/'), "{text:?}");
    prop_assert_ne!(target.port(), 0, "{:?}", text);
    let (scheme, rest) = text.split_once("://").expect("a target has a scheme");
    prop_assert!(["http", "https", "ftp"].contains(&scheme), "{text:?}");
    let authority = &rest[..rest.find(['/', '?']).expect("a target has a path")];
    prop_assert!(scheme == "ftp" || !authority.contains('@'), "{text:?}");
    prop_assert!(
        target.host().bytes().all(|byte| !byte.is_ascii_uppercase()),
        "{text:?}"
    );
    prop_assert!(
        !target.host().is_empty() && !target.host().ends_with('.'),
        "{text:?}"
    );
    if let Ok(file) = FtpFile::from_target(target) {
        prop_assert!(!file.path.iter().any(u8::is_ascii_control), "{text:?}");
        let mut segments = file.path.split(|byte| matches!(byte, b'/' | b'\\'));
        prop_assert!(
            !segments.any(|segment| segment == b"." || segment == b".."),
            "{text:?}"
        );
    }
    let again = Target::parse(text);
    prop_assert_eq!(
        again.as_ref().map(Target::as_str),
        Ok(text),
        "the target parses to itself"
    );
    let library = Url::parse(text);
    prop_assert_eq!(
        library.as_ref().map(Url::as_str),
        Ok(text),
        "the URL library agrees"
    );
    Ok(())
}
