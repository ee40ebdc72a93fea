//! Names under which the API answers requests without a token.
//!
//! A web page can have its own name resolved to the gateway's address, and then read responses
//! through the browser of a visitor whom the gateway admits. Such a page has no token, and cannot
//! change `Host`. The main function is [`is_known_host`].

use std::net::{IpAddr, Ipv6Addr};

use super::state::Settings;
use crate::gateway::host_name;

/// Returns whether a value of `Host` is an address, or a name that the operator has listed. A name
/// without a dot, such as `localhost`, is not known to public DNS, so no page can have it.
pub fn is_known_host(host: &str, settings: &Settings) -> bool {
    let name = host_name(host);
    let is = |known: &str| host_name(known).eq_ignore_ascii_case(name);
    let is_address = name.parse::<IpAddr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    is_address
        || !name.contains('.')
        || settings.public_authority.as_deref().is_some_and(is)
        || settings.host_names.iter().any(|known| is(known))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gateway::HostTable;
    use crate::indexes::RegistryUpstreams;
    use crate::registry::RegistryTable;

    #[test]
    fn only_listed_names_are_known() {
        let settings = Settings {
            trusted_proxies: Vec::new(),
            public_url: Some("http://sources.example.org:8080".to_owned()),
            public_authority: Some("sources.example.org:8080".to_owned()),
            metrics_clients: Vec::new(),
            host_names: vec!["mill.example.net".to_owned()],
            hosts: HostTable::default(),
            indexes: RegistryUpstreams::default(),
            registries: RegistryTable::default(),
            stall_timeout: Duration::from_secs(1),
        };
        for known in [
            "sources.example.org",
            "SOURCES.example.org.:80",
            "mill.example.net:8080",
            "192.0.2.1",
            "192.0.2.1:8080",
            "[2001:db8::1]:80",
            "[::1]",
            "localhost:8080",
            "millpond",
        ] {
            assert!(is_known_host(known, &settings), "{known}");
        }
        for unknown in [
            "evil.example",
            "sources.example.org.evil.example",
            "x.mill.example.net",
            "192.0.2.1.evil.example:80",
            "[evil.example]:80",
            "1.2.3.4.5",
        ] {
            assert!(!is_known_host(unknown, &settings), "{unknown}");
        }
    }
}
