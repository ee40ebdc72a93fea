//! Parts of a name that fix its bytes: dates, dotted versions, commit ids and digests.

use std::ops::RangeInclusive;

/// Lengths of a commit id in hex digits: from the shortest abbreviation to SHA-256.
const COMMIT_HEX: RangeInclusive<usize> = 7..=64;

/// Lengths of a digest in hex digits: MD5, SHA-1, SHA-256 and SHA-512. It may be a commit id.
const DIGEST_HEX: [usize; 4] = [32, 40, 64, 128];

/// Years that count as the year of a date.
const YEARS: RangeInclusive<u32> = 1970..=2099;

/// Returns whether a text contains a date, such as `20240131` or `2024-01-31`.
pub fn is_dated(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len())
        .filter(|start| *start == 0 || !bytes[start - 1].is_ascii_digit())
        .any(|start| {
            let digits = bytes[start..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            match digits {
                // The time of day may follow: hours, minutes and seconds.
                8 | 10 | 12 | 14 => is_date_at(text, start, 0),
                4 => {
                    let separator = bytes.get(start + 4);
                    matches!(separator, Some(b'-' | b'.' | b'_'))
                        && separator == bytes.get(start + 7)
                        && is_date_at(text, start, 1)
                }
                _ => false,
            }
        })
}

/// Returns whether a date begins at byte `start`, with `separator_bytes` between its numbers.
fn is_date_at(text: &str, start: usize, separator_bytes: usize) -> bool {
    let number = |from: usize, to: usize| -> Option<u32> { text.get(from..to)?.parse().ok() };
    let month = start + 4 + separator_bytes;
    let day = month + 2 + separator_bytes;
    number(start, start + 4).is_some_and(|year| YEARS.contains(&year))
        && number(month, month + 2).is_some_and(|month| (1..=12).contains(&month))
        && number(day, day + 2).is_some_and(|day| (1..=31).contains(&day))
}

/// Returns whether a text contains a version with a dot, such as `5.1`.
pub fn has_dotted_version(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .windows(3)
        .any(|three| three[0].is_ascii_digit() && three[1] == b'.' && three[2].is_ascii_digit())
}

/// Returns whether a text is a commit id, also with the prefix `g` of `git describe`.
pub fn is_commit(text: &str) -> bool {
    let text = text.strip_prefix('g').unwrap_or(text);
    COMMIT_HEX.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Returns whether a text is a digest in hexadecimal.
pub fn is_digest(text: &str) -> bool {
    DIGEST_HEX.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
