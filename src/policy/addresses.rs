//! Classification of public and reserved IP addresses, and of addresses of this machine.
//!
//! It knows no configuration. The main function is [`is_public`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;

/// IPv4 blocks that are not globally reachable (IANA special-purpose registry, RFC 6890 and its
/// successors).
const RESERVED_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only IPv6 block that is allocated for global unicast (RFC 4291, section 2.4).
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks inside [`GLOBAL_V6`] that are not globally reachable: IETF protocol assignments with
/// Teredo and ORCHID, and the two documentation blocks.
const RESERVED_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Addresses at which clouds serve metadata and credentials to their machines. Most of them are in
/// reserved blocks too. They are listed in case that a block is opened.
const METADATA_V4: [Ipv4Addr; 5] = [
    // AWS, Azure, Google Cloud, OpenStack and others: instance metadata.
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: credentials of containers.
    Ipv4Addr::new(169, 254, 170, 2),
    // Alibaba Cloud: instance metadata.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure: host agent of the machine. The address is in a public block.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud: instance metadata of the older generation.
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same for IPv6.
const METADATA_V6: [Ipv6Addr; 4] = [
    // AWS: instance metadata.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    // AWS: credentials of containers.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google Cloud: instance metadata.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // OpenStack: instance metadata.
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Returns whether an address is on the public internet.
///
/// An IPv6 address that embeds an IPv4 address (mapped, 6to4, NAT64) is public only if the IPv4
/// address is, because a router may deliver to it.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Addresses of documentation, which belong to no machine.
const FOREIGN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FOREIGN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Returns whether an address belongs to this machine.
///
/// Services of this machine may trust its own addresses, public ones included. Asking the kernel at
/// each connection needs no list of interfaces, which may change at any time. No packet is sent.
pub fn is_own_address(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let foreign: IpAddr = match address {
        IpAddr::V4(_) => FOREIGN_V4.into(),
        IpAddr::V6(_) => FOREIGN_V6.into(),
    };
    // A machine with `ip_nonlocal_bind` can bind every address.
    is_own_source(address) || can_bind(address) && !can_bind(foreign)
}

fn can_bind(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// Returns whether the kernel would use `address` itself as the source of a packet to it. Secondary
/// addresses of an interface may have the first one as their source.
fn is_own_source(address: IpAddr) -> bool {
    match unbound_socket(address) {
        Ok(socket) => source_towards(&socket, address).is_ok_and(|source| source == address),
        // Without a socket there is no answer, unless the machine lacks the family.
        Err(error) => !lacks_family(&error),
    }
}

/// Returns whether this machine has an address in a network: the one from which it would send to
/// the network. No packet is sent.
#[must_use]
pub fn has_address_in(network: &IpNet) -> bool {
    let Some(address) = network.hosts().next() else {
        return false;
    };
    let source = unbound_socket(address).and_then(|socket| source_towards(&socket, address));
    source.is_ok_and(|source| network.contains(&source))
}

fn unbound_socket(address: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind(SocketAddr::new(any, 0))
}

/// Returns the address from which the kernel would send a packet to `address`.
fn source_towards(socket: &UdpSocket, address: IpAddr) -> io::Result<IpAddr> {
    // Any port has the same route.
    const PORT: u16 = 9;
    socket.connect(SocketAddr::new(address, PORT))?;
    socket.local_addr().map(|source| source.ip())
}

fn lacks_family(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

/// Returns the address that a packet to `address` may reach: the IPv4 address inside an IPv6
/// address, or else the address itself.
pub fn reached_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => embedded_ipv4(address).map_or(address.into(), IpAddr::V4),
        address @ IpAddr::V4(_) => address,
    }
}

/// Returns whether clouds serve metadata at an address, in any of its spellings.
pub fn is_metadata(address: IpAddr) -> bool {
    match reached_address(address) {
        IpAddr::V4(address) => METADATA_V4.contains(&address),
        IpAddr::V6(address) => METADATA_V6.contains(&address),
    }
}

/// Returns whether one of the networks is this address alone.
pub fn is_listed_alone(address: IpAddr, networks: &[IpNet]) -> bool {
    let is_alone = |net: &&IpNet| net.prefix_len() == net.max_prefix_len();
    networks
        .iter()
        .filter(is_alone)
        .any(|net| net.addr() == address)
}

/// Returns whether one of the networks contains `address`.
pub fn is_in_networks(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !METADATA_V4.contains(&address)
        && !RESERVED_V4
            .iter()
            .any(|(net, prefix)| Ipv4Net::new_assert(*net, *prefix).contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_in = |(net, prefix): (Ipv6Addr, u8)| Ipv6Net::new_assert(net, prefix).contains(&address);
    if let Some(embedded) = embedded_ipv4(address) {
        return is_public_v4(embedded);
    }
    is_in(GLOBAL_V6) && !RESERVED_V6.into_iter().any(is_in) && !METADATA_V6.contains(&address)
}

/// Returns the IPv4 address inside a 6to4 (RFC 3056) or well-known NAT64 (RFC 6052) address.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let ipv4_at =
        |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    match address.segments() {
        [0x2002, ..] => Some(ipv4_at(2)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(ipv4_at(12)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn private_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fe80::a9fe:a9fe",
            "100.100.100.200",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "64:ff9b::a83f:8110",
            "2002:a83f:8110::1",
            "192.0.0.192",
            "169.254.170.2",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn internet_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "2606:4700::1",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(public(address), "{address}");
        }
    }
    #[test]
    fn embedded_address_is_the_reached_one() {
        for (text, reached) in [
            ("64:ff9b::102:304", "1.2.3.4"),
            ("2002:102:304::9", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("1.2.3.4", "1.2.3.4"),
            ("2606:4700::1", "2606:4700::1"),
        ] {
            let reached: IpAddr = reached.parse().unwrap();
            assert_eq!(reached_address(text.parse().unwrap()), reached, "{text}");
        }
    }

    #[test]
    fn network_of_one_address_lists_it() {
        let networks: Vec<IpNet> = ["10.0.0.0/8", "192.0.2.1/32", "fd00::1/128"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        for (text, is_listed) in [
            ("192.0.2.1", true),
            ("fd00::1", true),
            ("10.0.0.0", false),
            ("192.0.2.2", false),
        ] {
            let address = text.parse().unwrap();
            assert_eq!(is_listed_alone(address, &networks), is_listed, "{text}");
        }
    }

    #[test]
    fn metadata_addresses_are_known_in_every_spelling() {
        for (text, is_known) in [
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("2002:a83f:8110::1", true),
            ("fd00:ec2::254", true),
            ("169.254.169.253", false),
            ("fd00:ec2::255", false),
        ] {
            assert_eq!(is_metadata(text.parse().unwrap()), is_known, "{text}");
        }
    }

    #[test]
    fn only_own_addresses_are_own() {
        for (text, is_own) in [
            ("127.0.0.1", true),
            ("127.0.0.9", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_own_address(text.parse().unwrap()), is_own, "{text}");
        }
    }
}
