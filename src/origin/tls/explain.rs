//! Texts that name the cause of a failed handshake, and the way out.
//!
//! It knows no connection. The main function is [`explain`].

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Way out for an origin whose TLS is too old.
const OLD_TLS: &str = "use a mirror, or a TLS proxy in front of it";

/// Way out for a certificate whose fault only its path or purpose has.
const LIST_IT: &str = "if you trust the origin, add this certificate itself to the file of \
                       SSL_CERT_FILE";

/// Returns the cause of a failed handshake in plain words, and what to do about it.
#[must_use]
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error),
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::PeerIncompatible(reason) => explain_incompatible(reason),
        Error::InvalidMessage(_) => {
            "the origin does not speak TLS at this port, or answers with another protocol"
                .to_owned()
        }
        error => error.to_string(),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "no trusted certificate has signed the origin's certificate; if you trust the origin, \
             add its authority, or the certificate itself, to the file of SSL_CERT_FILE"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "a certificate of the origin has expired, and there is no other path to a trusted one; \
             the origin must renew it"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the origin's certificate is not valid yet; check the clock of this machine".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the origin's certificate is for another host ({error}); use a URL with one of \
                 its names"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("the origin's certificate is not one of a server ({error}); {LIST_IT}")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!("the origin's certificate is that of an authority; {LIST_IT}")
        }
        CertificateError::UnhandledCriticalExtension => unknown_extension(),
        CertificateError::Other(other) if other.to_string().contains("CriticalExtension") => {
            unknown_extension()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!(
                "Millpond cannot check the signature of the origin's certificate, which is \
                 neither RSA, ECDSA nor Ed25519 with SHA-256, SHA-384 or SHA-512; {LIST_IT}"
            )
        }
        CertificateError::BadSignature => format!(
            "a signature of the origin's certificate or handshake is wrong, or by an RSA key of \
             less than 2048 bits; {OLD_TLS}"
        ),
        error => format!("the origin's certificate is not valid ({error})"),
    }
}

fn unknown_extension() -> String {
    format!(
        "the origin's certificate, or one of its path, has a critical extension that Millpond \
         does not know; {OLD_TLS}"
    )
}

/// An alert names what the origin missed in the offer of Millpond (RFC 8446, section 6.2).
fn explain_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => lacks_version(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!(
                "the origin has no common cipher suite. Millpond needs ECDHE key exchange with \
                 AES-GCM or ChaCha20-Poly1305, and has neither DHE nor RSA key exchange. It needs \
                 a certificate with a plain RSA key, an ECDSA key on P-256, P-384 or P-521, or an \
                 Ed25519 key; {OLD_TLS}"
            )
        }
        AlertDescription::UnrecognisedName => {
            "the origin has no certificate for this host name (SNI)".to_owned()
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the origin asks for a client certificate, which Millpond does not have".to_owned()
        }
        alert => format!("the origin ended the handshake with the alert {alert:?}"),
    }
}

fn explain_incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::ServerDoesNotSupportTls12Or13 => lacks_version(),
        reason => format!("the origin and Millpond have no common TLS feature ({reason:?})"),
    }
}

fn lacks_version() -> String {
    format!("the origin lacks TLS 1.2 and TLS 1.3; {OLD_TLS}")
}

/// Finds an error of the TLS library, such as an untrusted certificate.
///
/// The TLS error is nested in I/O errors, whose `source` skips the error that they contain.
pub fn find_tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let mut inner = error.get_ref()?;
    loop {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        inner = inner.downcast_ref::<io::Error>()?.get_ref()?;
    }
}
