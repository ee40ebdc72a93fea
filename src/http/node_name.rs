//! The name of this node, in the forms that responses need.
//!
//! Most responses have the same values, so they are formatted once. The main type is [`NodeName`].

use std::fmt;

use actix_web::http::header::HeaderValue;

use crate::gateway::CacheStatus;
use crate::model::HttpVersion;

/// Name of this node in `Via` and `Cache-Status`.
pub struct NodeName {
    name: String,
    via_1_0: HeaderValue,
    via_1_1: HeaderValue,
    /// `Cache-Status` of a hit.
    hit: HeaderValue,
    /// `Cache-Status` of a redirect to the origin.
    redirect: HeaderValue,
}

impl NodeName {
    /// Returns the name of a node. The configuration admits only bytes of a token in `name`.
    pub fn new(name: String) -> Self {
        let via = |version: HttpVersion| header_value(format!("{} {name}", version.as_str()));
        Self {
            via_1_0: via(HttpVersion::Http10),
            via_1_1: via(HttpVersion::Http11),
            hit: header_value(format!("{name}; {}", CacheStatus::Hit)),
            redirect: header_value(format!("{name}; {}", CacheStatus::Redirect)),
            name,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the value of `Via` for a response that was received in this version (RFC 9110,
    /// section 7.6.3). Millpond's own and its stored responses are of HTTP/1.1.
    pub fn via(&self, received: HttpVersion) -> HeaderValue {
        match received {
            HttpVersion::Http10 => self.via_1_0.clone(),
            HttpVersion::Http11 => self.via_1_1.clone(),
        }
    }

    /// Returns the value of `Cache-Status` (RFC 9211).
    pub fn cache_status(&self, status: CacheStatus) -> HeaderValue {
        match status {
            CacheStatus::Hit => self.hit.clone(),
            CacheStatus::Redirect => self.redirect.clone(),
            status => header_value(format!("{}; {status}", self.name)),
        }
    }
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("a name and a status consist of visible ASCII")
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
