//! The PROXY header that our own nginx puts before a connection, so that the client's address is
//! known.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Both versions begin within this many bytes; version 2 has its signature here.
const START_BYTES: usize = 12;
const V2_SIGNATURE: [u8; START_BYTES] = *b"\r\n\r\n\0\r\nQUIT\n";
const V1_START: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end.
const MAX_V1_BYTES: usize = 107;

/// The longest body of version 2 that is read: addresses, and more extensions than any front server
/// sends.
const MAX_V2_BODY_BYTES: usize = 2048;

#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    #[error("the connection ended inside its PROXY header")]
    Cut(#[from] std::io::Error),
    #[error("the connection does not begin with a valid PROXY header")]
    Invalid,
    #[error("the PROXY header names no client")]
    NoClient,
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads a PROXY header, and not a byte more. `None` if it names no client (a health check of the
/// front server itself).
///
/// # Errors
/// [`ProxyHeaderError`]; the connection is of no use then.
pub async fn read_proxy_header<R: AsyncRead + Unpin>(
    reader: &mut R,
) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut header = vec![0; START_BYTES];
    reader.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        read_v2(reader, &mut header).await?;
    } else if header.starts_with(V1_START) {
        read_v1(reader, &mut header).await?;
    } else {
        return Err(ProxyHeaderError::Invalid);
    }
    let (parsed, length) = ProxyHeader::parse(&header, ParseConfig::default())
        .map_err(|_| ProxyHeaderError::Invalid)?;
    if length != header.len() {
        return Err(ProxyHeaderError::Invalid);
    }
    match parsed.proxied_address() {
        Some(address) => Ok(Some(address.source)),
        // Version 2 has a command for the front server's own connections; version 1 only says that
        // it does not know.
        None if header.starts_with(&V2_SIGNATURE) => Ok(None),
        None => Err(ProxyHeaderError::NoClient),
    }
}

async fn read_v2<R: AsyncRead + Unpin>(
    reader: &mut R,
    header: &mut Vec<u8>,
) -> Result<(), ProxyHeaderError> {
    let mut rest = [0; 4];
    reader.read_exact(&mut rest).await?;
    let body_bytes = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
    if body_bytes > MAX_V2_BODY_BYTES {
        return Err(ProxyHeaderError::TooLong);
    }
    header.extend_from_slice(&rest);
    let start = header.len();
    header.resize(start + body_bytes, 0);
    reader.read_exact(&mut header[start..]).await?;
    Ok(())
}

/// Byte by byte: what follows the line belongs to the request.
async fn read_v1<R: AsyncRead + Unpin>(
    reader: &mut R,
    header: &mut Vec<u8>,
) -> Result<(), ProxyHeaderError> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= MAX_V1_BYTES {
            return Err(ProxyHeaderError::TooLong);
        }
        header.push(reader.read_u8().await?);
    }
    Ok(())
}
