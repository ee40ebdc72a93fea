//! What holds for every input, held against models that are too simple to be wrong.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use millpond::config::{Config, ConfigError};
use millpond::model::{
    Algorithm, ByteRange, Digests, KeptHeaders, Key, RangeSpec, Record, Selected, Sha256, Size, Span, Target,
    TargetError,
};
use millpond::policy::HostPattern;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use url::Url;

/// Cases a property: all of them together take a few seconds without optimisation.
const CASES: u32 = 4096;

/// Configurations are slower: each case writes a file and reads it, and the defaults with every single value.
const CONFIG_CASES: u32 = 96;

fn cases(cases: u32) -> ProptestConfig {
    // A failure is printed with its smallest input; nothing is written into the checkout.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

// --- Targets ---------------------------------------------------------------------------------------------------------

/// A target taken apart: path and query as a client may write them, the rest already in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
    segments: Vec<String>,
    query: Option<String>,
}

/// One of the many ways to write the same target.
#[derive(Debug, Clone)]
struct Style {
    upper: Vec<bool>,
    trailing_dot: bool,
    port: PortStyle,
    fragment: Option<String>,
    short_root: bool,
    encode: bool,
}

#[derive(Debug, Clone, Copy)]
enum PortStyle {
    Plain,
    Spelled,
    EmptyIfDefault,
}

impl Parts {
    fn default_port(&self) -> u16 {
        match self.scheme {
            "http" => 80,
            "https" => 443,
            _ => 21,
        }
    }

    fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// What the canonical string must be: put together by hand, without a URL library.
    fn canonical(&self) -> String {
        let port =
            self.port.filter(|&port| port != self.default_port()).map(|port| format!(":{port}")).unwrap_or_default();
        let query =
            self.query.as_deref().map(|query| format!("?{}", encoded(query, QUERY_ENCODED))).unwrap_or_default();
        format!("{}://{}{port}{}{query}", self.scheme, self.host, encoded(&self.path(), PATH_ENCODED))
    }

    fn spelled(&self, style: &Style) -> String {
        let mut flips = style.upper.iter().cycle();
        let mut any_case = |text: &str| -> String {
            let flip = |char: char| if flips.next() == Some(&true) { char.to_ascii_uppercase() } else { char };
            text.chars().map(flip).collect()
        };
        let mut text = format!("{}://{}", any_case(self.scheme), any_case(&self.host));
        if style.trailing_dot {
            text.push('.');
        }
        let port = match (self.port.filter(|&port| port != self.default_port()), style.port) {
            (Some(port), _) => format!(":{port}"),
            (None, PortStyle::Plain) => String::new(),
            (None, PortStyle::Spelled) => format!(":{}", self.default_port()),
            (None, PortStyle::EmptyIfDefault) => ":".to_owned(),
        };
        text.push_str(&port);
        let (path, query) = if style.encode {
            (encoded(&self.path(), PATH_ENCODED), self.query.as_deref().map(|query| encoded(query, QUERY_ENCODED)))
        } else {
            (self.path(), self.query.clone())
        };
        if !(path == "/" && style.short_root) {
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

/// The visible bytes that the URL library encodes. If an update of the library changes these sets then keys change with
/// them, and what is stored is no longer found: these lists must not follow it without a migration.
const PATH_ENCODED: &str = " \"<>`{}";
const QUERY_ENCODED: &str = " \"<>'";

fn encoded(text: &str, set: &str) -> String {
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

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).expect("half a byte").to_ascii_uppercase()
}

/// Undoes one layer of percent-encoding; what is no valid escape stays.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let value = escape
            .filter(|pair| bytes[at] == b'%' && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}

/// Whether a reader who decodes, and takes a backslash for a slash, sees a segment that leads elsewhere.
fn leads_elsewhere(path: &str) -> bool {
    let plain = String::from_utf8_lossy(&decoded(path)).replace('\\', "/");
    plain.split('/').any(|segment| segment == "." || segment == "..")
}

fn hosts() -> impl Strategy<Value = String> {
    let label = "[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9])?";
    // A last label of digits would be an address; hyphens in third and fourth place are reserved for punycode.
    let name = (vec(label, 0..4), "[a-z]{2,6}").prop_map(|(labels, last)| {
        let labels = labels.into_iter().map(|label| label.replace("--", "-0")).chain([last]);
        labels.collect::<Vec<_>>().join(".")
    });
    prop_oneof![
        6 => name,
        1 => any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
    ]
}

fn segments() -> impl Strategy<Value = Vec<String>> {
    let visible = "[ -\"$-.0-;=@-Z^-z|~%\\[\\]{}<>`üあ]{0,8}";
    let name = "[a-z]{1,6}-[0-9]\\.[0-9]\\.tar\\.(gz|xz)";
    let escape = select(vec!["%2F", "%2f", "%41", "%00", "%", "%%", "%zz", "+", "", "...", "a..", "..a", "%2e%2ea"]);
    let segment = prop_oneof![visible, name, escape.prop_map(str::to_owned)];
    vec(segment, 1..5).prop_filter("dot segments are refused", |segments| !leads_elsewhere(&segments.join("/")))
}

fn queries() -> impl Strategy<Value = Option<String>> {
    option::of("([a-c]=[0-9]{0,2}&?){0,3}[ -\"$-\\[\\]-~ü]{0,8}")
}

fn parts() -> impl Strategy<Value = Parts> {
    let ports = option::of(prop_oneof![select(vec![21u16, 80, 443, 8080]), 1..=u16::MAX]);
    (select(vec!["http", "https", "ftp"]), hosts(), ports, segments(), queries())
        .prop_map(|(scheme, host, port, segments, query)| Parts { scheme, host, port, segments, query })
}

fn styles() -> impl Strategy<Value = Style> {
    let ports = select(vec![PortStyle::Plain, PortStyle::Spelled, PortStyle::EmptyIfDefault]);
    let fragments = option::of("[ -\\[\\]-~é]{0,6}");
    (vec(any::<bool>(), 1..8), any::<bool>(), ports, fragments, any::<bool>(), any::<bool>()).prop_map(
        |(upper, trailing_dot, port, fragment, short_root, encode)| Style {
            upper,
            trailing_dot,
            port,
            fragment,
            short_root,
            encode,
        },
    )
}

/// Text that has the look of a URL and is wrong in the places where parsers disagree.
fn dubious_urls() -> impl Strategy<Value = String> {
    let scheme = select(vec!["http", "https", "ftp", "HTTPS", "hTTp", "file", "", "http:http"]);
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
            "/", "/", "a", ".", "..", "%2e", "%2E", "%2f", "%5c", "%5C", "\\", "?", "#", "%", "%25", " ", "\t", "\n",
            "\0", "\x7f", "ü", "'", "\"", "{", "|", ";", "&", "=", "+", "//", "x.tar.gz", "://", "@",
        ]),
        0..10,
    );
    (scheme, slashes, authority, tail).prop_map(|(scheme, slashes, authority, tail)| {
        format!("{scheme}{slashes}{}{}", authority.concat(), tail.concat())
    })
}

/// What every target promises, however it came about.
fn check_promises(target: &Target) -> Result<(), TestCaseError> {
    let text = target.as_str();
    prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "only visible ASCII: {text:?}");
    prop_assert!(!text.contains(['\\', '#']), "{text:?}");
    prop_assert!(!leads_elsewhere(target.path()), "{text:?}");
    prop_assert!(target.path().starts_with('/'), "{text:?}");
    prop_assert_ne!(target.port(), 0, "{:?}", text);
    let (scheme, rest) = text.split_once("://").expect("a scheme");
    prop_assert!(["http", "https", "ftp"].contains(&scheme), "{text:?}");
    let authority = &rest[..rest.find(['/', '?']).expect("a path")];
    prop_assert!(scheme == "ftp" || !authority.contains('@'), "{text:?}");
    prop_assert!(target.host().bytes().all(|byte| !byte.is_ascii_uppercase()), "{text:?}");
    prop_assert!(!target.host().is_empty() && !target.host().ends_with('.'), "{text:?}");
    let again = Target::parse(text);
    prop_assert_eq!(again.as_ref().map(Target::as_str), Ok(text), "parsed again");
    let library = Url::parse(text);
    prop_assert_eq!(library.as_ref().map(Url::as_str), Ok(text), "as the URL library sees it");
    Ok(())
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn two_spellings_of_one_target_have_one_key(parts in parts(), one in styles(), other in styles()) {
        // Whether an address may end in a dot is for the table to say.
        let dotted = |style: Style| Style {
            trailing_dot: style.trailing_dot && parts.host.parse::<std::net::Ipv4Addr>().is_err(),
            ..style
        };
        let (one, other) = (dotted(one), dotted(other));
        let first = Target::parse(&parts.spelled(&one));
        let second = Target::parse(&parts.spelled(&other));
        let canonical = parts.canonical();
        prop_assert_eq!(first.as_ref().map(Target::as_str), Ok(canonical.as_str()), "{:?}", parts.spelled(&one));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(Key::of(&first.unwrap()), Key::of(&second.unwrap()));
    }

    #[test]
    fn different_targets_have_different_keys(
        parts in parts(),
        other in parts(),
        which in 0..5,
        styles in (styles(), styles()),
    ) {
        // Only one part differs: the nearest that two targets can be.
        let near = match which {
            0 => Parts { scheme: other.scheme, ..parts.clone() },
            1 => Parts { host: other.host, ..parts.clone() },
            2 => Parts { port: other.port, ..parts.clone() },
            3 => Parts { segments: other.segments, ..parts.clone() },
            _ => Parts { query: other.query, ..parts.clone() },
        };
        if near.canonical() == parts.canonical() {
            return Ok(());
        }
        let plain = |style: Style| Style { trailing_dot: false, ..style };
        let one = Target::parse(&parts.spelled(&plain(styles.0))).unwrap();
        let two = Target::parse(&near.spelled(&plain(styles.1))).unwrap();
        prop_assert_ne!(&one, &two);
        prop_assert_ne!(Key::of(&one), Key::of(&two));
    }

    #[test]
    fn small_changes_of_path_and_query_are_other_targets(parts in parts(), which in 0..6) {
        // Each of these is the same to some normalising cache, and is not to us.
        let (path, query) = (encoded(&parts.path(), PATH_ENCODED), parts.query.clone().unwrap_or_default());
        let changed = match which {
            0 => format!("{path}/?{query}"),
            1 => format!("{}?{query}", path.replacen('/', "//", 1)),
            2 => format!("{path}?{query}&"),
            3 => format!("{path}%20?{query}"),
            4 => format!("{}?{query}", path.replace("%2F", "%2f").replace('a', "%61")),
            _ => format!("{}?{query}", path.to_ascii_uppercase()),
        };
        let start = format!("{}://{}", parts.scheme, parts.host);
        let original = Target::parse(&format!("{start}{path}?{query}")).unwrap();
        let changed = Target::parse(&format!("{start}{changed}")).unwrap();
        // A path without a small letter has no other case.
        if which < 4 || changed != original {
            prop_assert_ne!(Key::of(&original), Key::of(&changed));
        }
    }

    #[test]
    fn path_and_query_are_kept_byte_for_byte(parts in parts()) {
        let query = parts.query.clone().unwrap_or_default();
        let target = Target::parse(&format!("{}://{}{}?{query}", parts.scheme, parts.host, parts.path())).unwrap();
        prop_assert_eq!(target.path(), encoded(&parts.path(), PATH_ENCODED));
        prop_assert_eq!(target.url().query().map(str::to_owned), Some(encoded(&query, QUERY_ENCODED)));
        // Encoding adds nothing that decoding does not take away.
        prop_assert_eq!(decoded(target.path()), decoded(&parts.path()));
    }

    #[test]
    fn whatever_parses_keeps_every_promise(text in prop_oneof![dubious_urls(), "\\PC{0,40}", "https?://\\PC{0,40}"]) {
        if let Ok(target) = Target::parse(&text) {
            check_promises(&target)?;
        }
    }

    #[test]
    fn one_bad_byte_spoils_a_target(parts in parts(), at in any::<prop::sample::Index>(), bad in 0..=0x20u8) {
        let mut text = parts.canonical();
        let at = at.index(text.len() + 1);
        let (byte, error) = match bad {
            0x20 => ('\\', TargetError::Backslash),
            byte => (char::from(byte), TargetError::ControlByte),
        };
        text.insert(at, byte);
        prop_assert_eq!(Target::parse(&text), Err(error));
    }

    #[test]
    fn a_dot_segment_anywhere_is_refused(
        parts in parts(),
        at in any::<prop::sample::Index>(),
        dots in select(vec![".", "..", "%2e", "%2E", ".%2e", "%2e.", "%2E%2e"]),
        between in select(vec!["/", "%2f", "%2F", "%5c", "%5C"]),
    ) {
        let mut segments = parts.segments.clone();
        let at = at.index(segments.len() + 1);
        segments.insert(at, dots.to_owned());
        let spelling = format!("{}://{}/{}", parts.scheme, parts.host, segments.join(between));
        prop_assert_eq!(Target::parse(&spelling), Err(TargetError::DotSegment));
    }

    #[test]
    fn a_redirect_leads_to_a_target_or_nowhere(base in parts(), reference in prop_oneof![
        dubious_urls(),
        "[a-z./?#%:@\\[\\]2e \\\\]{0,16}",
        "//[a-z.:@0-9]{0,10}/[a-z./]{0,10}",
    ]) {
        let base = Target::parse(&base.canonical()).unwrap();
        if let Ok(target) = base.join(&reference) {
            check_promises(&target)?;
        }
    }

    #[test]
    fn an_absolute_redirect_leads_where_it_says(base in parts(), to in parts(), style in styles()) {
        let base = Target::parse(&base.canonical()).unwrap();
        let spelling = to.spelled(&Style { trailing_dot: false, fragment: None, ..style });
        prop_assert_eq!(base.join(&spelling), Target::parse(&spelling));
    }

    #[test]
    fn a_relative_redirect_keeps_scheme_host_and_port(
        base in parts(),
        name in "[a-z0-9._-]{0,7}[a-z0-9]",
        query in option::of("[a-z=&:/?]{0,12}"),
    ) {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let base_target = Target::parse(&base.canonical()).unwrap();
        let sibling = base_target.join(&format!("{name}{query}")).unwrap();
        let folder = Parts { query: None, ..base.clone() }.canonical();
        let folder = &folder[..=folder.rfind('/').unwrap()];
        prop_assert_eq!(sibling.as_str(), format!("{folder}{name}{query}"));
        let absolute = base_target.join(&format!("/{name}{query}")).unwrap();
        let root = Parts { query: None, segments: vec![name], ..base }.canonical();
        prop_assert_eq!(absolute.as_str(), format!("{root}{query}"));
    }
}

// --- Ranges ----------------------------------------------------------------------------------------------------------

/// Reads `bytes=A-B`, `bytes=A-` and `bytes=-B` one character at a time. Numbers behind every body are all alike.
fn naive_range(header: &str) -> Option<(Option<u128>, Option<u128>)> {
    let set = header.to_ascii_lowercase();
    let set = set.trim().strip_prefix("bytes")?.trim_start().strip_prefix('=')?.trim().to_owned();
    let mut numbers: [Option<u128>; 2] = [None, None];
    let mut which = 0;
    for char in set.chars() {
        match (char, which) {
            ('-', 0) => which = 1,
            ('0'..='9', _) => {
                let digit = u128::from(char.to_digit(10)?);
                let number = numbers[which].unwrap_or(0) * 10 + digit;
                numbers[which] = Some(number.min(u128::from(u64::MAX)));
            }
            _ => return None,
        }
    }
    match (which, numbers) {
        (0, _) | (_, [None, None]) => None,
        (_, [Some(first), Some(last)]) if last < first => None,
        (_, [first, last]) => Some((first, last)),
    }
}

/// The bytes that a range names, counted one by one.
fn naive_selection(range: (Option<u128>, Option<u128>), size_bytes: u64) -> Vec<u64> {
    let size = u128::from(size_bytes);
    let wanted = |at: u128| match range {
        (Some(first), last) => at >= first && last.is_none_or(|last| at <= last),
        (None, length) => at + length.unwrap_or(0) >= size,
    };
    (0..size_bytes).filter(|&at| wanted(u128::from(at))).collect()
}

fn range_headers() -> impl Strategy<Value = String> {
    let number = || prop_oneof![3 => "[0-9]{0,2}", 1 => "[0-9]{18,24}", 1 => Just("18446744073709551615".to_owned())];
    prop_oneof![
        6 => (number(), number()).prop_map(|(first, last)| format!("bytes={first}-{last}")),
        1 => (number(), number()).prop_map(|(first, last)| format!("BYTES= {first}-{last} ")),
        1 => "(bytes|items|)=?[0-9, -]{0,8}",
        1 => "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn a_range_selects_the_bytes_that_it_names(
        header in range_headers(),
        size_bytes in prop_oneof![0..4u64, 0..120u64],
    ) {
        let parsed = RangeSpec::parse(&header);
        let naive = naive_range(&header);
        prop_assert_eq!(parsed.is_some(), naive.is_some(), "{:?}", header);
        let (Some(parsed), Some(naive)) = (parsed, naive) else { return Ok(()) };
        let selected = match parsed.select(size_bytes) {
            Selected::Part(part) => {
                prop_assert_eq!(part.size_bytes(), part.last - part.first + 1);
                (part.first..=part.last).collect()
            }
            Selected::Unsatisfiable => Vec::new(),
        };
        prop_assert_eq!(selected, naive_selection(naive, size_bytes), "{:?} of {}", header, size_bytes);
    }

    #[test]
    fn a_part_lies_within_any_body(header in range_headers(), size_bytes in any::<u64>()) {
        let selected = RangeSpec::parse(&header).map(|range| range.select(size_bytes));
        if let Some(Selected::Part(ByteRange { first, last })) = selected {
            prop_assert!(first <= last && last < size_bytes);
        }
    }
}

// --- Sizes and times -------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn sizes_read_back_as_written(bytes in prop_oneof![
        any::<u64>(),
        0..5000u64,
        (0..1024u64, 0..6u32).prop_map(|(number, unit)| number << (10 * unit)),
    ]) {
        let size = Size { bytes };
        prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        prop_assert_eq!(Size::try_from(String::from(size)), Ok(size));
    }

    #[test]
    fn sizes_mean_their_unit(number in 0..4096u64, (unit, factor) in select(vec![
        ("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1u64 << 40),
    ])) {
        prop_assert_eq!(format!("{number}{unit}").parse::<Size>(), Ok(Size { bytes: number * factor }));
    }

    #[test]
    fn times_read_back_as_written(
        secs in prop_oneof![0..4000u64, 0..10 * 365 * 86_400u64],
        nanos in prop_oneof![Just(0), 0..1_000_000_000u32],
    ) {
        let span = Span(Duration::new(secs, nanos));
        prop_assert_eq!(Span::try_from(String::from(span)), Ok(span));
    }

    #[test]
    fn no_text_upsets_sizes_and_times(text in prop_oneof!["\\PC{0,16}", "-?[0-9.eE]{0,24} ?[a-zA-Z]{0,6}"]) {
        // Whether it parses is no matter here; that it neither panics nor reads as something else is.
        if let Ok(size) = text.parse::<Size>() {
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }
        if let Ok(span) = Span::try_from(text) {
            prop_assert_eq!(Span::try_from(String::from(span)), Ok(span));
        }
    }
}

// --- Records ---------------------------------------------------------------------------------------------------------

fn digests() -> impl Strategy<Value = Digests> {
    let others = [(Algorithm::Md5, 16), (Algorithm::Sha1, 20), (Algorithm::Sha512, 64)];
    let hex = |bytes: usize| vec(any::<u8>(), bytes).prop_map(hex::encode);
    let [md5, sha1, sha512] =
        others.map(|(algorithm, bytes)| option::of(hex(bytes).prop_map(move |hex| (algorithm, hex))));
    (any::<[u8; 32]>(), md5, sha1, sha512).prop_map(|(sha256, md5, sha1, sha512)| Digests {
        sha256: Sha256::from_bytes(sha256),
        others: [md5, sha1, sha512].into_iter().flatten().collect(),
    })
}

fn instants() -> impl Strategy<Value = SystemTime> {
    // From 1970 to the end of 9999, to the millisecond that a record file keeps.
    (0..253_402_300_800_000u64).prop_map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

fn headers() -> impl Strategy<Value = KeptHeaders> {
    let value = || option::of(prop_oneof!["[ -~]{0,30}", "\\PC{0,8}", "[\\x00-\\x20]{1,3}", "a{1020,1030}"]);
    let date = option::of(prop_oneof![
        (0..253_402_300_800u64)
            .prop_map(|secs| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(secs))),
        "[ -~]{0,30}",
    ]);
    (date, value(), value(), value()).prop_map(|(last_modified, content_type, content_disposition, etag)| KeptHeaders {
        last_modified,
        content_type,
        content_disposition,
        etag,
    })
}

fn collected(headers: &KeptHeaders) -> KeptHeaders {
    KeptHeaders::collect(|name| match name {
        "last-modified" => headers.last_modified.as_deref(),
        "content-type" => headers.content_type.as_deref(),
        "content-disposition" => headers.content_disposition.as_deref(),
        "etag" => headers.etag.as_deref(),
        _ => None,
    })
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn records_read_back_as_written(
        target in parts(),
        digests in digests(),
        size_bytes in any::<u64>(),
        first_seen in instants(),
        source in "https?://[a-z.]{1,20}",
        headers in headers(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let record = Record::new(&target, digests.clone(), size_bytes, first_seen, source, collected(&headers));
        let read = Record::parse(&record.to_bytes()).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(read.known_digests(), digests);
        prop_assert_eq!(read.key(), Key::of(&target));
    }

    #[test]
    fn only_plain_headers_leave_a_record(target in parts(), digests in digests(), headers in headers()) {
        // A file that was tampered with can't smuggle a line break or an endless value into an answer.
        let target = Target::parse(&target.canonical()).unwrap();
        let record = Record::new(&target, digests, 1, SystemTime::UNIX_EPOCH, String::new(), headers.clone());
        let read = Record::parse(&record.to_bytes()).unwrap().headers;
        prop_assert_eq!(&read, &collected(&headers));
        let values = [read.last_modified, read.content_type, read.content_disposition, read.etag];
        for value in values.iter().flatten() {
            prop_assert!(value.len() <= 1024 && value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{value:?}");
        }
    }

    #[test]
    fn a_damaged_record_is_an_error_and_no_other_record(
        target in parts(),
        digests in digests(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let source = "https://example.org".to_owned();
        let record = Record::new(&target, digests, 1, SystemTime::UNIX_EPOCH, source, KeptHeaders::default());
        let bytes = record.to_bytes();
        let at = cut.index(bytes.len() - 1);
        // The last byte is a line break: without it the record is still whole.
        prop_assert!(Record::parse(&bytes[..at]).is_err() || at == bytes.len() - 1);
        let mut flipped = bytes.clone();
        flipped[at] = byte;
        if let Ok(read) = Record::parse(&flipped) {
            prop_assert_eq!(Record::parse(&read.to_bytes()).unwrap(), read);
        }
    }

    #[test]
    fn no_bytes_upset_a_record(bytes in prop_oneof![
        vec(any::<u8>(), 0..64),
        "[\\[{][\\[\\]{}\":,0-9a-z]{0,60}".prop_map(String::into_bytes),
    ]) {
        prop_assert!(Record::parse(&bytes).is_err());
    }

    #[test]
    fn the_order_of_records_does_not_matter(
        target in parts(),
        seen in vec((any::<[u8; 32]>(), 0..3u64), 1..5),
        turn in any::<prop::sample::Index>(),
    ) {
        let target = Target::parse(&target.canonical()).unwrap();
        let records: Vec<_> = seen
            .iter()
            .map(|&(sha256, secs)| {
                let digests = Digests { sha256: Sha256::from_bytes(sha256), others: BTreeMap::new() };
                let first_seen = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
                Record::new(&target, digests, 1, first_seen, String::new(), KeptHeaders::default())
            })
            .collect();
        let mut turned = records.clone();
        turned.rotate_left(turn.index(records.len()));
        let answering = Record::answering(records.clone()).unwrap();
        prop_assert_eq!(&Record::answering(turned).unwrap(), &answering);
        prop_assert!(records.iter().all(|record| record.first_seen >= answering.first_seen));
    }
}

// --- Hosts in lists --------------------------------------------------------------------------------------------------

fn labels() -> impl Strategy<Value = Vec<String>> {
    vec(select(vec!["a", "b", "ab", "example", "org", "xn--a-b", "x-y"]).prop_map(str::to_owned), 1..5)
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn host_patterns_match_whole_labels(
        pattern in labels(),
        host in labels(),
        with_subdomains in any::<bool>(),
        upper in any::<bool>(),
    ) {
        let mut text = format!("{}{}", if with_subdomains { "." } else { "" }, pattern.join("."));
        if upper {
            text.make_ascii_uppercase();
        }
        let expected = if with_subdomains { host.ends_with(&pattern) } else { host == pattern };
        let parsed = HostPattern::parse(&text).unwrap();
        prop_assert_eq!(parsed.matches(&host.join(".")), expected, "{} on {}", text, host.join("."));
        // A pattern fits what is named by it, and everything under that only if it says so.
        prop_assert!(parsed.matches(&pattern.join(".")));
        prop_assert_eq!(parsed.matches(&format!("c.{}", pattern.join("."))), with_subdomains);
        prop_assert!(!parsed.matches(&["c", &pattern.join(".")].concat()));
        prop_assert!(!parsed.matches(&[&pattern.join("."), ".c"].concat()));
        prop_assert_eq!(HostPattern::parse(&parsed.to_string()), Ok(parsed));
    }

    #[test]
    fn no_text_upsets_a_host_pattern(text in "\\PC{0,12}", host in hosts()) {
        if let Ok(pattern) = HostPattern::parse(&text) {
            prop_assert!(pattern.matches(&host) || pattern.to_string().trim_start_matches('.') != host);
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }
}

// --- Configuration ---------------------------------------------------------------------------------------------------

/// One value, written for a file and for a variable.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    section: &'static str,
    key: &'static str,
    toml: String,
    text: String,
}

impl Setting {
    fn variable(&self) -> (String, String) {
        (format!("MILLPOND_{}__{}", self.section, self.key).to_ascii_uppercase(), self.text.clone())
    }

    fn flag(&self) -> String {
        format!("{}.{}={}", self.section, self.key, self.text)
    }

    fn is_for(&self, other: &Self) -> bool {
        (self.section, self.key) == (other.section, other.key)
    }
}

/// What kind of value a key takes, and what it may be.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Word(&'static str),
    OneOf(&'static [&'static str]),
    Words(&'static [&'static str]),
    Numbers,
    Number(u32),
    Share(u32, u32),
    Size,
    Span,
}

const KEYS: &[(&str, &str, Takes)] = &[
    ("gateway", "listen", Takes::Word("127\\.0\\.0\\.1:[1-9][0-9]{3}")),
    ("gateway", "name", Takes::Word("[a-z0-9._-]{0,12}")),
    ("gateway", "public_url", Takes::Word("https?://[a-z]{1,8}\\.example\\.org")),
    ("gateway", "state_dir", Takes::Word("[a-zA-Z0-9 /._\"'\\\\-]{1,12}")),
    ("gateway", "miss", Takes::OneOf(&["redirect", "relay"])),
    ("gateway", "relay_agents", Takes::Words(&["curl/", "Wget/1.21", "libdnf"])),
    ("gateway", "trusted_proxies", Takes::Words(&["127.0.0.1/32", "::1/128", "192.0.2.0/24"])),
    ("gateway", "shutdown_grace", Takes::Span),
    ("proxy", "listen", Takes::OneOf(&["", "127.0.0.1:3129", "[::1]:3128"])),
    ("proxy", "tunnel_idle_timeout", Takes::Span),
    ("cache", "dir", Takes::Word("[a-zA-Z0-9 /._\"'\\\\-]{1,12}")),
    ("cache", "max_size", Takes::Size),
    ("cache", "high_watermark", Takes::Share(70, 100)),
    ("cache", "low_watermark", Takes::Share(1, 70)),
    ("cache", "absent_ttl", Takes::Span),
    ("cache", "map_capacity", Takes::Number(1_000_000)),
    ("fetch", "concurrency", Takes::Number(1000)),
    ("fetch", "budget", Takes::Span),
    ("fetch", "min_speed", Takes::Size),
    ("policy", "allow_clients", Takes::Words(&["0.0.0.0/0", "::/0", "10.0.0.0/8"])),
    ("policy", "allow_hosts", Takes::Words(&["example.org", ".example.org", "EXAMPLE.net", "127.0.0.1"])),
    ("policy", "deny_suffixes", Takes::Words(&[".mp3", ".exe", ".iso"])),
    ("policy", "ports", Takes::Numbers),
    ("policy", "max_object_size", Takes::Size),
    ("log", "format", Takes::OneOf(&["text", "json"])),
    ("log", "level", Takes::OneOf(&["error", "warn", "info", "debug", "trace"])),
];

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A value in the spelling of TOML and as the plain text of a variable.
fn values(takes: Takes) -> BoxedStrategy<(String, String)> {
    let plain = |text: String| (quoted(&text), text);
    let as_list = |items: &[String], toml: &str, style: usize| match style {
        // Plain words with commas, with spaces around them, or the list as TOML has it.
        0 => items.join(","),
        1 => format!(" {} ", items.join(" , ")),
        _ => toml.to_owned(),
    };
    match takes {
        Takes::Word(pattern) => proptest::string::string_regex(pattern).expect("a pattern").prop_map(plain).boxed(),
        Takes::OneOf(words) => select(words).prop_map(move |word: &str| plain(word.to_owned())).boxed(),
        Takes::Words(words) => (vec(select(words), 0..4), 0..3usize)
            .prop_map(move |(items, style)| {
                let items: Vec<String> = items.into_iter().map(str::to_owned).collect();
                let list: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                let toml = format!("[{}]", list.join(", "));
                let text = as_list(&items, &toml, style);
                (toml, text)
            })
            .boxed(),
        Takes::Numbers => (vec(any::<u16>().prop_map(|number| number.to_string()), 0..4), 0..3usize)
            .prop_map(move |(items, style)| {
                let toml = format!("[{}]", items.join(", "));
                let text = as_list(&items, &toml, style);
                (toml, text)
            })
            .boxed(),
        Takes::Number(largest) => (1..=largest).prop_map(|number| (number.to_string(), number.to_string())).boxed(),
        Takes::Share(least, most) => (least..=most)
            .prop_map(|share| (format!("{}.{:02}", share / 100, share % 100), format!("{}", f64::from(share) / 100.0)))
            .boxed(),
        Takes::Size => {
            let unit = select(vec!["B", "KiB", "MiB", "GiB", "TiB", "MB", " GiB", ""]);
            (0..2048u32, unit).prop_map(move |(number, unit)| plain(format!("{number}{unit}"))).boxed()
        }
        Takes::Span => {
            let unit = select(vec!["ms", "s", "m", "h", "d", "min", " s"]);
            (1..500u32, unit).prop_map(move |(number, unit)| plain(format!("{number}{unit}"))).boxed()
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    select(KEYS).prop_flat_map(|(section, key, takes)| {
        values(takes).prop_map(move |(toml, text)| Setting { section, key, toml, text })
    })
}

/// Settings of different keys.
fn settings() -> impl Strategy<Value = Vec<Setting>> {
    vec(setting(), 0..6).prop_map(|settings| {
        let mut unique: Vec<Setting> = Vec::new();
        for setting in settings {
            if !unique.iter().any(|known| known.is_for(&setting)) {
                unique.push(setting);
            }
        }
        unique
    })
}

/// A configuration file with these settings.
fn file_of(settings: &[Setting]) -> tempfile::NamedTempFile {
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setting in settings {
        let lines = sections.entry(setting.section).or_default();
        lines.push(format!("{} = {}", setting.key, setting.toml));
    }
    let text: Vec<String> =
        sections.iter().map(|(section, lines)| format!("[{section}]\n{}\n", lines.join("\n"))).collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text.concat()).expect("a temporary file can be written");
    file
}

fn load(file: &[Setting], variables: &[Setting], flags: &[Setting]) -> Result<Config, ConfigError> {
    let file = file_of(file);
    // Other programs' variables, and those of the client commands, are no configuration.
    let foreign = ["PATH", "MILLPOND_URL", "MILLPOND_", "millpond_cache__dir"];
    let environment =
        variables.iter().map(Setting::variable).chain(foreign.map(|name| (name.to_owned(), "1".to_owned())));
    let flags: Vec<String> = flags.iter().map(Setting::flag).collect();
    Config::load(Some(file.path()), environment, &flags)
}

proptest! {
    #![proptest_config(cases(CONFIG_CASES))]

    #[test]
    fn file_environment_and_flags_say_the_same(settings in settings()) {
        let by_file = load(&settings, &[], &[]).unwrap();
        prop_assert_eq!(&load(&[], &settings, &[]).unwrap(), &by_file);
        prop_assert_eq!(&load(&[], &[], &settings).unwrap(), &by_file);
        // Nothing but what was set has changed.
        let written = toml::Table::try_from(&by_file).unwrap();
        for (section, keys) in toml::Table::try_from(Config::default()).unwrap() {
            for (key, default) in keys.as_table().unwrap() {
                let is_set = settings.iter().any(|setting| setting.section == section && setting.key == key);
                prop_assert!(is_set || &written[&section][key] == default, "{section}.{key}");
            }
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_flags_over_both(
        file in settings(),
        variables in settings(),
        flags in settings(),
    ) {
        let mut winning = flags.clone();
        for setting in variables.iter().chain(&file) {
            if !winning.iter().any(|stronger| stronger.is_for(setting)) {
                winning.push(setting.clone());
            }
        }
        prop_assert_eq!(load(&file, &variables, &flags).unwrap(), load(&winning, &[], &[]).unwrap());
    }

    #[test]
    fn a_configuration_reads_back_as_written(settings in settings()) {
        let config = load(&settings, &[], &[]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml::to_string(&config).unwrap()).unwrap();
        prop_assert_eq!(Config::load(Some(file.path()), [], &[]).unwrap(), config);
    }

    #[test]
    fn a_wrong_key_or_value_is_named(
        settings in settings(),
        (section, key, takes) in select(KEYS),
        word in "[a-z]{3,9}",
    ) {
        let unknown = format!("{key}_{word}");
        let wrong = |key: &str, text: &str| {
            let variable = (format!("MILLPOND_{section}__{key}").to_ascii_uppercase(), text.to_owned());
            let environment = settings.iter().map(Setting::variable).chain([variable.clone()]);
            let error = Config::load(None, environment, &[]).unwrap_err().to_string();
            prop_assert!(error.contains(&variable.0) && !error.contains('\n'), "{error:?}");
            let error = Config::load(None, [], &[format!("{section}.{key}={text}")]).unwrap_err().to_string();
            prop_assert!(error.contains(&format!("{section}.{key}")) && !error.contains('\n'), "{error:?}");
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), format!("# one\n\n[{section}]\n{key} = {}\n", quoted(text))).unwrap();
            let error = Config::load(Some(file.path()), [], &[]).unwrap_err().to_string();
            prop_assert!(error.contains(":4: ") && error.contains(key) && !error.contains('\n'), "{error:?}");
            Ok(())
        };
        wrong(&unknown, "1")?;
        // A word is no number, no size, no time, and none of a few other words.
        if key != "listen" && !matches!(takes, Takes::Word(_) | Takes::Words(_)) {
            wrong(key, &format!("x{word}"))?;
        }
    }
}
