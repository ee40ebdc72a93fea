//! Addresses of one name, as its lookups return them, in the order in which they are tried.
//!
//! Families alternate, and IPv6 comes first (RFC 8305, section 4). The main type is
//! [`AddressCandidates`].

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::answers::AnswerExtent;
use super::error::LookupError;
use super::lookup_table::SharedLookup;
use super::resolver::NameLookup;

/// Decision about one address of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressVerdict {
    Allowed,
    Forbidden,
}

/// Addresses that may be connected to, and the lookups that may add more.
pub struct AddressCandidates {
    lookups: FuturesUnordered<SharedLookup>,
    port: u16,
    v6: VecDeque<SocketAddr>,
    v4: VecDeque<SocketAddr>,
    /// Family of the next address, if it has one.
    next_is_v4: bool,
    has_forbidden: bool,
    /// Part of the name's addresses that the lookups have returned.
    extent: AnswerExtent,
    last_error: LookupError,
}

/// Why there is no address to connect to.
#[derive(Debug)]
pub enum NoCandidate {
    /// Policy allows none of the addresses.
    Forbidden,
    Lookup(LookupError),
}

impl AddressCandidates {
    fn new(port: u16) -> Self {
        Self {
            lookups: FuturesUnordered::new(),
            port,
            v6: VecDeque::new(),
            v4: VecDeque::new(),
            next_is_v4: false,
            has_forbidden: false,
            extent: AnswerExtent::All,
            last_error: LookupError::NoAddress,
        }
    }

    /// Returns the addresses that a lookup will find.
    pub fn of_lookup(lookup: NameLookup, port: u16) -> Self {
        let candidates = Self::new(port);
        match lookup {
            NameLookup::PerFamily { v6, v4 } => {
                candidates.lookups.push(v6);
                candidates.lookups.push(v4);
            }
            NameLookup::Together(both) => candidates.lookups.push(both),
        }
        candidates
    }

    /// Returns one known address.
    pub fn of_address(address: SocketAddr) -> Self {
        let mut candidates = Self::new(address.port());
        candidates.add(address.ip());
        candidates
    }

    /// Waits for the next result of a lookup. Returns `None` if all lookups have ended.
    pub async fn receive(&mut self) -> Option<()> {
        match self.lookups.next().await? {
            Ok(found) => {
                // The system sorts by preference, with both families in one result.
                if self.lookups.is_empty() && self.v6.is_empty() && self.v4.is_empty() {
                    self.next_is_v4 = found.addresses().first().is_some_and(IpAddr::is_ipv4);
                }
                for address in found.addresses() {
                    self.add(*address);
                }
                self.extent = self.extent.max(found.extent());
            }
            // The absence of one family says nothing about the other.
            Err(LookupError::NoAddress) => {}
            Err(error) => self.last_error = error,
        }
        Some(())
    }

    fn add(&mut self, address: IpAddr) {
        let family = match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        };
        family.push_back(SocketAddr::new(address, self.port));
    }

    /// Removes and returns the next allowed address. The one after it has the other family.
    ///
    /// An address is checked when it is about to be tried, because a check reads the addresses of
    /// this machine.
    pub fn take_next(&mut self, check: impl Fn(IpAddr) -> AddressVerdict) -> Option<SocketAddr> {
        while let Some(address) = self.pop_next() {
            match check(address.ip()) {
                AddressVerdict::Allowed => return Some(address),
                AddressVerdict::Forbidden => self.has_forbidden = true,
            }
        }
        None
    }

    fn pop_next(&mut self) -> Option<SocketAddr> {
        let next = if self.next_is_v4 {
            self.v4.pop_front().or_else(|| self.v6.pop_front())
        } else {
            self.v6.pop_front().or_else(|| self.v4.pop_front())
        };
        self.next_is_v4 = next?.is_ipv6();
        next
    }

    pub fn has_next(&self) -> bool {
        !self.v6.is_empty() || !self.v4.is_empty()
    }

    /// Whether addresses of the preferred family may still come, while only others are known.
    pub fn awaits_preferred(&self) -> bool {
        !self.lookups.is_empty() && self.v6.is_empty()
    }

    /// Checks all addresses. Returns whether the name has one, and policy forbids none.
    pub fn all_allowed(mut self, check: impl Fn(IpAddr) -> AddressVerdict) -> bool {
        let has_allowed = self.take_next(&check).is_some();
        while self.take_next(&check).is_some() {}
        has_allowed && !self.has_forbidden && self.extent == AnswerExtent::All
    }

    /// Returns why there was no address.
    pub fn failure(self) -> NoCandidate {
        if self.has_forbidden {
            NoCandidate::Forbidden
        } else {
            NoCandidate::Lookup(self.last_error)
        }
    }
}
