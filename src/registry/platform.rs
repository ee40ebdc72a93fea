//! Platforms of images, such as `linux/arm64`. The main type is [`Platform`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest part of a platform, in bytes. Known ones have at most ten.
const MAX_PART_BYTES: usize = 32;

/// Part of the platform of entries that are no images, such as attestations of a build.
const UNKNOWN: &str = "unknown";

/// Operating system, architecture and variant of an image (OCI image index specification 1.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Error returned for a text that is no platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a platform is like \"linux/amd64\" or \"linux/arm/v7\"")]
pub struct InvalidPlatform;

impl Platform {
    /// Returns the platform that a document states.
    #[must_use]
    pub fn stated(os: &str, architecture: &str, variant: Option<&str>) -> Option<Self> {
        let parts = [
            Some(os),
            Some(architecture),
            variant.filter(|v| !v.is_empty()),
        ];
        parts
            .iter()
            .flatten()
            .all(|part| is_part(part))
            .then(|| Self {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: parts[2].map(str::to_owned),
            })
    }

    /// Whether the entry is no image.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == UNKNOWN
    }

    /// Whether an image of the platform `other` is meant by this one. Without a variant, each
    /// variant is.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let variants = (self.known_variant(), other.known_variant());
        (&self.os, &self.architecture) == (&other.os, &other.architecture)
            && (self.variant.is_none() || variants.0 == variants.1)
    }

    /// Returns the variant. The first one of arm64 is often left out.
    fn known_variant(&self) -> Option<&str> {
        let variant = self.variant.as_deref();
        variant.or_else(|| (self.architecture == "arm64").then_some("v8"))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let platform = match parts[..] {
            [os, architecture] => Self::stated(os, architecture, None),
            [os, architecture, variant] if !variant.is_empty() => {
                Self::stated(os, architecture, Some(variant))
            }
            _ => None,
        };
        platform.ok_or(InvalidPlatform)
    }
}

impl TryFrom<String> for Platform {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, InvalidPlatform> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

fn is_part(text: &str) -> bool {
    let is_part_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_PART_BYTES).contains(&text.len()) && text.bytes().all(is_part_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_without_variant_includes_variants() {
        for (wanted, other, is_included) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v9", "linux/arm64", false),
        ] {
            let (wanted, other): (Platform, Platform) =
                (wanted.parse().unwrap(), other.parse().unwrap());
            assert_eq!(wanted.includes(&other), is_included, "{wanted} {other}");
        }
        for wrong in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "a/b/c/d",
            "linux/a b",
            "linux/arm/",
        ] {
            assert_eq!(wrong.parse::<Platform>(), Err(InvalidPlatform), "{wrong}");
        }
    }
}
