//! Opens a link to a peer: a `CONNECT` with a mark at its gateway port. The main function is
//! [`open`].

use std::io;
use std::net;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::mark::{ANY_RECIPIENT, ClusterKey, MARK_FIELD, MarkedRequest, PROOF_FIELD};

/// Request for a link. The recipient is the process of the peer.
pub const LINK_REQUEST: MarkedRequest<'_> = MarkedRequest {
    recipient: ANY_RECIPIENT,
    method: "CONNECT",
    target: "link",
};

/// Content that the proof of the response covers.
pub const LINK_CONTENT: &[u8] = b"link";

/// Maximum length of the head of a response.
const MAX_HEAD_BYTES: usize = 2048;

/// Asks the process `recipient` for a link on a new connection to `authority`.
///
/// # Errors
/// If the connection fails, or the peer is no node that has links.
pub async fn open(
    mut stream: TcpStream,
    authority: &str,
    key: &ClusterKey,
    recipient: &str,
) -> io::Result<net::TcpStream> {
    let request = MarkedRequest {
        recipient,
        ..LINK_REQUEST
    };
    let mark = key.mark(request, SystemTime::now());
    let value = mark.value;
    let head = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{MARK_FIELD}: {value}\r\n\r\n"
    );
    stream.set_nodelay(true)?;
    stream.write_all(head.as_bytes()).await?;
    let answer = read_head(&mut stream).await?;
    let is_proven = |proof: &str| key.is_proven(&mark.nonce, LINK_CONTENT, proof);
    if answer.starts_with("HTTP/1.1 200") && proof_in(&answer).is_some_and(is_proven) {
        stream.into_std()
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    // Nothing follows the head, so that no byte of the link is read.
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read_buf(&mut head).await?;
        if count == 0 || head.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    String::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn proof_in(head: &str) -> Option<&str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(PROOF_FIELD).then_some(value)
    })
}
