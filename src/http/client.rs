//! Who is asking, and whose word is taken for it.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use super::Doors;

impl Doors {
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.settings.load().trusted_proxies.iter().any(|network| network.contains(&peer))
    }

    /// The client of a request at the gateway port: the TCP peer, or whom our own nginx names.
    pub(super) fn client_at_gateway(&self, request: &HttpRequest) -> IpAddr {
        let peer = peer_of(request);
        if self.trusts(peer) && request.headers().contains_key("x-forwarded-for") {
            // A client that our own nginx cannot name is nobody whom a network could allow.
            return self.forwarded_for(request.headers()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        peer
    }

    /// The last address in `X-Forwarded-For` that is not one of our own: those before it are the client's word.
    fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let listed: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .filter_map(|value| value.to_str().ok())
            .flat_map(|v| v.split(','))
            .collect();
        let mut client = None;
        for text in listed.into_iter().rev() {
            let address: IpAddr = text.trim().parse().ok()?;
            client = Some(address.to_canonical());
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// The peer as the listener set it: the TCP peer, or at the proxy port the client of the PROXY header.
pub fn peer_of(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}
