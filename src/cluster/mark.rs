//! The mark by which a request proves that it comes from a node with the secret of the cluster.
//!
//! A mark is an HMAC-SHA256 over the recipient, method, target, time and a nonce. It is valid once,
//! and for a short time. The main type is [`ClusterKey`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::refusal::{Nonce, PeerRefusal};
use super::replay::ReplayGuard;
use crate::model::Secret;

/// Request field with the mark: version, recipient, milliseconds since 1970, nonce and HMAC.
pub const MARK_FIELD: &str = "millpond-peer";

/// Response field with the HMAC over the nonce of the request and the content.
pub const PROOF_FIELD: &str = "millpond-peer-proof";

/// Response field with the reason why a mark was refused.
pub const REFUSAL_FIELD: &str = "millpond-peer-refusal";

/// Largest difference between the clocks of two nodes. Clocks that are kept by NTP differ by less
/// than a second.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Time for which a nonce is remembered. A mark is valid no longer, whichever clock is ahead.
const REPLAY_WINDOW: Duration = Duration::from_secs(2 * MAX_CLOCK_SKEW.as_secs());

const VERSION: &str = "v1";

/// Recipient of the mark of a poll, since a node does not know which process runs at a URL. Each
/// process has its own memory of nonces, so a mark for anybody opens no target.
pub const ANY_RECIPIENT: &str = "any";

/// Purposes of an HMAC, so that none can stand for another one.
const MARK_LABEL: &str = "millpond-mark-1";
const PROOF_LABEL: &str = "millpond-proof-1";

/// Proof that a request comes from a node with the secret. Only [`ClusterKey`] creates one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProof {
    nonce: Nonce,
}

/// A mark that was made for one request.
#[derive(Debug)]
pub struct Mark {
    /// Value of [`MARK_FIELD`].
    pub value: String,
    pub nonce: Nonce,
}

/// Request that a mark is for.
#[derive(Debug, Clone, Copy)]
pub struct MarkedRequest<'a> {
    /// Random number of the process that is asked, or [`ANY_RECIPIENT`].
    pub recipient: &'a str,
    pub method: &'a str,
    pub target: &'a str,
}

/// The secret of the cluster, and the nonces that were seen with it.
#[derive(Debug)]
pub struct ClusterKey {
    secret: Secret,
    seen: ReplayGuard,
}

impl ClusterKey {
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            seen: ReplayGuard::new(REPLAY_WINDOW),
        }
    }

    /// Makes the mark of one request.
    #[must_use]
    pub fn mark(&self, request: MarkedRequest<'_>, now: SystemTime) -> Mark {
        let (time, nonce) = (milliseconds(now), rand::random::<Nonce>());
        let mac = self.mac_of_mark(request, time, &nonce).finalize();
        let value = format!(
            "{VERSION} {} {time} {} {}",
            request.recipient,
            hex::encode(nonce),
            hex::encode(mac.into_bytes())
        );
        Mark { value, nonce }
    }

    /// Checks the mark of a request that this process has received. A mark is accepted once.
    ///
    /// # Errors
    /// [`PeerRefusal`]. A mark with a wrong HMAC shows nothing else.
    pub fn verify(
        &self,
        received: MarkedRequest<'_>,
        value: &str,
        now: SystemTime,
    ) -> Result<PeerProof, PeerRefusal> {
        let (recipient, time, nonce, mac) = parse(value).ok_or(PeerRefusal::Secret)?;
        let stated = MarkedRequest {
            recipient,
            ..received
        };
        // The comparison takes the same time for each wrong value.
        self.mac_of_mark(stated, time, &nonce)
            .verify_slice(&mac)
            .map_err(|_| PeerRefusal::Secret)?;
        if recipient != received.recipient {
            return Err(PeerRefusal::Recipient);
        }
        if milliseconds(now).abs_diff(time) > milliseconds_in(MAX_CLOCK_SKEW) {
            return Err(PeerRefusal::Clock);
        }
        self.seen.accept(nonce, milliseconds(now))?;
        Ok(PeerProof { nonce })
    }

    /// Returns the value of [`PROOF_FIELD`] for the response to a marked request.
    #[must_use]
    pub fn prove(&self, request: PeerProof, content: &[u8]) -> String {
        let mac = self.mac_of_proof(&request.nonce, content).finalize();
        hex::encode(mac.into_bytes())
    }

    /// Returns whether a response with this proof and content comes from a node with the secret, in
    /// answer to the request with the nonce.
    #[must_use]
    pub fn is_proven(&self, nonce: &Nonce, content: &[u8], proof: &str) -> bool {
        let proof = hex::decode(proof).unwrap_or_default();
        let mac = self.mac_of_proof(nonce, content);
        mac.verify_slice(&proof).is_ok()
    }

    fn mac_of_mark(&self, request: MarkedRequest<'_>, time: u64, nonce: &Nonce) -> Hmac<Sha256> {
        let MarkedRequest {
            recipient,
            method,
            target,
        } = request;
        let mut mac = self.mac(MARK_LABEL);
        mac.update(format!("\n{recipient}\n{method}\n{target}\n{time}\n").as_bytes());
        mac.update(nonce);
        mac
    }

    fn mac_of_proof(&self, nonce: &Nonce, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac(PROOF_LABEL);
        mac.update(nonce);
        mac.update(content);
        mac
    }

    fn mac(&self, label: &str) -> Hmac<Sha256> {
        let key = self.secret.expose().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
        mac.update(label.as_bytes());
        mac
    }
}

/// Parses the value of [`MARK_FIELD`]: recipient, time, nonce and HMAC.
fn parse(value: &str) -> Option<(&str, u64, Nonce, Vec<u8>)> {
    let mut parts = value.split(' ');
    let (version, recipient, time) = (parts.next()?, parts.next()?, parts.next()?);
    let (nonce, mac) = (parts.next()?, parts.next()?);
    if version != VERSION || parts.next().is_some() {
        return None;
    }
    let mut bytes = Nonce::default();
    hex::decode_to_slice(nonce, &mut bytes).ok()?;
    Some((recipient, time.parse().ok()?, bytes, hex::decode(mac).ok()?))
}

/// Returns a time in milliseconds since 1970. An earlier time counts as 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    milliseconds_in(since)
}

fn milliseconds_in(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_X: MarkedRequest<'_> = MarkedRequest {
        recipient: "one",
        method: "GET",
        target: "/x",
    };

    fn key(secret: &str) -> ClusterKey {
        ClusterKey::new(Secret::from(secret.to_owned()))
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(500_000)
    }

    #[test]
    fn mark_is_accepted_once() {
        let key = key("a secret of the cluster");
        let mark = key.mark(GET_X, now());
        assert!(key.verify(GET_X, &mark.value, now()).is_ok());
        let again = key.verify(GET_X, &mark.value, now());
        assert_eq!(again, Err(PeerRefusal::Replay));
    }

    #[test]
    fn mark_is_bound_to_its_request_and_secret() {
        let (ours, foreign) = (
            key("a secret of the cluster"),
            key("another secret, foreign"),
        );
        let mark = ours.mark(GET_X, now()).value;
        for (method, target) in [("POST", "/x"), ("GET", "/y"), ("GET", "")] {
            let other = MarkedRequest {
                method,
                target,
                ..GET_X
            };
            let refused = ours.verify(other, &mark, now());
            assert_eq!(refused, Err(PeerRefusal::Secret), "{method} {target}");
        }
        let foreign = foreign.mark(GET_X, now()).value;
        let renamed = mark.replacen("one", "two", 1);
        for value in [&foreign, &renamed, "", "v1", "v1 1 2 3", &mark[1..]] {
            let refused = ours.verify(GET_X, value, now());
            assert_eq!(refused, Err(PeerRefusal::Secret), "{value}");
        }
        let elsewhere = MarkedRequest {
            recipient: "two",
            ..GET_X
        };
        let refused = ours.verify(elsewhere, &mark, now());
        assert_eq!(refused, Err(PeerRefusal::Recipient));
        assert!(ours.verify(GET_X, &mark, now()).is_ok());
    }

    #[test]
    fn mark_is_valid_for_thirty_seconds() {
        let key = key("a secret of the cluster");
        for (seconds, is_valid) in [(30, true), (31, false), (600, false)] {
            let distance = Duration::from_secs(seconds);
            for made in [now() - distance, now() + distance] {
                let mark = key.mark(GET_X, made).value;
                let verified = key.verify(GET_X, &mark, now());
                assert_eq!(verified.is_ok(), is_valid, "{seconds} s: {verified:?}");
                if !is_valid {
                    assert_eq!(verified, Err(PeerRefusal::Clock));
                }
            }
        }
    }

    #[test]
    fn proof_is_bound_to_request_and_content() {
        let key = key("a secret of the cluster");
        let mark = key.mark(GET_X, now());
        let request = key.verify(GET_X, &mark.value, now()).unwrap();
        let proof = key.prove(request, b"content");
        assert!(key.is_proven(&mark.nonce, b"content", &proof));
        assert!(!key.is_proven(&mark.nonce, b"other", &proof));
        assert!(!key.is_proven(&Nonce::default(), b"content", &proof));
        assert!(!key.is_proven(&mark.nonce, b"content", ""));
    }
}
