//! Certificates of intercepted hosts, made in memory and never stored.
//!
//! The main type is [`LeafMinter`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moka::sync::Cache;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use x509_parser::time::ASN1Time;

use super::authority::CertificateAuthority;
use super::error::MintError;

/// How long a certificate is valid. It is made anew long before, and never revoked.
const LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Rest of its life in which a certificate is replaced.
const RENEWAL: Duration = Duration::from_hours(24);

/// How far the clocks of clients may be behind. The certificates of most origins are older than a
/// day, so such clients work without interception.
pub const CLOCK_SKEW: Duration = Duration::from_hours(24);

/// Largest number of certificates in memory.
const MAX_LEAVES: u64 = 1000;

/// Largest number of TLS sessions that clients may resume, of all hosts together.
const MAX_SESSIONS: usize = 4096;

/// The only protocol inside (ALPN, RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Certificate of one host, with the settings of its TLS.
struct Leaf {
    config: Arc<ServerConfig>,
    not_before: SystemTime,
    renew_at: SystemTime,
}

/// Makes certificates of hosts, and remembers them until they are renewed.
pub struct LeafMinter {
    authority: CertificateAuthority,
    provider: Arc<CryptoProvider>,
    sessions: Arc<dyn StoresServerSessions>,
    leaves: Cache<String, Arc<Leaf>>,
}

impl fmt::Debug for LeafMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafMinter")
            .field("authority", self.authority.facts())
            .finish_non_exhaustive()
    }
}

impl LeafMinter {
    pub fn new(authority: CertificateAuthority) -> Self {
        Self {
            authority,
            provider: Arc::new(aws_lc_rs::default_provider()),
            sessions: ServerSessionMemoryCache::new(MAX_SESSIONS),
            leaves: Cache::new(MAX_LEAVES),
        }
    }

    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Returns the TLS settings of a host at a time, with a certificate that is valid then.
    ///
    /// # Errors
    /// [`MintError`] if no certificate can be made, such as after the end of the authority.
    pub fn config_for(&self, host: &str, now: SystemTime) -> Result<Arc<ServerConfig>, MintError> {
        let known = self.leaves.get(host);
        let valid = known.filter(|leaf| (leaf.not_before..leaf.renew_at).contains(&now));
        if let Some(leaf) = valid {
            return Ok(Arc::clone(&leaf.config));
        }
        // Two clients at the same time may both make one. The second replaces the first.
        let leaf = self.mint(host, now)?;
        let config = Arc::clone(&leaf.config);
        self.leaves.insert(host.to_owned(), Arc::new(leaf));
        Ok(config)
    }

    fn mint(&self, host: &str, now: SystemTime) -> Result<Leaf, MintError> {
        let facts = self.authority.facts();
        let end = facts.not_after;
        if now >= end {
            return Err(MintError::AuthorityExpired);
        }
        if facts.ends_soon(now) {
            tracing::warn!(
                not_after = %humantime::format_rfc3339_seconds(end),
                "the certificate authority of intercept.ca_dir ends soon"
            );
        }
        let (not_before, not_after) = (now - CLOCK_SKEW, end.min(now + LIFETIME));
        // A successor would end with the authority too.
        let renew_at = if not_after == end {
            end
        } else {
            not_after - RENEWAL
        };
        let key = KeyPair::generate()?;
        let certificate =
            leaf_params(host, not_before, not_after)?.signed_by(&key, &self.authority.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // An authority that another one has signed must be in the chain.
        let chain = vec![
            certificate.der().clone(),
            self.authority.certificate.clone(),
        ];
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.session_storage = Arc::clone(&self.sessions);
        Ok(Leaf {
            config: Arc::new(config),
            not_before,
            renew_at,
        })
    }
}

/// Returns the certificate of a host. Its subject is empty, so that its name is critical (RFC 5280,
/// section 4.2.1.6).
fn leaf_params(
    host: &str,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, MintError> {
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.not_before = certificate_date(not_before)?.to_datetime();
    params.not_after = certificate_date(not_after)?.to_datetime();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Converts a time to that of a certificate, whose unit is the second.
pub fn certificate_date(time: SystemTime) -> Result<ASN1Time, MintError> {
    let seconds = time.duration_since(UNIX_EPOCH).ok();
    let seconds = seconds.and_then(|since| i64::try_from(since.as_secs()).ok());
    let date = seconds.and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    date.ok_or(MintError::Clock)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::intercept::create_authority;

    fn minter() -> LeafMinter {
        let folder = tempfile::tempdir().unwrap();
        let hosts = BTreeSet::from(["files.example.org".to_owned()]);
        LeafMinter::new(create_authority(folder.path(), &hosts).unwrap())
    }

    #[test]
    fn leaf_is_renewed_before_its_end() {
        let (minter, now) = (minter(), SystemTime::now());
        let at = |hours| {
            let time = now + Duration::from_hours(hours);
            minter.config_for("files.example.org", time).unwrap()
        };
        let first = at(0);
        assert!(Arc::ptr_eq(&first, &at(5 * 24)), "it is remembered");
        let second = at(6 * 24);
        assert!(!Arc::ptr_eq(&first, &second), "a day is left");
        assert!(Arc::ptr_eq(&second, &at(7 * 24)));
        assert!(!Arc::ptr_eq(&second, &at(0)), "the clock went back");
    }

    #[test]
    fn leaf_ends_with_the_authority() {
        let minter = minter();
        let end = minter.authority().facts().not_after;
        let day = Duration::from_hours(24);
        let at = |time| minter.config_for("files.example.org", time).unwrap();
        let last = at(end - day);
        let second = Duration::from_secs(1);
        assert!(Arc::ptr_eq(&last, &at(end - second)), "none lives longer");
        let late = minter.config_for("files.example.org", end);
        assert!(matches!(late, Err(MintError::AuthorityExpired)));
    }

    #[test]
    fn leaves_are_bounded() {
        let (minter, now) = (minter(), SystemTime::now());
        for number in 0..50 {
            minter
                .config_for(&format!("{number}.example.org"), now)
                .unwrap();
        }
        minter.leaves.run_pending_tasks();
        assert_eq!(minter.leaves.entry_count(), 50);
        assert_eq!(minter.leaves.policy().max_capacity(), Some(MAX_LEAVES));
    }
}
