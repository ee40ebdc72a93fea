//! Configuration section `[dns]`.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, TSigner};
use serde::{Deserialize, Serialize};

use super::publisher::DnsPublisher;
use crate::model::{ConfigError, HumanDuration, Secret};

/// Allowed clock difference between Millpond and the server, in seconds. RFC 8945 recommends it.
const TSIG_FUDGE_SECONDS: u16 = 300;

/// Minimum key length, in bytes. A shorter key can be guessed.
const MIN_KEY_BYTES: usize = 16;

/// Maximum number of addresses of one node, so that a response fits into one UDP packet.
const MAX_ADDRESSES: usize = 16;

/// Longest TTL. After a withdrawal, resolvers may still return the address for this time.
const MAX_TTL: HumanDuration = HumanDuration::from_secs(24 * 3600);

/// Bounds of `withdraw_after` and `restore_after`.
const MIN_AFTER: HumanDuration = HumanDuration::from_millis(100);
const MAX_AFTER: HumanDuration = HumanDuration::from_secs(3600);

/// Configuration section `[dns]`. If `server` is empty, DNS publishing is off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Primary server of the zone, `address:port`.
    pub server: String,
    pub zone: String,
    /// Name that clients use. The addresses of other nodes are under the same name.
    pub name: String,
    /// Addresses of this node.
    pub addresses: Vec<IpAddr>,
    /// TTL of the address records.
    pub ttl: HumanDuration,
    /// Name of the TSIG key.
    pub tsig_name: String,
    pub tsig_algorithm: TsigKeyAlgorithm,
    /// TSIG key, in base64.
    pub tsig_secret: Secret,
    pub tsig_secret_file: PathBuf,
    /// Time without readiness after which the addresses are withdrawn.
    pub withdraw_after: HumanDuration,
    /// Time of readiness after which the addresses are published again.
    pub restore_after: HumanDuration,
}

/// Algorithm of the TSIG key (RFC 8945).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum TsigKeyAlgorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

impl From<TsigKeyAlgorithm> for TsigAlgorithm {
    fn from(algorithm: TsigKeyAlgorithm) -> Self {
        match algorithm {
            TsigKeyAlgorithm::HmacSha256 => Self::HmacSha256,
            TsigKeyAlgorithm::HmacSha384 => Self::HmacSha384,
            TsigKeyAlgorithm::HmacSha512 => Self::HmacSha512,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: String::new(),
            zone: String::new(),
            name: String::new(),
            addresses: Vec::new(),
            ttl: HumanDuration::from_secs(60),
            tsig_name: String::new(),
            tsig_algorithm: TsigKeyAlgorithm::HmacSha256,
            tsig_secret: Secret::default(),
            tsig_secret_file: PathBuf::new(),
            withdraw_after: HumanDuration::from_secs(10),
            restore_after: HumanDuration::from_secs(30),
        }
    }
}

impl Config {
    /// Checks the section.
    ///
    /// # Errors
    /// As [`Config::publisher`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.publisher().map(drop)
    }

    /// Returns the configured publisher, or `None` if DNS publishing is off.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value or missing key.
    pub fn publisher(&self) -> Result<Option<DnsPublisher>, ConfigError> {
        if self.server.is_empty() {
            return Ok(None);
        }
        let server: SocketAddr = self.server.parse().map_err(|_| {
            let reason = "must be an address with a port, like \"192.0.2.1:53\" or \
                          \"[2001:db8::1]:53\"";
            invalid("server", &reason)
        })?;
        let zone = parse_name("zone", &self.zone)?;
        let name = parse_name("name", &self.name)?;
        if !zone.zone_of(&name) {
            let reason = format!("must be in dns.zone, {zone}");
            return Err(invalid("name", &reason));
        }
        self.check_addresses()?;
        Ok(Some(DnsPublisher {
            server,
            zone,
            name,
            own: self.addresses.iter().copied().collect(),
            ttl_seconds: self.ttl_seconds()?,
            signer: self.signer()?,
            withdraw_after: check_delay("withdraw_after", self.withdraw_after)?,
            restore_after: check_delay("restore_after", self.restore_after)?,
        }))
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_ADDRESSES).contains(&self.addresses.len()) {
            let reason = format!("must contain 1 to {MAX_ADDRESSES} addresses of this node");
            return Err(invalid("addresses", &reason));
        }
        let is_usable = |address: &IpAddr| {
            // A mapped address would get a record of the wrong type.
            address.to_canonical() == *address
                && !address.is_unspecified()
                && !address.is_multicast()
        };
        match self.addresses.iter().find(|address| !is_usable(address)) {
            Some(address) => {
                let reason = format!("{address} is not a usable unicast address");
                Err(invalid("addresses", &reason))
            }
            None => Ok(()),
        }
    }

    fn ttl_seconds(&self) -> Result<u32, ConfigError> {
        let is_whole = self.ttl.0.subsec_nanos() == 0 && !self.ttl.0.is_zero();
        u32::try_from(self.ttl.0.as_secs())
            .ok()
            .filter(|_| is_whole && self.ttl <= MAX_TTL)
            .ok_or_else(|| {
                let reason = "must be a whole number of seconds between 1s and 1day";
                invalid("ttl", &reason)
            })
    }

    fn signer(&self) -> Result<TSigner, ConfigError> {
        let name = parse_name("tsig_name", &self.tsig_name)?;
        let secret = self
            .tsig_secret
            .or_from_file("dns.tsig_secret", &self.tsig_secret_file)?;
        let key = STANDARD
            .decode(secret.expose().trim())
            .ok()
            .filter(|key| key.len() >= MIN_KEY_BYTES);
        let key = key.ok_or_else(|| {
            let reason = format!("must be at least {MIN_KEY_BYTES} bytes in base64");
            invalid("tsig_secret", &reason)
        })?;
        TSigner::new(key, self.tsig_algorithm.into(), name, TSIG_FUDGE_SECONDS)
            .map_err(|error| invalid("tsig_algorithm", &error))
    }
}

/// Parses a fully qualified name, with or without a trailing dot.
fn parse_name(key: &str, text: &str) -> Result<Name, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = Name::from_ascii(text)
        .ok()
        .filter(|name| !name.is_root() && text.bytes().all(is_plain));
    let mut name = name.filter(|_| !text.is_empty()).ok_or_else(|| {
        let reason = "must be a name like \"sources.example.org\"; dns.server needs it";
        invalid(key, &reason)
    })?;
    name.set_fqdn(true);
    Ok(name)
}

fn check_delay(key: &str, delay: HumanDuration) -> Result<Duration, ConfigError> {
    if (MIN_AFTER..=MAX_AFTER).contains(&delay) {
        return Ok(delay.0);
    }
    Err(invalid(key, &"must be between 100ms and 1h"))
}

fn invalid(key: &str, reason: &dyn Display) -> ConfigError {
    ConfigError::new(format!("dns.{key}"), reason)
}
