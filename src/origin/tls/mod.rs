//! TLS towards origins: trusted certificates, their verification, and texts about failures.
//!
//! It knows neither HTTP nor FTP. Its main type is [`TrustedCertificates`].

mod certificate;
mod explain;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

use crate::model::ConfigError;
use verifier::OriginVerifier;

pub use explain::{explain, find_tls_error};

/// The certificates of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or of the system. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TrustedCertificates {
    verifier: Arc<OriginVerifier>,
}

impl TrustedCertificates {
    /// Reads the certificates.
    ///
    /// # Errors
    /// [`ConfigError`] if there are none.
    pub fn load() -> Result<Self, ConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let unreadable = found.errors.first().map(ToString::to_string);
        if let Some(error) = &unreadable {
            tracing::warn!(%error, "some trusted certificates could not be read");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = OriginVerifier::new(found.certs, provider).map_err(|why| {
            let why = unreadable.unwrap_or_else(|| why.to_string());
            ConfigError::new(
                "fetch",
                format!("no trusted certificates for TLS (are ca-certificates installed?): {why}"),
            )
        })?;
        Ok(Self {
            verifier: Arc::new(verifier),
        })
    }

    /// Returns the configuration of a TLS client without application protocols.
    ///
    /// # Errors
    /// [`ConfigError`] if TLS is unavailable.
    pub fn client_config(&self) -> Result<ClientConfig, ConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::clone(&self.verifier);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| ConfigError::new("fetch", format!("TLS is unavailable: {why}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(config)
    }
}

/// Checks that the trusted certificates can be read.
///
/// # Errors
/// [`ConfigError`] if TLS is unavailable.
pub fn check_certificate_store() -> Result<(), ConfigError> {
    TrustedCertificates::load()?.client_config().map(drop)
}
