//! DNS publisher: compares this node's addresses with the name, and updates the name atomically.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType, TSigner};

use super::client::DnsConnection;
use super::error::DnsError;
use super::hysteresis::DesiredState;
use super::rrset::{Addresses, Change, RrSet};

/// Maximum number of attempts to update an RRset. An attempt fails if another node changes the
/// RRset between the read and the update.
const MAX_ATTEMPTS: usize = 8;

/// Validated `[dns]` configuration.
pub struct DnsPublisher {
    pub(super) server: SocketAddr,
    pub(super) zone: Name,
    pub(super) name: Name,
    /// Addresses of this node.
    pub(super) own: Addresses,
    pub(super) ttl_seconds: u32,
    pub(super) signer: TSigner,
    pub(super) withdraw_after: Duration,
    pub(super) restore_after: Duration,
}

/// Result of a successful attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishResult {
    Applied,
    /// An address was not withdrawn because it is the last one of its type.
    KeptLastAddress,
}

impl DnsPublisher {
    /// Updates the name until it matches the desired state.
    pub(super) async fn reconcile(&self, desired: DesiredState) -> Result<PublishResult, DnsError> {
        let mut connection = DnsConnection::open(self.server, &self.signer).await?;
        let mut result = PublishResult::Applied;
        let (v4, v6): (Addresses, Addresses) =
            self.own.iter().partition(|address| address.is_ipv4());
        for (kind, own) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
            let set = RrSet {
                zone: &self.zone,
                name: &self.name,
                kind,
            };
            if !own.is_empty()
                && self
                    .reconcile_set(&mut connection, &set, desired, &own)
                    .await?
                    == PublishResult::KeptLastAddress
            {
                result = PublishResult::KeptLastAddress;
            }
        }
        Ok(result)
    }

    /// Updates one RRset.
    ///
    /// If two nodes withdraw at the same time, both see the other one's address. The prerequisite
    /// of the second update then fails. The second node reads the set again and finds that its
    /// address is the last one.
    async fn reconcile_set(
        &self,
        connection: &mut DnsConnection<'_>,
        set: &RrSet<'_>,
        desired: DesiredState,
        own: &Addresses,
    ) -> Result<PublishResult, DnsError> {
        for _ in 0..MAX_ATTEMPTS {
            let current = set.read(&connection.query(set.query()).await?)?;
            let change = Change::plan(desired, own, &current);
            let update = match &change {
                Change::Nothing => return Ok(PublishResult::Applied),
                Change::KeepLast => return Ok(PublishResult::KeptLastAddress),
                Change::Add(missing) => set.update(
                    &current,
                    missing
                        .iter()
                        .map(|address| set.addition(*address, self.ttl_seconds)),
                ),
                Change::Remove(present) => set.update(
                    &current,
                    present.iter().map(|address| set.removal(*address)),
                ),
            };
            match connection.query(update).await?.response_code {
                ResponseCode::NoError => {
                    self.log_update(&change);
                    return Ok(PublishResult::Applied);
                }
                // Another node changed the set first.
                ResponseCode::NXRRSet | ResponseCode::YXRRSet => {}
                code => return Err(DnsError::Refused(code)),
            }
        }
        Err(DnsError::Contention)
    }

    fn log_update(&self, change: &Change) {
        let name = &self.name;
        match change {
            Change::Add(addresses) => tracing::info!(%name, ?addresses, "added this node to DNS"),
            Change::Remove(addresses) => {
                tracing::warn!(%name, ?addresses, "withdrew this node from DNS");
            }
            Change::Nothing | Change::KeepLast => {}
        }
    }
}
