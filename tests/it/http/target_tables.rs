//! Tables of target spellings: `tests/targets.tsv` and `tests/rewrites.tsv`.

use millpond::gateway::{PrefixedUrl, PrefixedUrlError};
use millpond::model::{Key, MAX_TARGET_BYTES, Target, TargetError};
use url::Url;

/// One line of a table, unescaped.
struct Row {
    number: usize,
    fields: Vec<String>,
}

/// Expected result for a spelling.
enum Verdict<'a> {
    Canonical(&'a str),
    Refused(&'a str),
}

impl Row {
    fn spelling(&self) -> &str {
        &self.fields[0]
    }

    fn verdict(&self) -> Verdict<'_> {
        let text = self.fields[1].as_str();
        text.strip_prefix("! ")
            .map_or(Verdict::Canonical(text), Verdict::Refused)
    }
}

fn rows(table: &str) -> Vec<Row> {
    let is_content = |line: &str| !line.is_empty() && !line.starts_with('#');
    let lines = table
        .lines()
        .enumerate()
        .filter(|(_, line)| is_content(line));
    lines
        .map(|(index, line)| {
            let row = Row {
                number: index + 1,
                fields: line.split('\t').map(unescape).collect(),
            };
            assert!(
                (2..=3).contains(&row.fields.len()),
                "line {}: expected two or three fields",
                row.number
            );
            row
        })
        .collect()
}

/// Replaces `\t \r \0 \\ \x7f` and `\u{ad}`: characters that a table cannot contain or
/// that are invisible in it.
fn unescape(field: &str) -> String {
    let mut text = String::new();
    let mut rest = field.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        let code = match rest.next() {
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('0') => '\0',
            Some('\\') => '\\',
            Some('x') => hex_char(&rest.by_ref().take(2).collect::<String>()),
            Some('u') => {
                let digits: String = rest
                    .by_ref()
                    .skip(1)
                    .take_while(|&char| char != '}')
                    .collect();
                hex_char(&digits)
            }
            other => panic!("no such escape: {other:?} in {field:?}"),
        };
        text.push(code);
    }
    text
}

fn hex_char(digits: &str) -> char {
    u32::from_str_radix(digits, 16)
        .ok()
        .and_then(char::from_u32)
        .expect("hexadecimal digits of a character")
}

#[test]
fn every_spelling_parses_as_in_table() {
    let rows = rows(include_str!("../../targets.tsv"));
    assert!(
        rows.len() >= 90,
        "the table has shrunk to {} rows",
        rows.len()
    );
    let mut wrong = Vec::new();
    for row in &rows {
        let found = Target::parse(row.spelling());
        let agrees = match (&found, row.verdict()) {
            (Ok(target), Verdict::Canonical(canonical)) => target.as_str() == canonical,
            (Err(error), Verdict::Refused(name)) => format!("{error:?}") == name,
            _ => false,
        };
        if !agrees {
            let found = found.map(|target| target.as_str().to_owned());
            wrong.push(format!(
                "line {}: {:?}: table {:?}, parse {found:?}",
                row.number,
                row.spelling(),
                row.fields[1]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows disagree:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn canonical_string_parses_to_itself() {
    for row in rows(include_str!("../../targets.tsv")) {
        let Verdict::Canonical(canonical) = row.verdict() else {
            continue;
        };
        let again =
            Target::parse(canonical).unwrap_or_else(|error| panic!("line {}: {error}", row.number));
        assert_eq!(
            again.as_str(),
            canonical,
            "line {}: parsed again",
            row.number
        );
        // Upstream requests are built by the URL library, which must keep the
        // string of policy and key.
        let library =
            Url::parse(canonical).unwrap_or_else(|error| panic!("line {}: {error}", row.number));
        assert_eq!(
            library.as_str(),
            canonical,
            "line {}: as the URL library writes it",
            row.number
        );
        let split = (
            library.host_str(),
            library.path(),
            library.port_or_known_default(),
        );
        let kept = (Some(again.host()), again.path(), Some(again.port()));
        assert_eq!(
            split, kept,
            "line {}: as the URL library splits it",
            row.number
        );
    }
}

#[test]
fn equal_keys_imply_equal_canonical_strings() {
    let rows = rows(include_str!("../../targets.tsv"));
    let mut by_key = std::collections::HashMap::new();
    for row in &rows {
        let Verdict::Canonical(canonical) = row.verdict() else {
            continue;
        };
        let key = Key::new(&Target::parse(row.spelling()).unwrap());
        let first = by_key.entry(key).or_insert(canonical);
        assert_eq!(*first, canonical, "line {}", row.number);
    }
}

#[test]
fn every_target_error_has_a_row() {
    let named: Vec<String> = rows(include_str!("../../targets.tsv"))
        .iter()
        .filter_map(|row| match row.verdict() {
            Verdict::Refused(name) => Some(name.to_owned()),
            Verdict::Canonical(_) => None,
        })
        .collect();
    for error in [
        TargetError::Scheme,
        TargetError::ControlByte,
        TargetError::Backslash,
        TargetError::DotSegment,
        TargetError::Host,
        TargetError::OddAddress,
        TargetError::Port,
        TargetError::Userinfo,
    ] {
        assert!(
            named.contains(&format!("{error:?}")),
            "{error:?} has no row"
        );
    }
}

/// Returns the innermost name of an error: that of the digest error or target
/// error if it wraps one.
fn name_of(error: PrefixedUrlError) -> String {
    match error {
        PrefixedUrlError::NoUrl
        | PrefixedUrlError::Parameter
        | PrefixedUrlError::TooManyDigests => format!("{error:?}"),
        PrefixedUrlError::Target(inner) => format!("{inner:?}"),
        PrefixedUrlError::Digest(inner) => format!("{inner:?}"),
    }
}

#[test]
fn every_request_path_parses_as_in_table() {
    let rows = rows(include_str!("../../rewrites.tsv"));
    assert!(
        rows.len() >= 90,
        "the table has shrunk to {} rows",
        rows.len()
    );
    let mut wrong = Vec::new();
    for row in &rows {
        let found = PrefixedUrl::parse(row.spelling());
        let expected = row.fields.get(2).map(String::as_str).unwrap_or_default();
        let agrees = match (&found, row.verdict()) {
            (Ok(rewrite), Verdict::Canonical(canonical)) => {
                rewrite.target.as_str() == canonical && rewrite.expected.to_string() == expected
            }
            (Err(error), Verdict::Refused(name)) => name_of(*error) == name,
            _ => false,
        };
        if !agrees {
            let found = found.map(|rewrite| {
                (
                    rewrite.target.as_str().to_owned(),
                    rewrite.expected.to_string(),
                )
            });
            wrong.push(format!(
                "line {}: {:?}: table {:?}, parse {found:?}",
                row.number,
                row.spelling(),
                row.fields[1]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows disagree:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn canonical_string_works_as_gateway_path() {
    for row in rows(include_str!("../../targets.tsv")) {
        let Verdict::Canonical(canonical) = row.verdict() else {
            continue;
        };
        let rewrite = PrefixedUrl::parse(&format!("/{canonical}"));
        let rewrite = rewrite.unwrap_or_else(|error| panic!("line {}: {error}", row.number));
        assert_eq!(rewrite.target.as_str(), canonical, "line {}", row.number);
        assert!(rewrite.expected.is_empty(), "line {}", row.number);
    }
}

#[test]
fn length_is_checked_before_and_after_encoding() {
    let start = "https://example.org/";
    let fits = format!("{start}{}", "a".repeat(MAX_TARGET_BYTES - start.len()));
    assert_eq!(Target::parse(&fits).unwrap().as_str(), fits);
    assert_eq!(
        Target::parse(&format!("{fits}a")),
        Err(TargetError::TooLong)
    );
    // Each space becomes three bytes.
    let grows = format!("{start}{}", " ".repeat(MAX_TARGET_BYTES / 2));
    assert_eq!(Target::parse(&grows), Err(TargetError::TooLong));
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(Target::parse(&format!("https://{longest}/")).is_ok());
    assert_eq!(
        Target::parse(&format!("https://{longest}a/")),
        Err(TargetError::Host)
    );
}
