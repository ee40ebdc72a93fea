//! Bytes that this node and a peer have sent each other. The main type is [`PeerTraffic`].

use crate::model::Counter;

/// Request field with the identity of the node that sends a marked request. Only the counts of
/// traffic depend on it, so the mark does not cover it.
pub const SENDER_FIELD: &str = "millpond-peer-node";

/// Counts of bodies since the start of the process, in bytes.
#[derive(Debug, Default)]
pub struct PeerTraffic {
    received: Counter,
    sent: Counter,
}

/// Counts at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficReading {
    pub received_bytes: u64,
    pub sent_bytes: u64,
}

impl PeerTraffic {
    pub fn add_received(&self, size_bytes: u64) {
        self.received.add(size_bytes);
    }

    pub fn add_sent(&self, size_bytes: u64) {
        self.sent.add(size_bytes);
    }

    #[must_use]
    pub fn read(&self) -> TrafficReading {
        TrafficReading {
            received_bytes: self.received.get(),
            sent_bytes: self.sent.get(),
        }
    }
}
