//! Sizes, rates and durations in configuration syntax.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// Error returned when a text is not a valid size, rate or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    #[error("invalid size \"{0}\"; write it like \"50GiB\"")]
    Size(String),
    #[error("size \"{0}\" is too large")]
    SizeTooLarge(String),
    #[error("\"{0}\" must be between 1KiB and 10GiB per second; \"\" means no limit")]
    Rate(String),
    #[error("must be more than 0 bytes; \"\" means no limit")]
    NoBytes,
    #[error("invalid duration \"{0}\"; write it like \"10m\"")]
    Duration(String),
    #[error("duration \"{0}\" is too long; the maximum is ten years")]
    DurationTooLong(String),
}

/// Number of bytes, written `"50GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    pub bytes: u64,
}

impl Size {
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self { bytes: count << 10 }
    }

    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self { bytes: count << 20 }
    }

    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self { bytes: count << 30 }
    }
}

impl FromStr for Size {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let size: ByteSize = text
            .parse()
            .map_err(|_| ParseUnitError::Size(text.to_owned()))?;
        // The library turns an overflow into `u64::MAX`.
        if size.as_u64() == u64::MAX {
            return Err(ParseUnitError::SizeTooLarge(text.to_owned()));
        }
        Ok(Self {
            bytes: size.as_u64(),
        })
    }
}

impl TryFrom<String> for Size {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, ParseUnitError> {
        text.parse()
    }
}

impl fmt::Display for Size {
    /// Uses the largest unit that divides the size, so that the text parses to the same number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units
            .into_iter()
            .find(|(shift, _)| self.bytes != 0 && self.bytes.trailing_zeros() >= *shift)
        {
            Some((shift, unit)) => write!(f, "{}{unit}", self.bytes >> shift),
            None => write!(f, "{}B", self.bytes),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// Highest rate that the bandwidth limiter enforces exactly.
const MAX_BYTES_PER_SECOND: u64 = 10 << 30;

/// Lowest rate. Anything slower is useless for downloads.
const MIN_BYTES_PER_SECOND: u64 = 1 << 10;

/// Number of bytes per second, written `"100MiB"`; `""` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(Option<Size>);

impl Rate {
    pub const UNLIMITED: Self = Self(None);

    #[must_use]
    pub const fn per_second(size: Size) -> Self {
        Self(Some(size))
    }

    /// Returns the rate, or `None` if there is no limit.
    #[must_use]
    pub fn bytes_per_second(self) -> Option<u64> {
        self.0.map(|size| size.bytes)
    }
}

impl TryFrom<String> for Rate {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, ParseUnitError> {
        if text.is_empty() {
            return Ok(Self::UNLIMITED);
        }
        let size: Size = text.parse()?;
        if !(MIN_BYTES_PER_SECOND..=MAX_BYTES_PER_SECOND).contains(&size.bytes) {
            return Err(ParseUnitError::Rate(text));
        }
        Ok(Self(Some(size)))
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.0.map_or_else(Self::new, Self::from)
    }
}

/// Largest number of bytes, written `"100GiB"`; `""` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity(Option<Size>);

impl Quantity {
    pub const UNLIMITED: Self = Self(None);

    /// Returns the number of bytes, or `None` if there is no limit.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        self.0.map(|size| size.bytes)
    }
}

impl TryFrom<String> for Quantity {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, ParseUnitError> {
        if text.is_empty() {
            return Ok(Self::UNLIMITED);
        }
        let size: Size = text.parse()?;
        if size.bytes == 0 {
            return Err(ParseUnitError::NoBytes);
        }
        Ok(Self(Some(size)))
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.0.map_or_else(Self::new, Self::from)
    }
}

/// Longest duration that can be configured: ten years.
const MAX_DURATION: Duration = Duration::from_hours(10 * 365 * 24);

/// Duration, written `"10m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, ParseUnitError> {
        // The library reads "10M" as ten months, which is most likely a typing error here.
        if text.contains('M') {
            return Err(ParseUnitError::Duration(text));
        }
        match humantime::parse_duration(&text) {
            Ok(time) if time <= MAX_DURATION => Ok(Self(time)),
            Ok(_) => Err(ParseUnitError::DurationTooLong(text)),
            Err(_) => Err(ParseUnitError::Duration(text)),
        }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}
