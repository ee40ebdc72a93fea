//! Ports that may be fetched from. A port belongs to a scheme.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Scheme;

/// Error returned for an invalid entry of `policy.ports`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePortError {
    #[error("\"{0}\" is not a port; write 8080, \"http:8080\", \"https:8443\" or \"ftp:2121\"")]
    Form(String),
    #[error("\"{text}\" is not allowed: port {port} belongs to {scheme}")]
    DefaultOfOther {
        text: String,
        port: u16,
        scheme: Scheme,
    },
}

/// Entry of `policy.ports`: `8080`, or `"http:8080"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedPort {
    /// A default port is allowed for its own scheme, every other port for http and https.
    Number(u16),
    /// The port is allowed for this scheme only.
    OfScheme(Scheme, u16),
}

impl AllowedPort {
    /// Returns whether a target of this scheme may be fetched from this port.
    #[must_use]
    pub fn allows(self, scheme: Scheme, port: u16) -> bool {
        match self {
            Self::Number(number) => {
                let allows_scheme = Scheme::from_default_port(number)
                    .map_or(scheme != Scheme::Ftp, |owner| owner == scheme);
                number == port && allows_scheme
            }
            Self::OfScheme(allowed, number) => (allowed, number) == (scheme, port),
        }
    }
}

/// Returns whether a port belongs to ftp alone: by default, or by the list of allowed ports.
pub fn belongs_to_ftp(port: u16, allowed: &[AllowedPort]) -> bool {
    let allows = |scheme| allowed.iter().any(|entry| entry.allows(scheme, port));
    Scheme::from_default_port(port) == Some(Scheme::Ftp)
        || allows(Scheme::Ftp) && !allows(Scheme::Http) && !allows(Scheme::Https)
}

impl FromStr for AllowedPort {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, ParsePortError> {
        let wrong_form = || ParsePortError::Form(text.to_owned());
        let (scheme, port) = text.split_once(':').ok_or_else(wrong_form)?;
        let scheme = Scheme::parse(scheme).ok_or_else(wrong_form)?;
        let port = port.parse().map_err(|_| wrong_form())?;
        match Scheme::from_default_port(port) {
            Some(owner) if owner != scheme => Err(ParsePortError::DefaultOfOther {
                text: text.to_owned(),
                port,
                scheme: owner,
            }),
            _ => Ok(Self::OfScheme(scheme, port)),
        }
    }
}

impl<'de> Deserialize<'de> for AllowedPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl Visitor<'_> for PortVisitor {
            type Value = AllowedPort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port like 8080 or \"http:8080\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<AllowedPort, E> {
                let port = u16::try_from(number);
                port.map(AllowedPort::Number)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<AllowedPort, E> {
                let port = u16::try_from(number);
                port.map(AllowedPort::Number)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AllowedPort, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(PortVisitor)
    }
}

impl Serialize for AllowedPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u16(*number),
            Self::OfScheme(scheme, number) => {
                serializer.collect_str(&format_args!("{scheme}:{number}"))
            }
        }
    }
}
