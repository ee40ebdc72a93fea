//! Text form of log lines: logfmt, which is `key=value` with quoted values.
//!
//! A value from a client or an origin never ends its field or its line. The main type is
//! [`LogfmtFormat`].

use std::fmt;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Formats an event as one line: time, level and message, then the fields in their order.
#[derive(Debug, Clone, Copy)]
pub struct LogfmtFormat {
    pub shows_colours: bool,
}

impl<S, N> FormatEvent<S, N> for LogfmtFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = LogFields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        write!(writer, "timestamp={time} level=")?;
        if self.shows_colours {
            write!(writer, "\x1b[{}m{level}\x1b[0m", colour_of(level))?;
        } else {
            write!(writer, "{level}")?;
        }
        writer.write_str(" message=")?;
        writer.write_str(&fields.message)?;
        writeln!(writer, "{}", fields.others)
    }
}

fn colour_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    }
}

/// Fields of one event as text.
#[derive(Default)]
struct LogFields {
    /// Quoted message.
    message: String,
    /// ` key=value` for each other field.
    others: String,
}

impl LogFields {
    fn add(&mut self, field: &Field, value: &str) {
        let name = field.name();
        if name == "message" {
            self.message.clear();
            push_value(&mut self.message, value);
        } else {
            self.others.push(' ');
            self.others.push_str(name.trim_start_matches("r#"));
            self.others.push('=');
            push_value(&mut self.others, value);
        }
    }
}

impl Visit for LogFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Appends a value, in quotes if it is empty or has other characters than visible ASCII, or one
/// that means something in logfmt.
fn push_value(line: &mut String, value: &str) {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=') || is_letter(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            ' '..='~' => line.push(c),
            c if is_letter(c) => line.push(c),
            // As in JSON. Characters above U+FFFF are two units.
            c => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                line.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    line.push('"');
}

/// Whether a character outside ASCII is shown as it is. Signs that control a terminal, the
/// direction of text or the end of a line are not.
fn is_letter(c: char) -> bool {
    !c.is_ascii() && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parses a line as strictly as logfmt allows: keys, and values with JSON's escapes in quotes.
    fn parse(line: &str) -> Option<Vec<(String, String)>> {
        let mut pairs = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=')?;
            if key.is_empty() || key.contains([' ', '"']) {
                return None;
            }
            let (value, after) = if after.starts_with('"') {
                let mut stream = serde_json::Deserializer::from_str(after).into_iter::<String>();
                let value = stream.next()?.ok()?;
                (value, &after[stream.byte_offset()..])
            } else {
                let (value, _) = after.split_once(' ').unwrap_or((after, ""));
                (value.to_owned(), &after[value.len()..])
            };
            pairs.push((key.to_owned(), value));
            rest = match after {
                "" => "",
                after => after.strip_prefix(' ')?,
            };
        }
        Some(pairs)
    }

    fn line_of(values: &[String]) -> String {
        let mut line = "first=1".to_owned();
        for (at, value) in values.iter().enumerate() {
            for part in [" key", &at.to_string(), "="] {
                line.push_str(part);
            }
            push_value(&mut line, value);
        }
        line
    }

    #[test]
    fn values_are_quoted_where_needed() {
        for (value, text) in [
            ("plain", "plain"),
            (
                "https://example.org/x-1.0.tar.gz?a",
                "https://example.org/x-1.0.tar.gz?a",
            ),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("a\nlevel=ERROR", "\"a\\nlevel=ERROR\""),
            ("\u{1b}[31m", "\"\\u001b[31m\""),
            ("\u{202e}x\u{9b}\u{7f}", "\"\\u202ex\\u009b\\u007f\""),
            ("größe", "größe"),
        ] {
            let mut line = String::new();
            push_value(&mut line, value);
            assert_eq!(line, text, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_values_read_back(values in prop::collection::vec(any::<String>(), 0..6)) {
            let line = line_of(&values);
            prop_assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
            let pairs = parse(&line);
            prop_assert!(pairs.is_some(), "{line:?}");
            let read: Vec<_> = pairs.into_iter().flatten().skip(1).map(|pair| pair.1).collect();
            prop_assert_eq!(read, values);
        }
    }
}
