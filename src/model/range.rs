//! Byte ranges (RFC 9110, section 14).

/// Range as requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=first-` and `bytes=first-last`.
    From { first: u64, last: Option<u64> },
    /// `bytes=-length`: the last bytes.
    Suffix { length: u64 },
}

/// Bytes `first..=last` of a body, both counted from 0; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub first: u64,
    pub last: u64,
}

impl ByteRange {
    /// Returns the number of bytes in the range.
    #[must_use]
    pub fn size_bytes(self) -> u64 {
        self.last - self.first + 1
    }
}

/// Range applied to a body of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    Part(ByteRange),
    /// The range begins at or after the end (416).
    Unsatisfiable,
}

impl RangeSpec {
    /// Parses a `Range` header.
    ///
    /// `None` means that the header is ignored and the whole body is sent: the unit is not bytes,
    /// the syntax is wrong (RFC 9110, section 14.2), or there are several ranges. No client of a
    /// source cache needs several ranges.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, set) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
            return None;
        }
        let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
        if first.is_empty() {
            return Some(Self::Suffix {
                length: parse_position(last)?,
            });
        }
        let first = parse_position(first)?;
        let last = if last.is_empty() {
            None
        } else {
            Some(parse_position(last)?)
        };
        match last {
            Some(last) if last < first => None,
            last => Some(Self::From { first, last }),
        }
    }

    /// Applies the range to a body of `size_bytes`.
    #[must_use]
    pub fn select(self, size_bytes: u64) -> Selected {
        let Some(end) = size_bytes.checked_sub(1) else {
            return Selected::Unsatisfiable;
        };
        match self {
            Self::From { first, .. } if first > end => Selected::Unsatisfiable,
            Self::From { first, last } => Selected::Part(ByteRange {
                first,
                last: last.map_or(end, |last| last.min(end)),
            }),
            Self::Suffix { length: 0 } => Selected::Unsatisfiable,
            Self::Suffix { length } => Selected::Part(ByteRange {
                first: size_bytes.saturating_sub(length),
                last: end,
            }),
        }
    }
}

/// Parses a number of any length. A number over `u64::MAX` is a position after the end of any body.
fn parse_position(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}
