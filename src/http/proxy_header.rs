//! The PROXY header, in which a trusted front server states the client's address.
//!
//! It stands before the first request of a connection. The main function is [`read_proxy_header`].

use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Length of the signature of version 2. A header of either version has at least as many bytes.
const START_BYTES: usize = 12;
const V2_SIGNATURE: [u8; START_BYTES] = *b"\r\n\r\n\0\r\nQUIT\n";
const V1_START: &[u8] = b"PROXY ";

/// The longest header of version 1, including its line end.
const MAX_V1_BYTES: usize = 107;

/// The longest accepted body of version 2. It is longer than the addresses and the extensions that
/// front servers send.
const MAX_V2_BODY_BYTES: usize = 2048;

/// Error returned when a connection does not begin with a valid PROXY header.
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

/// Reads a PROXY header of version 1 or 2, and no byte after it. Returns `None` if the header names
/// no client, as in a health check of the front server itself.
///
/// # Errors
/// [`ProxyHeaderError`]; the caller must close the connection then.
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
        // Version 2 has the command LOCAL for connections of the front server itself. Version 1 has
        // only UNKNOWN, which does not mean that there is no client.
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

/// Reads one byte at a time, since the bytes after the line belong to the request.
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
