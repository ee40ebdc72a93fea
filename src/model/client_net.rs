//! The network that counts as one client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

impl fmt::Display for ClientNet {
    /// Writes an IPv4 address, or an IPv6 network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (upper, lower) = (self.0 >> 32, self.0 & u64::from(u32::MAX));
        match u32::try_from(lower) {
            Ok(address) if upper == 0xffff => Ipv4Addr::from_bits(address).fmt(f),
            _ => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.0) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_is_written_as_address() {
        for (address, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            let net = ClientNet::from_address(address.parse().unwrap());
            assert_eq!(net.to_string(), shown);
        }
    }
}
