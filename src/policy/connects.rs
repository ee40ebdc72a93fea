//! Admission of `CONNECT`: a tunnel, or requests inside.
//!
//! The main functions are [`admit`] and [`admit_intercepted`].

use std::net::IpAddr;

use super::admitted::{AdmittedConnect, AdmittedTunnel};
use super::denied::PolicyDenied;
use super::rules::Rules;
use crate::model::{ClientNet, Scheme, Target};

/// Checks a `CONNECT`, see [`super::Policy::admit_connect`].
pub fn admit(
    rules: &Rules,
    target: Target,
    client: IpAddr,
) -> Result<AdmittedConnect, PolicyDenied> {
    let port = target.port();
    let tunnel = rules.check_connect_port(port);
    let is_http = rules.allows_port(Scheme::Http, port);
    if !is_http {
        tunnel.clone()?;
    }
    rules.check_host(&target)?;
    rules.check_address_of(&target)?;
    let client = ClientNet::from_address(client);
    let admitted = AdmittedTunnel { target, client };
    Ok(match (tunnel, is_http) {
        (Err(_), _) => AdmittedConnect::PlainHttp,
        (Ok(()), true) => AdmittedConnect::TunnelOrHttp(admitted),
        (Ok(()), false) => AdmittedConnect::Tunnel(admitted),
    })
}

/// Checks a `CONNECT` to a host whose TLS Millpond can end, see
/// [`super::Policy::admit_intercepted_connect`].
pub fn admit_intercepted(
    rules: &Rules,
    target: Target,
    client: IpAddr,
) -> Result<AdmittedConnect, PolicyDenied> {
    if !rules.allows_port(Scheme::Https, target.port()) {
        return admit(rules, target, client);
    }
    rules.check_host(&target)?;
    rules.check_address_of(&target)?;
    let host = target.host().to_owned();
    Ok(AdmittedConnect::Https { host })
}
