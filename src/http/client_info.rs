//! A request as it came in: what it says of itself, or what our own nginx says of it.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use actix_web::http::{Uri, Version};

use super::HttpService;
use crate::gateway::HttpVersion;

/// The client's whole request line. nginx alone has it: what it sends us has lost an absolute
/// target's scheme and host, and the client's version.
const REQUEST_LINE: &str = "x-millpond-request-line";

/// A file that nginx was told to send could not be opened by it.
const FILE_MISSING: &str = "x-millpond-file-missing";

/// The form of a request target (RFC 9112, section 3.2), as the client spelled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetForm {
    /// Path and query.
    Origin(String),
    Absolute(String),
}

/// Who speaks to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontend {
    /// The client itself, or somebody on whose word nothing depends.
    Direct,
    /// Our own nginx.
    TrustedNginx {
        /// It has tried to send a stored file and could not.
        file_missing: bool,
    },
}

#[derive(Debug, Clone)]
pub struct RequestOrigin {
    pub client: IpAddr,
    pub form: TargetForm,
    pub version: HttpVersion,
    pub frontend: Frontend,
}

impl RequestOrigin {
    /// At the proxy port everything is in the request itself, and the client in its connection's
    /// PROXY header.
    pub fn at_proxy_port(request: &HttpRequest) -> Self {
        Self {
            client: peer_of(request),
            form: TargetForm::of_uri(request.uri()),
            version: version_of(request),
            frontend: Frontend::Direct,
        }
    }

    /// At the gateway port our own nginx is believed what it says of a request.
    pub(super) fn at_gateway_port(request: &HttpRequest, service: &HttpService) -> Self {
        let peer = peer_of(request);
        let headers = request.headers();
        let mut request_origin = Self {
            client: peer,
            ..Self::at_proxy_port(request)
        };
        if service.is_trusted_proxy(peer) {
            if headers.contains_key("x-forwarded-for") {
                // A client that our own nginx cannot name is nobody whom a network could allow.
                request_origin.client = service
                    .forwarded_for(headers)
                    .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
            if let Some(line) = headers.get(REQUEST_LINE) {
                request_origin.frontend = Frontend::TrustedNginx {
                    file_missing: headers.contains_key(FILE_MISSING),
                };
                // An empty target stands for a malformed request line.
                (request_origin.form, request_origin.version) = read_request_line(line.as_bytes())
                    .unwrap_or((TargetForm::Origin(String::new()), HttpVersion::Http11));
            }
        }
        request_origin.form = request_origin
            .form
            .rebase_on_public_url(service.settings.load().public_authority.as_deref());
        request_origin
    }

    /// Whether it comes from a process beside ours, such as a container's health check.
    pub fn is_loopback(&self) -> bool {
        self.frontend == Frontend::Direct && self.client.is_loopback()
    }

    /// The path of a request for something of ours.
    pub fn path(&self) -> Option<&str> {
        match &self.form {
            TargetForm::Origin(path_and_query) => path_and_query.split('?').next(),
            TargetForm::Absolute(_) => None,
        }
    }
}

impl TargetForm {
    fn of_uri(uri: &Uri) -> Self {
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

    fn of_text(text: &str) -> Self {
        if text.starts_with('/') {
            Self::Origin(text.to_owned())
        } else {
            Self::Absolute(text.to_owned())
        }
    }

    /// An absolute target with our own authority is a path of ours (RFC 9112, section 3.2.2).
    fn rebase_on_public_url(self, public_authority: Option<&str>) -> Self {
        let Self::Absolute(text) = &self else {
            return self;
        };
        let Some((_, rest)) = text.split_once("://") else {
            return self;
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = authority.to_ascii_lowercase();
        if public_authority.is_none_or(|ours| without_port_80(ours) != without_port_80(&authority))
        {
            return self;
        }
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

fn without_port_80(authority: &str) -> &str {
    authority.strip_suffix(":80").unwrap_or(authority)
}

/// `GET /https://host/x HTTP/1.1`: all three parts, or it is no request that we take.
fn read_request_line(line: &[u8]) -> Option<(TargetForm, HttpVersion)> {
    let parts: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [_, target, version] = parts[..] else {
        return None;
    };
    let version = match version {
        "HTTP/1.1" | "HTTP/2.0" | "HTTP/3.0" => HttpVersion::Http11,
        // nginx takes HTTP/1.00 for 1.0.
        version if version.starts_with("HTTP/") => HttpVersion::Http10,
        _ => return None,
    };
    Some((TargetForm::of_text(target), version))
}

fn version_of(request: &HttpRequest) -> HttpVersion {
    if request.version() < Version::HTTP_11 {
        HttpVersion::Http10
    } else {
        HttpVersion::Http11
    }
}

impl HttpService {
    pub(super) fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.settings
            .load()
            .trusted_proxies
            .iter()
            .any(|network| network.contains(&peer))
    }

    /// The last address in `X-Forwarded-For` that is not one of our own: those before it are the
    /// client's word.
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
            if !self.is_trusted_proxy(address) {
                break;
            }
        }
        client
    }
}

/// The peer as the listener set it: the TCP peer, or at the proxy port the client of the PROXY
/// header.
fn peer_of(request: &HttpRequest) -> IpAddr {
    request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.ip().to_canonical()
        })
}
