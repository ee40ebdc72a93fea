//! Configuration section `[dns]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, TSigner};
use serde::{Deserialize, Serialize};

use super::publisher::DnsPublisher;
use crate::model::{HumanDuration, Secret};

/// Allowed clock difference between Millpond and the server, in seconds. RFC 8945 recommends this
/// value.
const TSIG_FUDGE_SECONDS: u16 = 300;

/// Minimum key length, in bytes. A shorter key can be guessed.
const MIN_KEY_BYTES: usize = 16;

/// Maximum number of addresses of this node. A node needs few.
const MAX_ADDRESSES: usize = 16;

/// Maximum TTL. Resolvers cache a withdrawn address for this long.
const MAX_TTL: HumanDuration = HumanDuration::from_secs(24 * 3600);

/// Bounds of the times after which a change of readiness takes effect.
const MIN_AFTER: HumanDuration = HumanDuration::from_millis(100);
const MAX_AFTER: HumanDuration = HumanDuration::from_secs(3600);

/// Configuration section `[dns]`. If `server` is empty, DNS publishing is off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the zone's primary server.
    pub server: String,
    pub zone: String,
    /// Name that clients use. The addresses of other nodes are under the same name.
    pub name: String,
    /// Addresses of this node.
    pub addresses: Vec<IpAddr>,
    /// TTL of the published addresses, in whole seconds.
    pub ttl: HumanDuration,
    pub tsig_name: String,
    pub tsig_algorithm: HmacAlgorithm,
    /// TSIG key in base64.
    pub tsig_secret: Secret,
    pub tsig_secret_file: PathBuf,
    /// Time without readiness after which the addresses are withdrawn.
    pub withdraw_after: HumanDuration,
    /// Time of readiness after which the addresses are published again.
    pub restore_after: HumanDuration,
}

/// HMAC algorithm of the TSIG key (RFC 8945, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum HmacAlgorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

impl From<HmacAlgorithm> for TsigAlgorithm {
    fn from(algorithm: HmacAlgorithm) -> Self {
        match algorithm {
            HmacAlgorithm::HmacSha256 => Self::HmacSha256,
            HmacAlgorithm::HmacSha384 => Self::HmacSha384,
            HmacAlgorithm::HmacSha512 => Self::HmacSha512,
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
            tsig_algorithm: HmacAlgorithm::HmacSha256,
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
    /// A text with the configuration key whose value is invalid.
    pub fn check(&self) -> Result<(), String> {
        self.publisher().map(drop)
    }

    /// Returns the configured publisher, or `None` if DNS publishing is off.
    ///
    /// # Errors
    /// A text with the configuration key whose value is invalid.
    pub fn publisher(&self) -> Result<Option<DnsPublisher>, String> {
        if self.server.is_empty() {
            return Ok(None);
        }
        let server: SocketAddr = self.server.parse().map_err(|_| {
            "dns.server must be an address with a port, like \"192.0.2.1:53\" \
             or \"[2001:db8::1]:53\""
                .to_owned()
        })?;
        let zone = parse_name("zone", &self.zone)?;
        let name = parse_name("name", &self.name)?;
        if !zone.zone_of(&name) {
            return Err(format!("dns.name must be in dns.zone, {zone}"));
        }
        self.check_addresses()?;
        Ok(Some(DnsPublisher {
            server,
            zone,
            name,
            own: self.addresses.iter().copied().collect(),
            ttl_seconds: self.ttl_seconds()?,
            signer: self.signer()?,
            withdraw_after: checked_after("withdraw_after", self.withdraw_after)?,
            restore_after: checked_after("restore_after", self.restore_after)?,
        }))
    }

    fn check_addresses(&self) -> Result<(), String> {
        if !(1..=MAX_ADDRESSES).contains(&self.addresses.len()) {
            return Err(format!(
                "dns.addresses must contain 1 to {MAX_ADDRESSES} addresses of this node"
            ));
        }
        let is_usable = |address: &IpAddr| {
            // A mapped address would get a record of the wrong type.
            address.to_canonical() == *address
                && !address.is_unspecified()
                && !address.is_multicast()
        };
        match self.addresses.iter().find(|address| !is_usable(address)) {
            Some(address) => Err(format!(
                "dns.addresses: {address} is not a usable unicast address"
            )),
            None => Ok(()),
        }
    }

    fn ttl_seconds(&self) -> Result<u32, String> {
        let is_whole = self.ttl.0.subsec_nanos() == 0 && !self.ttl.0.is_zero();
        u32::try_from(self.ttl.0.as_secs())
            .ok()
            .filter(|_| is_whole && self.ttl <= MAX_TTL)
            .ok_or_else(|| {
                "dns.ttl must be a whole number of seconds between 1s and 1day".to_owned()
            })
    }

    fn signer(&self) -> Result<TSigner, String> {
        let name = parse_name("tsig_name", &self.tsig_name)?;
        let secret = self
            .tsig_secret
            .or_from_file("dns.tsig_secret", &self.tsig_secret_file)?;
        let key = STANDARD
            .decode(secret.expose().trim())
            .ok()
            .filter(|key| key.len() >= MIN_KEY_BYTES);
        let key = key.ok_or_else(|| {
            format!("dns.tsig_secret must be at least {MIN_KEY_BYTES} bytes in base64")
        })?;
        TSigner::new(key, self.tsig_algorithm.into(), name, TSIG_FUDGE_SECONDS)
            .map_err(|why| format!("dns.tsig_algorithm: {why}"))
    }
}

fn parse_name(key: &str, text: &str) -> Result<Name, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = Name::from_ascii(text)
        .ok()
        .filter(|name| !name.is_root() && text.bytes().all(is_plain));
    let mut name = name.filter(|_| !text.is_empty()).ok_or_else(|| {
        format!("dns.{key} must be a name like \"sources.example.org\"; dns.server needs it")
    })?;
    name.set_fqdn(true);
    Ok(name)
}

fn checked_after(key: &str, span: HumanDuration) -> Result<Duration, String> {
    if (MIN_AFTER..=MAX_AFTER).contains(&span) {
        return Ok(span.0);
    }
    Err(format!("dns.{key} must be between 100ms and 1h"))
}
