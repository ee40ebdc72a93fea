//! Texts, numbers and times as the page shows them.
//!
//! Markup escapes all texts. Characters that change how a text looks are replaced here, so that a
//! name never looks like another one.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use maud::{Markup, html};

/// Longest text that is shown whole, in characters. A URL may have 8 KiB.
const MAX_TEXT_CHARS: usize = 240;

/// Characters that are shown of the end of a longer text. A URL ends with the name of the file.
const TAIL_CHARS: usize = 80;

/// Digits of a digest that are shown where space is short.
const SHORT_DIGEST_DIGITS: usize = 12;

const BYTE_UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a foreign text with visible replacements of control and format characters, shortened in
/// the middle.
pub fn visible(text: &str) -> String {
    let text = shorten(text);
    let replaced = text.chars().map(|character| match character {
        '\0'..='\u{1f}' => {
            char::from_u32(u32::from(character) + 0x2400).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        character if is_misleading(character) => char::REPLACEMENT_CHARACTER,
        character => character,
    });
    replaced.collect()
}

fn shorten(text: &str) -> Cow<'_, str> {
    // Bytes are at least as many as characters.
    if text.len() <= MAX_TEXT_CHARS {
        return Cow::Borrowed(text);
    }
    let count = text.chars().count();
    if count <= MAX_TEXT_CHARS {
        return Cow::Borrowed(text);
    }
    let head = text.chars().take(MAX_TEXT_CHARS - TAIL_CHARS - 1);
    let tail = text.chars().skip(count - TAIL_CHARS);
    Cow::Owned(head.chain(['…']).chain(tail).collect())
}

/// Whether a character is invisible or changes the order of others (Unicode, section 23.2).
fn is_misleading(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Shows a URL. A script opens the story of its target.
pub fn target_link(url: &str) -> Markup {
    html! {
        button.link.url type="button" data-story=(url) { bdi { (visible(url)) } }
    }
}

/// Shows a digest, shortened where space is short.
pub fn digest(hex: &str) -> Markup {
    let short = hex.get(..SHORT_DIGEST_DIGITS).unwrap_or(hex);
    html! { code title=(hex) { (short) "…" } }
}

/// Shows a number of bytes in a binary unit.
pub fn bytes(count: u64) -> String {
    let mut unit = 0;
    let mut whole = count;
    let mut rest = 0;
    while whole >= 1024 && unit + 1 < BYTE_UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = BYTE_UNITS[unit];
    match unit {
        0 => format!("{whole} {name}"),
        _ if whole >= 100 => format!("{whole} {name}"),
        _ => format!("{whole}.{} {name}", rest * 10 / 1024),
    }
}

/// Shows a count with separators of thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// Shows a ratio between 0 and 1 in percent.
pub fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))
}

/// Returns `part` of `whole` in percent, at most 100.
pub fn share(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    let percent = u128::from(part) * 100 / u128::from(whole);
    u64::try_from(percent.min(100)).unwrap_or(100)
}

/// Shows a time in UTC.
pub fn time(time: SystemTime) -> Markup {
    let machine = humantime::format_rfc3339_seconds(time).to_string();
    let shown = machine.replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(machine) { (shown) } }
}

/// Shows a time, or a dash.
pub fn time_if_any(when: Option<SystemTime>) -> Markup {
    when.map_or_else(|| html! { "–" }, time)
}

/// Shows a duration in its two largest units.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misleading_characters_become_visible() {
        assert_eq!(visible("a\u{202e}gpj.exe"), "a\u{fffd}gpj.exe");
        assert_eq!(visible("a\nb\u{200b}"), "a\u{240a}b\u{fffd}");
        assert_eq!(visible("größe-1.0"), "größe-1.0");
    }

    #[test]
    fn long_text_keeps_both_ends() {
        let text = format!("https://a.example/{}/x-1.0.tar.gz", "y".repeat(8000));
        let shown = visible(&text);
        assert_eq!(shown.chars().count(), MAX_TEXT_CHARS);
        assert!(shown.starts_with("https://a.example/") && shown.ends_with("/x-1.0.tar.gz"));
    }

    #[test]
    fn numbers_have_their_units() {
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (200 << 20, "200 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999), "999");
        assert_eq!(percent(Some(0.5)), "50.0 %");
        assert_eq!((share(1, 3), share(5, 3), share(1, 0)), (33, 100, 0));
        assert_eq!(duration(Duration::from_hours(25)), "1 d 1 h");
    }
}
