//! DNS client: signed messages over TCP.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::TSigner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::error::DnsError;

/// Connection to the primary server of the zone. Signatures authenticate the responses.
pub struct DnsConnection<'a> {
    stream: TcpStream,
    signer: &'a TSigner,
}

impl<'a> DnsConnection<'a> {
    pub async fn open(server: SocketAddr, signer: &'a TSigner) -> Result<Self, DnsError> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, signer })
    }

    /// Signs and sends `query`, and returns the response.
    ///
    /// # Errors
    /// [`DnsError`] if there is no response, or if it is not authentic.
    pub async fn query(&mut self, mut query: Message) -> Result<Message, DnsError> {
        let verifier = query.finalize(self.signer, now_seconds())?;
        let mut verifier = verifier.expect("a message signed with TSIG has a verifier");
        self.send(&query.to_vec()?).await?;
        let bytes = self.receive().await?;
        let response = Message::from_vec(&bytes).map_err(ProtoError::from)?;
        if response.id != query.id || response.op_code != query.op_code {
            return Err(DnsError::IdMismatch);
        }
        // A server that rejects a signature cannot sign the rejection (RFC 8945, section 5.3.2). A
        // forged rejection does no more harm than a missing response.
        if let Some(error) = response
            .signature()
            .and_then(|signature| signature.data.error)
        {
            return Err(DnsError::TsigRejected(error));
        }
        if response.signature().is_none() && response.response_code != ResponseCode::NoError {
            return Err(DnsError::Refused(response.response_code));
        }
        Ok(verifier
            .verify(&bytes)
            .map_err(DnsError::Unsigned)?
            .into_message())
    }

    /// Sends a message, preceded by its length in two octets (RFC 1035, section 4.2.2).
    async fn send(&mut self, message: &[u8]) -> Result<(), DnsError> {
        let length = u16::try_from(message.len()).expect("a few addresses take less than 64 KiB");
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        self.stream.write_all(&framed).await?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, DnsError> {
        let length = self.stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        self.stream.read_exact(&mut message).await?;
        Ok(message)
    }
}

fn now_seconds() -> u64 {
    // If the clock is before 1970, the server rejects the signature.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
