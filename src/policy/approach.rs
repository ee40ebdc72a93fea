//! How a host is approached: by which way, in how many places at once, how often, and with what it lets us in.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::access::Access;
use crate::model::Secret;

/// In the configuration: no proxy, whatever holds for the others.
const NONE: &str = "none";

/// By which way the requests go. The URL of a proxy may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    Direct,
    Proxy(Secret),
}

impl Egress {
    /// Reads a URL, `none`, or nothing.
    ///
    /// # Errors
    /// A line that shows no password.
    pub fn parse(text: &Secret) -> Result<Option<Self>, String> {
        match text.expose() {
            "" => Ok(None),
            NONE => Ok(Some(Self::Direct)),
            url if is_proxy_url(url) => Ok(Some(Self::Proxy(text.clone()))),
            _ => Err("must be \"none\", or like \"http://proxy.example.org:3128\"".to_owned()),
        }
    }
}

/// Whether something can be asked in place of an origin.
#[must_use]
pub fn is_proxy_url(url: &str) -> bool {
    url.parse().is_ok_and(|url: Url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// What the rules say of asking one host. Nothing said means as `[fetch]` says of all.
#[derive(Debug, Clone, Default)]
pub struct Approach {
    pub access: Option<Arc<Access>>,
    /// Fetches at once.
    pub per_host: Option<usize>,
    /// Between the beginnings of two requests.
    pub delay: Duration,
    pub egress: Option<Egress>,
}

impl Approach {
    /// The same way for somebody who is not told what lets us in elsewhere.
    #[must_use]
    pub fn without_access(self) -> Self {
        Self { access: None, ..self }
    }
}
