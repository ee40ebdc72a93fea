//! The handshake with a client, within bounds of time and bytes.
//!
//! The main function is [`accept`].

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::{Accepted, Acceptor};
use rustls::{AlertDescription, Error as TlsError, InvalidMessage, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::error::{HandshakeError, MintError};

/// How long a client may take for the whole handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bound on the bytes up to the end of the ClientHello. Real ones have less than 3 KiB.
const MAX_HELLO_BYTES: usize = 32 * 1024;

/// Size of one read of the ClientHello.
const READ_BYTES: usize = 2048;

/// A client's connection whose TLS Millpond has ended.
#[derive(Debug)]
pub struct Intercepted<S> {
    pub stream: TlsStream<S>,
    /// Host that the client has named in the handshake (SNI), in the form of a target.
    pub server_name: Option<String>,
}

/// Ends the TLS of a client on `stream`, whose first bytes are `early`. `config_for` returns the
/// settings for the host that the client names.
///
/// # Errors
/// [`HandshakeError`] with the likely cause. The client has got an alert if one fits.
pub async fn accept<S>(
    stream: S,
    early: &[u8],
    config_for: impl Fn(Option<&str>, SystemTime) -> Result<Arc<ServerConfig>, MintError>,
) -> Result<Intercepted<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = async {
        let mut stream = stream;
        let accepted = read_hello(&mut stream, early).await?;
        let hello = accepted.client_hello();
        let server_name = hello.server_name().map(canonical_name);
        let config = config_for(server_name.as_deref(), SystemTime::now())?;
        let handshake = StartHandshake::from_parts(accepted, stream);
        let stream = handshake.into_stream(config).await.map_err(explain)?;
        Ok(Intercepted {
            stream,
            server_name,
        })
    };
    timeout(HANDSHAKE_TIMEOUT, handshake)
        .await
        .unwrap_or(Err(HandshakeError::TimedOut(HANDSHAKE_TIMEOUT.as_secs())))
}

/// Returns a server name in lower case, and without the trailing dot that some clients send.
fn canonical_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Reads the ClientHello. If it is malformed, the client gets an alert.
async fn read_hello<S>(stream: &mut S, early: &[u8]) -> Result<Accepted, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = Acceptor::default();
    let mut bytes = early.to_vec();
    let mut size_bytes = 0;
    loop {
        size_bytes += bytes.len();
        let mut unread = &bytes[..];
        while !unread.is_empty() {
            // The buffer of the library is full.
            if acceptor.read_tls(&mut unread).map_err(HandshakeError::Io)? == 0 {
                return Err(HandshakeError::TooLong);
            }
            match acceptor.accept() {
                // Nothing may follow the ClientHello before its answer, except for the end.
                Ok(Some(accepted)) if unread.is_empty() => return Ok(accepted),
                Ok(Some(_)) => return Err(HandshakeError::TooLong),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut message = Vec::new();
                    alert.write_all(&mut message).map_err(HandshakeError::Io)?;
                    // The client may have gone.
                    drop(stream.write_all(&message).await);
                    drop(stream.shutdown().await);
                    return Err(explain_tls(error));
                }
            }
        }
        if size_bytes > MAX_HELLO_BYTES {
            return Err(HandshakeError::TooLong);
        }
        bytes.resize(READ_BYTES, 0);
        let count = stream.read(&mut bytes).await.map_err(explain)?;
        if count == 0 {
            return Err(HandshakeError::Closed);
        }
        bytes.truncate(count);
    }
}

/// Returns the likely cause of an error of the connection.
fn explain(error: io::Error) -> HandshakeError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (tls.cloned(), error.kind()) {
        (Some(error), _) => explain_tls(error),
        (
            None,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe,
        ) => HandshakeError::Closed,
        (None, _) => HandshakeError::Io(error),
    }
}

fn explain_tls(error: TlsError) -> HandshakeError {
    match error {
        TlsError::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied),
        ) => HandshakeError::Refused(alert),
        TlsError::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
            HandshakeError::Closed
        }
        TlsError::NoApplicationProtocol => HandshakeError::NoHttp1,
        TlsError::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            // TLS before 1.2 does not have the extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => HandshakeError::OldVersion,
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )
        | TlsError::InappropriateMessage { .. } => HandshakeError::NoTls,
        error => HandshakeError::Failed(error),
    }
}
