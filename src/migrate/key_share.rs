//! A share of all targets, by the first byte of their keys. The main type is [`KeyShare`].

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cache::TierPart;
use crate::model::Key;

/// Number of values of the first byte of a key.
const MAX_PARTS: u16 = 256;

/// Error returned for a text that is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is PART/PARTS such as 1/4, with at most {MAX_PARTS} parts")]
pub struct InvalidShare;

/// One of several parts of all targets, which have about the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyShare {
    /// Number of the part, from 0.
    part: u16,
    parts: NonZero<u16>,
}

impl KeyShare {
    /// Whether the share has a target, or all targets of a shard.
    #[must_use]
    pub fn contains(self, part: TierPart) -> bool {
        let first = match part {
            TierPart::Target(key) => first_byte(key),
            TierPart::Shard(shard) => shard,
        };
        u32::from(first) * u32::from(self.parts.get()) / u32::from(MAX_PARTS)
            == u32::from(self.part)
    }
}

fn first_byte(key: Key) -> u8 {
    let [first, ..] = *key.as_bytes();
    first
}

impl FromStr for KeyShare {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let (part, parts) = text.split_once('/').ok_or(InvalidShare)?;
        let number = |text: &str| text.parse::<NonZero<u16>>().map_err(|_| InvalidShare);
        let (part, parts) = (number(part)?, number(parts)?);
        if part > parts || parts.get() > MAX_PARTS {
            return Err(InvalidShare);
        }
        Ok(Self {
            part: part.get() - 1,
            parts,
        })
    }
}

impl fmt::Display for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part + 1, self.parts)
    }
}

impl From<KeyShare> for String {
    fn from(share: KeyShare) -> Self {
        share.to_string()
    }
}

impl TryFrom<String> for KeyShare {
    type Error = InvalidShare;

    fn try_from(text: String) -> Result<Self, InvalidShare> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_is_in_one_share() {
        for parts in [1, 3, 4, 255, 256] {
            let shares: Vec<KeyShare> = (1..=parts)
                .map(|part| format!("{part}/{parts}").parse().expect("it is a share"))
                .collect();
            for shard in 0..=u8::MAX {
                let part = TierPart::Shard(shard);
                let count = shares.iter().filter(|share| share.contains(part)).count();
                assert_eq!(count, 1, "{shard} of {parts}");
            }
            for share in shares {
                let has_shard = |shard| share.contains(TierPart::Shard(shard));
                assert!((0..=u8::MAX).any(has_shard), "{share}");
            }
        }
    }

    #[test]
    fn other_texts_are_no_share() {
        for text in [
            "", "1", "0/4", "5/4", "1/0", "1/257", "-1/4", "1/4/4", "a/b",
        ] {
            assert_eq!(text.parse::<KeyShare>(), Err(InvalidShare), "{text}");
        }
    }
}
