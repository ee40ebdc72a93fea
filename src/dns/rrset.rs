//! RRsets of addresses: queries, updates, and the changes to make.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode, UpdateMessage as _};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::error::DnsError;
use super::hysteresis::DesiredState;

/// Addresses of a name of one type: an RRset of type A or AAAA.
pub type Addresses = BTreeSet<IpAddr>;

/// Change to make to an RRset.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Add(Addresses),
    Remove(Addresses),
    /// No change, although a withdrawal is desired. No other node is in the set, so clients that
    /// only use this address type would have no address left.
    KeepLast,
}

impl Change {
    /// Returns the change from the `current` addresses to the desired state of the `own` ones.
    pub fn plan(desired: DesiredState, own: &Addresses, current: &Addresses) -> Self {
        let present = own & current;
        match desired {
            DesiredState::Published if &present == own => Self::Nothing,
            DesiredState::Published => Self::Add(own - current),
            DesiredState::Withdrawn if present.is_empty() => Self::Nothing,
            DesiredState::Withdrawn if &present == current => Self::KeepLast,
            DesiredState::Withdrawn => Self::Remove(present),
        }
    }
}

/// One RRset of one zone.
pub struct RrSet<'a> {
    pub zone: &'a Name,
    pub name: &'a Name,
    pub kind: RecordType,
}

impl RrSet<'_> {
    /// Builds the query for the RRset.
    pub fn query(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(self.name.clone(), self.kind));
        message
    }

    /// Returns the addresses in the response to the query.
    pub fn read(&self, response: &Message) -> Result<Addresses, DnsError> {
        match response.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            code => return Err(DnsError::Refused(code)),
        }
        if !response.authoritative {
            return Err(DnsError::NotPrimary);
        }
        let records = || {
            response
                .answers
                .iter()
                .filter(|record| record.name == *self.name)
        };
        if records().any(|record| record.record_type() == RecordType::CNAME) {
            return Err(DnsError::Alias);
        }
        let of_type = records().filter(|record| record.record_type() == self.kind);
        Ok(of_type.filter_map(|record| record.data.ip_addr()).collect())
    }

    /// Builds an update that the server applies only if the set equals `current` (RFC 2136,
    /// section 2.4).
    pub fn update(&self, current: &Addresses, updates: impl Iterator<Item = Record>) -> Message {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        message.add_zone(Query::query(self.zone.clone(), RecordType::SOA));
        message.add_pre_requisites(
            current
                .iter()
                .map(|address| self.record(*address, DNSClass::IN, 0)),
        );
        if current.is_empty() {
            let mut absent = Record::update0(self.name.clone(), 0, self.kind);
            absent.dns_class = DNSClass::NONE;
            message.add_pre_requisite(absent);
        }
        message.add_updates(updates.collect::<Vec<_>>());
        message
    }

    /// Builds the record that adds an address (RFC 2136, section 2.5.1).
    pub fn addition(&self, address: IpAddr, ttl_seconds: u32) -> Record {
        self.record(address, DNSClass::IN, ttl_seconds)
    }

    /// Builds the record that removes an address (RFC 2136, section 2.5.4).
    pub fn removal(&self, address: IpAddr) -> Record {
        self.record(address, DNSClass::NONE, 0)
    }

    fn record(&self, address: IpAddr, class: DNSClass, ttl_seconds: u32) -> Record {
        let mut record = Record::from_rdata(self.name.clone(), ttl_seconds, RData::from(address));
        record.dns_class = class;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses<const N: usize>(last: [u8; N]) -> Addresses {
        last.map(|last| IpAddr::from([192, 0, 2, last])).into()
    }

    #[track_caller]
    fn assert_change(desired: DesiredState, own: &Addresses, seen: &Addresses, change: &Change) {
        assert_eq!(
            &Change::plan(desired, own, seen),
            change,
            "{desired:?} of {own:?} in {seen:?}"
        );
    }

    #[test]
    fn only_missing_own_addresses_are_added() {
        let own = addresses([1, 2]);
        assert_change(
            DesiredState::Published,
            &own,
            &addresses([]),
            &Change::Add(addresses([1, 2])),
        );
        assert_change(
            DesiredState::Published,
            &own,
            &addresses([2, 3]),
            &Change::Add(addresses([1])),
        );
        assert_change(
            DesiredState::Published,
            &own,
            &addresses([1, 2, 3]),
            &Change::Nothing,
        );
    }

    #[test]
    fn only_present_own_addresses_are_removed() {
        let own = addresses([1, 2]);
        assert_change(
            DesiredState::Withdrawn,
            &own,
            &addresses([1, 2, 3]),
            &Change::Remove(addresses([1, 2])),
        );
        assert_change(
            DesiredState::Withdrawn,
            &own,
            &addresses([2, 3]),
            &Change::Remove(addresses([2])),
        );
        assert_change(
            DesiredState::Withdrawn,
            &own,
            &addresses([3]),
            &Change::Nothing,
        );
        assert_change(
            DesiredState::Withdrawn,
            &own,
            &addresses([]),
            &Change::Nothing,
        );
    }

    #[test]
    fn last_address_is_never_removed() {
        let own = addresses([1, 2]);
        assert_change(
            DesiredState::Withdrawn,
            &own,
            &addresses([1, 2]),
            &Change::KeepLast,
        );
        assert_change(
            DesiredState::Withdrawn,
            &own,
            &addresses([2]),
            &Change::KeepLast,
        );
    }
}
