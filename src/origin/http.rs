//! Origins of http and https.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE, USER_AGENT, VIA,
};
use reqwest::{Client, Proxy, redirect};
use tokio::time::timeout;
use url::Url;

use super::{OriginError, Response};
use crate::dial::{CheckedResolver, Dialer, resolvable_host};
use crate::model::TargetError;
use crate::policy::{Admitted, Policy};

/// How long an unused connection to an origin is kept, and how many a host.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const POOL_IDLE_PER_HOST: usize = 16;

/// The longest that a request with a body may take to be answered.
const MAX_UPLOAD: Duration = Duration::from_hours(2);

#[derive(Debug, Clone)]
pub struct Config {
    pub connect_timeout: Duration,
    /// How long an origin may say nothing, before its head and between bytes.
    pub idle_timeout: Duration,
    /// In bytes a second, over [`Config::idle_timeout`].
    pub min_speed_bytes: u64,
    pub max_redirects: usize,
    /// Empty: none.
    pub egress_proxy: String,
    /// Our name in `Via`.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Other(String),
}

impl Method {
    fn for_client(&self) -> Result<reqwest::Method, OriginError> {
        match self {
            Self::Get => Ok(reqwest::Method::GET),
            Self::Head => Ok(reqwest::Method::HEAD),
            Self::Other(name) => reqwest::Method::from_bytes(name.as_bytes())
                .map_err(|_| OriginError::Wrong("the method has no valid name".to_owned())),
        }
    }
}

/// The rest of a body of which the beginning is here.
#[derive(Debug, Clone)]
pub struct Resume {
    pub offset: u64,
    /// The strong validator under which the beginning came (RFC 9110, section 13.1.5).
    pub etag: String,
}

/// What is asked of an origin besides the target.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub resume: Option<Resume>,
    /// End-to-end header fields of a client whose request is passed through. Empty for everything that may be stored.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
    /// False hands a redirect on instead of following it.
    pub follow_redirects: bool,
    pub digest_expected: bool,
}

impl Request {
    /// A plain request that carries nothing of any client.
    #[must_use]
    pub fn plain(method: Method) -> Self {
        Self { method, resume: None, headers: Vec::new(), body: None, follow_redirects: true, digest_expected: false }
    }

    fn header_map(&self, via: &HeaderValue) -> Result<HeaderMap, OriginError> {
        let invalid = |_| OriginError::Wrong("a header field is not valid".to_owned());
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| OriginError::Wrong("a header field has no valid name".to_owned()))?;
            map.append(name, HeaderValue::from_bytes(value).map_err(invalid)?);
        }
        map.append(VIA, via.clone());
        if !map.contains_key(USER_AGENT) {
            map.insert(USER_AGENT, HeaderValue::from_static(concat!("millpond/", env!("CARGO_PKG_VERSION"))));
        }
        // What is stored must be the file itself, never a coding of it. A client that is passed through may want one.
        if !map.contains_key(ACCEPT_ENCODING) {
            map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(resume) = &self.resume {
            map.insert(RANGE, HeaderValue::try_from(format!("bytes={}-", resume.offset)).map_err(invalid)?);
            map.insert(IF_RANGE, HeaderValue::try_from(&resume.etag).map_err(invalid)?);
        }
        Ok(map)
    }
}

/// The client of all http and https origins. Connections are reused.
#[derive(Debug)]
pub struct HttpOrigin {
    client: Client,
    policy: Arc<Policy>,
    config: Config,
    via: HeaderValue,
}

impl HttpOrigin {
    /// # Errors
    /// A line that names the key, if the egress proxy is no URL or the machine has no certificates.
    pub fn new(config: Config, policy: Arc<Policy>, dialer: Dialer) -> Result<Self, String> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .http1_only()
            .referer(false)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST);
        let mut proxy_host = None;
        // The environment's http_proxy is not ours: it may point at this very service.
        builder = builder.no_proxy();
        if !config.egress_proxy.is_empty() {
            let url: Url = config.egress_proxy.parse().map_err(|why| format!("fetch.egress_proxy: {why}"))?;
            proxy_host = resolvable_host(&url);
            builder = builder.proxy(Proxy::all(url).map_err(|why| format!("fetch.egress_proxy: {why}"))?);
        }
        let client = builder
            .dns_resolver(Arc::new(CheckedResolver::new(dialer, proxy_host)))
            .build()
            .map_err(|why| format!("the client for https cannot be made (are ca-certificates installed?): {why:?}"))?;
        let via =
            HeaderValue::try_from(format!("1.1 {}", config.name)).map_err(|_| "gateway.name is no token".to_owned())?;
        Ok(Self { client, policy, config, via })
    }

    /// Asks for an admitted target and follows redirects, each of which policy judges.
    ///
    /// # Errors
    /// [`OriginError`] where there is no final answer. An answer of 4xx or 5xx is an answer.
    pub async fn ask(&self, admitted: &Admitted, mut request: Request) -> Result<Response, OriginError> {
        let headers = request.header_map(&self.via)?;
        let method = request.method.for_client()?;
        let mut body = request.body.take();
        let mut hop = admitted.clone();
        for _ in 0..=self.config.max_redirects {
            // The clock for silence cannot run while a client is still sending.
            let patience = if body.is_some() { MAX_UPLOAD } else { self.config.idle_timeout };
            let mut builder = self.client.request(method.clone(), hop.target().url().clone()).headers(headers.clone());
            if let Some(body) = body.take() {
                builder = builder.body(body);
            }
            let answer = timeout(patience, builder.send())
                .await
                .map_err(|_| OriginError::Silent("the origin did not answer in time".to_owned()))?
                .map_err(OriginError::of_client)?;
            if answer.status().is_informational() {
                // Handed on, it would make a blind tunnel of our own nginx's connection to us.
                return Err(OriginError::Wrong("the origin wants to speak another protocol".to_owned()));
            }
            let location = redirect_of(&answer);
            match location {
                Some(location) if request.follow_redirects => {
                    let location = location.map_err(|()| bad_location(TargetError::ControlByte))?;
                    let next = hop.target().join(&location).map_err(bad_location)?;
                    hop = self.policy.admit_hop(&hop, next, request.digest_expected)?;
                }
                _ => {
                    return Ok(Response::new(
                        answer,
                        hop.target(),
                        self.config.idle_timeout,
                        self.config.min_speed_bytes,
                    ));
                }
            }
        }
        Err(OriginError::Wrong(format!("more than {} redirects", self.config.max_redirects)))
    }
}

/// Where an answer redirects to, if it does (RFC 9110, section 15.4).
fn redirect_of(answer: &reqwest::Response) -> Option<Result<String, ()>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    Some(std::str::from_utf8(location.as_bytes()).map(str::to_owned).map_err(|_| ()))
}

fn bad_location(error: TargetError) -> OriginError {
    OriginError::Wrong(format!("the origin redirects to something that is not fetched: {error}"))
}
