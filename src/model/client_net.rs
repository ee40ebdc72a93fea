//! The network that counts as one client.

use std::net::IpAddr;

/// Client network for limits: an IPv4 address, or an IPv6 /64, in which one client can use any
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNet(u64);

impl ClientNet {
    /// Returns the network of an address.
    #[must_use]
    pub fn from_address(client: IpAddr) -> Self {
        match client.to_canonical() {
            // No allocated IPv6 network has this prefix.
            IpAddr::V4(address) => Self(0x0000_ffff_0000_0000 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(
                u64::try_from(address.to_bits() >> 64)
                    .expect("the upper half of 128 bits has 64 bits"),
            ),
        }
    }
}
