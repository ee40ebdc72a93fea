//! Words of the lists that commands print: sizes, ages and states, and a header on terminals.
//!
//! The main type is [`ListForm`].

use std::io::{self, IsTerminal as _};
use std::time::SystemTime;

use bytesize::ByteSize;
use serde_json::Value;

/// Digits of a digest that identify it to a person.
const SHORT_DIGEST_CHARS: usize = 12;

/// Form of a list of stored files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListForm {
    /// Short digests and ages, with a header, for a person.
    Terminal,
    /// Whole digests and dates, without a header, for other programs.
    Pipe,
}

impl ListForm {
    /// Returns the form for standard output.
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() {
            Self::Terminal
        } else {
            Self::Pipe
        }
    }

    /// Returns a digest, whole or its first digits.
    pub fn digest(self, value: &Value) -> &str {
        let digest = text(value);
        match self {
            Self::Terminal => digest.get(..SHORT_DIGEST_CHARS).unwrap_or(digest),
            Self::Pipe => digest,
        }
    }

    /// Returns a date, or how long ago it was. A missing date is `-`.
    pub fn time(self, value: &Value) -> String {
        let date = text(value);
        match (self, humantime::parse_rfc3339(date)) {
            (Self::Terminal, Ok(time)) => age(time),
            (_, Err(_)) if date.is_empty() => "-".to_owned(),
            _ => date.to_owned(),
        }
    }
}

/// Form of sizes in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct SizeForm {
    /// Print sizes in bytes, without a unit
    #[arg(long)]
    bytes: bool,
}

impl SizeForm {
    /// Returns the size of a JSON number of bytes.
    pub fn of(self, value: &Value) -> String {
        if self.bytes {
            value.as_u64().unwrap_or_default().to_string()
        } else {
            size_of(value)
        }
    }

    /// Returns a number of bytes of a total.
    pub fn total(self, bytes: u64) -> String {
        if self.bytes {
            format!("{bytes} bytes")
        } else {
            size(bytes)
        }
    }
}

/// Returns a number of bytes with a binary unit, such as `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Returns the size of a JSON number of bytes.
pub fn size_of(value: &Value) -> String {
    size(value.as_u64().unwrap_or_default())
}

/// Returns a JSON number with a noun, such as `1 pin` and `2 pins`.
pub fn counted(number: &Value, noun: &str) -> String {
    let number = number.as_u64().unwrap_or_default();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Returns the text of a JSON string, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the time since a moment in its largest unit, such as `3d`.
fn age(time: SystemTime) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3600, "h"), (60, "m")];
    let elapsed = SystemTime::now().duration_since(time).unwrap_or_default();
    let seconds = elapsed.as_secs();
    for (length, unit) in UNITS {
        if seconds >= length {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}
