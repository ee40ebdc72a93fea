//! The origin of a request: its client, and the request target as the client sent it.
//!
//! Behind a trusted nginx these facts are in header fields, otherwise in the request itself. The
//! main type is [`RequestOrigin`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, X_FORWARDED_FOR};
use actix_web::http::{Uri, Version};

use super::connection::{ConnectionFacts, ConnectionState, EnclosingConnect};
use super::state::Settings;
use crate::model::HttpVersion;

/// The client's request line, which a trusted nginx forwards in this field.
///
/// The request line that nginx itself sends lacks the scheme and the host of an absolute target. It
/// also lacks the client's HTTP version.
const REQUEST_LINE: HeaderName = HeaderName::from_static("x-millpond-request-line");

/// A trusted nginx adds this field if it could not open the file of an `X-Accel-Redirect`.
const FILE_MISSING: HeaderName = HeaderName::from_static("x-millpond-file-missing");

/// The port that a connection was accepted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Gateway,
    Proxy,
}

/// The form of a request target (RFC 9112, section 3.2), as the client spelled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetForm {
    /// Path and query.
    Origin(String),
    Absolute(String),
}

/// The peer of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontend {
    /// The client itself, or a front server that Millpond does not trust.
    Direct,
    /// The client asks for the gateway through the proxy port.
    OwnProxy,
    TrustedNginx {
        /// nginx has tried to send a stored file and could not open it.
        file_missing: bool,
    },
}

/// The origin of a request.
#[derive(Debug, Clone)]
pub struct RequestOrigin {
    pub client: IpAddr,
    pub form: TargetForm,
    pub version: HttpVersion,
    pub frontend: Frontend,
}

impl RequestOrigin {
    /// Reads a request of the proxy port. The client's address is that of the connection or of its
    /// PROXY header. Inside a `CONNECT`, the target is at its authority.
    pub fn from_proxy_port(request: &HttpRequest) -> Self {
        let form = TargetForm::from_uri(request.uri());
        let facts = connection_facts(request);
        Self {
            client: peer_address(request),
            form: match facts.and_then(|facts| facts.connect.as_ref()) {
                Some(connect) => form.inside_connect(connect),
                None => form,
            },
            version: http_version(request),
            frontend: Frontend::Direct,
        }
    }

    /// Reads a request of the gateway port. Header fields of a trusted nginx override the request.
    pub fn from_gateway_port(request: &HttpRequest, settings: &Settings) -> Self {
        let headers = request.headers();
        let mut origin = Self::from_proxy_port(request);
        origin.client = client_address(Port::Gateway, request, settings);
        if settings.is_trusted_proxy(peer_address(request))
            && let Some(line) = headers.get(REQUEST_LINE)
        {
            origin.frontend = Frontend::TrustedNginx {
                file_missing: headers.contains_key(FILE_MISSING),
            };
            // An empty target stands for a malformed request line.
            (origin.form, origin.version) = read_request_line(line.as_bytes())
                .unwrap_or((TargetForm::Origin(String::new()), HttpVersion::Http11));
        }
        origin.form = origin.form.rebase_on_public_url(settings);
        origin
    }

    /// Returns the request as one of the gateway port, if its target is the gateway's own. A fetch
    /// of the target would be a loop.
    pub fn at_own_gateway(&self, request: &HttpRequest, settings: &Settings) -> Option<Self> {
        let TargetForm::Absolute(text) = &self.form else {
            return None;
        };
        let gateway = connection_facts(request).and_then(|facts| facts.gateway);
        let (authority, path) = split_http_uri(text)?;
        let form = if is_own_authority(authority, settings, gateway) {
            TargetForm::origin(path)
        } else if settings.hosts.contains(authority) {
            // The authority decides about the target.
            self.form.clone()
        } else {
            return None;
        };
        Some(Self {
            form,
            frontend: Frontend::OwnProxy,
            ..self.clone()
        })
    }

    /// Whether the client is a process on this machine, such as the health check of a container.
    pub fn is_loopback(&self) -> bool {
        self.frontend == Frontend::Direct && self.client.is_loopback()
    }

    /// Whether a trusted nginx forwards a proxy request.
    pub fn is_forwarded_proxy_request(&self) -> bool {
        matches!(
            (&self.form, self.frontend),
            (TargetForm::Absolute(_), Frontend::TrustedNginx { .. })
        )
    }

    /// Returns the path without the query, if the target is in origin form.
    pub fn path(&self) -> Option<&str> {
        match &self.form {
            TargetForm::Origin(path_and_query) => path_and_query.split('?').next(),
            TargetForm::Absolute(_) => None,
        }
    }
}

impl TargetForm {
    fn from_uri(uri: &Uri) -> Self {
        let path_and_query = uri
            .path_and_query()
            .map_or("/", |spelling| spelling.as_str());
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => {
                Self::Absolute(format!("{scheme}://{authority}{path_and_query}"))
            }
            _ => Self::Origin(path_and_query.to_owned()),
        }
    }

    fn parse(text: &str) -> Self {
        if text.starts_with('/') {
            Self::Origin(text.to_owned())
        } else {
            Self::Absolute(text.to_owned())
        }
    }

    /// Converts an absolute target with the gateway's own authority to the origin form (RFC 9112,
    /// section 3.2.2).
    fn rebase_on_public_url(self, settings: &Settings) -> Self {
        match &self {
            Self::Absolute(text) => match split_http_uri(text) {
                Some((authority, path)) if is_own_authority(authority, settings, None) => {
                    Self::origin(path)
                }
                _ => self,
            },
            Self::Origin(_) => self,
        }
    }

    /// Converts a path of a request inside a `CONNECT` to the absolute form.
    fn inside_connect(self, connect: &EnclosingConnect) -> Self {
        match self {
            Self::Origin(path) if path.starts_with('/') => {
                let (scheme, authority) = (connect.scheme(), &connect.authority);
                Self::Absolute(format!("{scheme}://{authority}{path}"))
            }
            form => form,
        }
    }

    /// Returns the origin form of the end of a URI behind its authority.
    fn origin(path: &str) -> Self {
        Self::Origin(if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        })
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Origin(text) | Self::Absolute(text) => text,
        }
    }
}

/// Splits an absolute URI behind its authority.
pub fn split_http_uri(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once("://")?;
    Some(rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())))
}

/// Whether an authority is that of the gateway port: the public one, or its `address`.
pub fn is_own_authority(authority: &str, settings: &Settings, address: Option<SocketAddr>) -> bool {
    let authority = authority.to_ascii_lowercase();
    let authority = without_port_80(&authority);
    let is_public = settings
        .public_authority
        .as_deref()
        .is_some_and(|public| without_port_80(public) == authority);
    is_public
        || address.is_some_and(|address| {
            let text = address.to_string();
            let localhost = format!("localhost:{}", address.port());
            without_port_80(&text) == authority
                || address.ip().is_loopback() && without_port_80(&localhost) == authority
        })
}

/// Returns the facts about the connection of a request.
pub fn connection_facts(request: &HttpRequest) -> Option<&ConnectionFacts> {
    let state = request.conn_data::<Rc<ConnectionState>>()?;
    Some(state.facts())
}

/// Whether a request is inside an intercepted `CONNECT`.
pub fn is_intercepted(request: &HttpRequest) -> bool {
    connection_facts(request).is_some_and(ConnectionFacts::is_intercepted)
}

fn without_port_80(authority: &str) -> &str {
    authority.strip_suffix(":80").unwrap_or(authority)
}

/// Parses a line such as `GET /https://host/x HTTP/1.1`. All three parts are required.
fn read_request_line(line: &[u8]) -> Option<(TargetForm, HttpVersion)> {
    let parts: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [_, target, version] = parts[..] else {
        return None;
    };
    let version = match version {
        "HTTP/1.1" | "HTTP/2.0" | "HTTP/3.0" => HttpVersion::Http11,
        // nginx accepts HTTP/1.00 as 1.0.
        version if version.starts_with("HTTP/") => HttpVersion::Http10,
        _ => return None,
    };
    Some((TargetForm::parse(target), version))
}

fn http_version(request: &HttpRequest) -> HttpVersion {
    if request.version() < Version::HTTP_11 {
        HttpVersion::Http10
    } else {
        HttpVersion::Http11
    }
}

/// Returns the address of the client. Only at the gateway port, `X-Forwarded-For` of a trusted
/// proxy overrides the peer.
pub fn client_address(port: Port, request: &HttpRequest, settings: &Settings) -> IpAddr {
    let (peer, headers) = (peer_address(request), request.headers());
    let is_forwarded = port == Port::Gateway
        && settings.is_trusted_proxy(peer)
        && headers.contains_key(X_FORWARDED_FOR);
    if is_forwarded {
        // No allowed network contains the unspecified address.
        read_forwarded_for(headers, settings).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    } else {
        peer
    }
}

/// Returns the last address in `X-Forwarded-For` that is no trusted proxy. A client can forge the
/// addresses before it.
fn read_forwarded_for(headers: &HeaderMap, settings: &Settings) -> Option<IpAddr> {
    let listed: Vec<&str> = headers
        .get_all(X_FORWARDED_FOR)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut client = None;
    for text in listed.into_iter().rev() {
        let address: IpAddr = text.trim().parse().ok()?;
        client = Some(address.to_canonical());
        if !settings.is_trusted_proxy(address) {
            break;
        }
    }
    client
}

/// Returns the peer as the server set it: the TCP peer, or the client that the PROXY header names.
pub fn peer_address(request: &HttpRequest) -> IpAddr {
    canonical_address(request.peer_addr())
}

/// Returns the address of a peer, or the unspecified address if the peer is unknown.
pub fn canonical_address(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
        peer.ip().to_canonical()
    })
}
