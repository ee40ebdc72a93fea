//! Verification of origin certificates. The main type is [`OriginVerifier`].
//!
//! It does what the TLS library does (RFC 5280), with two additions, which wget and curl have too.
//! A certificate that is itself among the trusted ones needs no issuer, as one from
//! `openssl req -x509`. Without a host name in `subjectAltName`, the common name counts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    VerifierBuilderError, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor,
    verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::CertificateFields;

/// Verifier with the trusted certificates.
#[derive(Debug)]
pub struct OriginVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    /// The trusted certificates themselves.
    listed: HashSet<CertificateDer<'static>>,
    /// Authorities that may sign every name. The library checks constraints against a
    /// `subjectAltName` only, so a common name needs one of these.
    unconstrained: RootCertStore,
}

impl OriginVerifier {
    /// # Errors
    /// [`VerifierBuilderError`] if no certificate can be used as an authority.
    pub fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let unconstrained = roots
            .roots
            .iter()
            .filter(|authority| authority.name_constraints.is_none())
            .cloned()
            .collect();
        let roots = Arc::new(roots);
        Ok(Self {
            webpki: WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()?,
            provider,
            listed: trusted.into_iter().collect(),
            unconstrained,
        })
    }

    /// Verifies a certificate that is itself among the trusted ones.
    fn verify_listed(
        certificate: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let fields = CertificateFields::parse(certificate)
            .ok_or(Error::from(CertificateError::BadEncoding))?;
        let now = system_time(now);
        if now < fields.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > fields.not_after {
            return Err(CertificateError::Expired.into());
        }
        if has_common_name(&fields, server_name) {
            return Ok(());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)
    }

    /// Verifies a certificate of which only the common name is the server's.
    fn verify_common_name(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let fields = CertificateFields::parse(certificate)
            .filter(|fields| has_common_name(fields, server_name))
            .ok_or(Error::from(CertificateError::NotValidForName))?;
        tracing::debug!(name = ?fields.common_name, "certificate has its name in CN alone");
        let unconstrained: Vec<_> = intermediates
            .iter()
            .filter(|certificate| {
                CertificateFields::parse(certificate)
                    .is_some_and(|fields| !fields.has_name_constraints())
            })
            .cloned()
            .collect();
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(certificate)?,
            &self.unconstrained,
            &unconstrained,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

impl ServerCertVerifier for OriginVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let error = match verified {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        let again = if self.listed.contains(end_entity) {
            Self::verify_listed(end_entity, server_name, now)
        } else if is_wrong_name(&error) {
            self.verify_common_name(end_entity, intermediates, server_name, now)
                .map_err(|_| error)
        } else {
            Err(error)
        };
        again.map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Returns whether the common name is the server's, and nothing else states its names (RFC 6125,
/// section 6.4.4).
fn has_common_name(fields: &CertificateFields, server_name: &ServerName<'_>) -> bool {
    match server_name {
        ServerName::DnsName(name) => {
            !fields.has_dns_names() && fields.common_name_matches(name.as_ref())
        }
        _ => false,
    }
}

fn is_wrong_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}
