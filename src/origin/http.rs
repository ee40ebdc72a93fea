//! Origins of http and https.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE, USER_AGENT, VIA};
use reqwest::{Client, Proxy, redirect};
use tokio::time::timeout;
use url::Url;

use super::{Config, Method, OriginError, Request, Response};
use crate::dial::{CheckedResolver, Dialer, resolvable_host};
use crate::policy::Admitted;

/// How long an unused connection to an origin is kept, and how many a host.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const POOL_IDLE_PER_HOST: usize = 16;

/// The longest that a request with a body may take to be answered.
const MAX_UPLOAD: Duration = Duration::from_hours(2);

/// The client of all http and https origins. Connections are reused.
#[derive(Debug)]
pub struct HttpOrigin {
    client: Client,
    config: Config,
    via: HeaderValue,
}

impl HttpOrigin {
    /// # Errors
    /// A line that names the key, if the egress proxy is no URL or the machine has no certificates.
    pub fn new(config: Config, dialer: Dialer) -> Result<Self, String> {
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
        Ok(Self { client, config, via })
    }

    /// Asks once. A redirect is an answer.
    ///
    /// # Errors
    /// [`OriginError`] where there is no answer. One of 4xx or 5xx is one.
    pub async fn ask(&self, hop: &Admitted, request: &mut Request) -> Result<Response, OriginError> {
        let mut headers = header_map(request, &self.via)?;
        let_in(&mut headers, hop, request)?;
        let mut builder =
            self.client.request(request.method.for_client()?, hop.target().url().clone()).headers(headers);
        // The clock for silence cannot run while a client is still sending.
        let patience = if request.body.is_some() { MAX_UPLOAD } else { self.config.idle_timeout };
        if let Some(body) = request.body.take() {
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
        Ok(Response::of_http(answer, hop.target(), &self.config))
    }
}

/// Adds what a rule says to let us in. Whoever brings his own means himself, and nobody changes anything in our name.
fn let_in(headers: &mut HeaderMap, hop: &Admitted, request: &Request) -> Result<(), OriginError> {
    let Some(access) = hop.access().filter(|_| matches!(request.method, Method::Get | Method::Head)) else {
        return Ok(());
    };
    for (name, value) in access.fields() {
        let invalid = || OriginError::Wrong("a header field of a rule is not valid".to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.entry(name).or_insert(value);
    }
    Ok(())
}

fn header_map(request: &Request, via: &HeaderValue) -> Result<HeaderMap, OriginError> {
    let invalid = |_| OriginError::Wrong("a header field is not valid".to_owned());
    let mut map = HeaderMap::new();
    for (name, value) in &request.headers {
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
    if let Some(resume) = &request.resume {
        map.insert(RANGE, HeaderValue::try_from(format!("bytes={}-", resume.offset)).map_err(invalid)?);
        map.insert(IF_RANGE, HeaderValue::try_from(&resume.validator).map_err(invalid)?);
    }
    Ok(map)
}
