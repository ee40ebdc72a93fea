//! The certificate authority: two files, which several machines may share.
//!
//! The main type is [`CertificateAuthority`].

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::constraints::PermittedHosts;
use super::error::AuthorityError;

/// Name of the file that clients trust.
pub const CERTIFICATE_FILE: &str = "ca.pem";

/// Name of the file with the private key.
pub const KEY_FILE: &str = "ca.key";

/// Rights of other users that a key file must not have. The group may read it, because some
/// systems mount secrets that way.
const OPEN_MODE: u32 = 0o037;

/// Rest of the life of a certificate authority in which operators are warned. Each client has to
/// trust its successor before.
const ENDS_SOON: Duration = Duration::from_hours(30 * 24);

/// Largest part of a file that is read, in bytes. No certificate with its hosts is longer.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Width of the lines of PEM (RFC 7468, section 2).
const PEM_COLUMNS: usize = 64;

/// Facts about a certificate authority that operators compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// File that clients trust.
    pub certificate_file: PathBuf,
    pub subject: String,
    /// Hosts, each with its subdomains, that it may sign.
    pub hosts: Vec<String>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
}

impl AuthorityFacts {
    /// Whether the certificate authority ends so soon that clients need another one.
    #[must_use]
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        now + ENDS_SOON >= self.not_after
    }
}

/// A certificate authority that is limited to some hosts.
pub struct CertificateAuthority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
    facts: AuthorityFacts,
    permitted: PermittedHosts,
}

impl CertificateAuthority {
    /// Loads the certificate authority of a folder, and checks that it can be used now.
    ///
    /// # Errors
    /// [`AuthorityError`] that names the file, and what to do.
    pub fn load(folder: &Path) -> Result<Self, AuthorityError> {
        let (file, key_file) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        let (pem, _) = match read(&file) {
            Err(AuthorityError::Unreadable { error, .. })
                if error.kind() == io::ErrorKind::NotFound =>
            {
                return Err(AuthorityError::Missing(folder.to_owned()));
            }
            read => read?,
        };
        let (key_pem, mode) = read(&key_file)?;
        if mode & OPEN_MODE != 0 {
            return Err(AuthorityError::OpenKey {
                file: key_file,
                mode,
            });
        }
        let key = KeyPair::from_pem(&key_pem).map_err(|_| AuthorityError::NoKey(key_file))?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| AuthorityError::NoCertificate(file.clone()))?;
        Self::new(file, certificate, key)
    }

    /// Checks a certificate with its key, at the current time.
    fn new(
        file: PathBuf,
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, AuthorityError> {
        let Ok((_, parsed)) = parse_x509_certificate(&certificate) else {
            return Err(AuthorityError::NoCertificate(file));
        };
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::OtherKey(file));
        }
        if !parsed.is_ca() || !may_sign_servers(&parsed) {
            return Err(AuthorityError::NoAuthority(file));
        }
        let Some(permitted) = PermittedHosts::read(&parsed) else {
            return Err(AuthorityError::Unconstrained(file));
        };
        let facts = facts(file, &parsed, &certificate, &permitted);
        check_dates(&facts)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|_| AuthorityError::NoCertificate(facts.certificate_file.clone()))?;
        Ok(Self {
            certificate,
            issuer,
            facts,
            permitted,
        })
    }

    /// Checks that clients accept certificates for all these hosts.
    ///
    /// # Errors
    /// [`AuthorityError::Uncovered`] for the first other host.
    pub fn check_hosts(&self, hosts: &BTreeSet<String>) -> Result<(), AuthorityError> {
        match hosts.iter().find(|host| !self.permitted.covers(host)) {
            None => Ok(()),
            Some(host) => Err(AuthorityError::Uncovered {
                file: self.facts.certificate_file.clone(),
                host: host.clone(),
            }),
        }
    }

    /// Returns the certificate that clients trust, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        let lines = BASE64.encode(&self.certificate);
        let lines = lines.as_bytes().chunks(PEM_COLUMNS);
        let lines = lines.map(|line| String::from_utf8_lossy(line) + "\n");
        let lines: String = lines.collect();
        format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
    }

    #[must_use]
    pub fn facts(&self) -> &AuthorityFacts {
        &self.facts
    }
}

/// Whether clients accept certificates of servers that this one has signed.
fn may_sign_servers(certificate: &X509Certificate<'_>) -> bool {
    let signs = certificate
        .key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    // Most clients apply the purposes of an authority to what it has signed.
    let is_for_servers = certificate
        .extended_key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.server_auth || usage.value.any));
    signs && is_for_servers
}

fn facts(
    certificate_file: PathBuf,
    parsed: &X509Certificate<'_>,
    certificate: &CertificateDer<'_>,
    permitted: &PermittedHosts,
) -> AuthorityFacts {
    let validity = parsed.validity();
    AuthorityFacts {
        certificate_file,
        subject: parsed.subject().to_string(),
        hosts: permitted.permitted().to_vec(),
        not_before: system_time(validity.not_before.timestamp()),
        not_after: system_time(validity.not_after.timestamp()),
        sha256: hex::encode(Sha256::digest(certificate)),
    }
}

fn check_dates(facts: &AuthorityFacts) -> Result<(), AuthorityError> {
    let now = SystemTime::now();
    let date = |time| humantime::format_rfc3339_seconds(time).to_string();
    let file = || facts.certificate_file.clone();
    if now >= facts.not_after {
        return Err(AuthorityError::Expired {
            file: file(),
            date: date(facts.not_after),
        });
    }
    if now < facts.not_before {
        return Err(AuthorityError::NotYetValid {
            file: file(),
            date: date(facts.not_before),
        });
    }
    Ok(())
}

fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// Reads a small text file. Returns its mode too.
fn read(file: &Path) -> Result<(String, u32), AuthorityError> {
    let read = || -> io::Result<(String, u32)> {
        let opened = fs_err::File::open(file)?;
        let mode = opened.metadata()?.mode() & 0o777;
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(opened, MAX_FILE_BYTES), &mut text)?;
        Ok((text, mode))
    };
    read().map_err(|error| AuthorityError::Unreadable {
        file: file.to_owned(),
        error,
    })
}
