//! Small requests of Millpond's own, such as for a token of a container registry. Nothing of their
//! answers is stored.
//!
//! The entry point is [`ask`].

use std::net::IpAddr;
use std::time::Duration;

use super::error::RequestError;
use super::services::GatewayServices;
use crate::freshness::Staleness;
use crate::model::{ExpectedDigests, HttpVersion, Secret, Target};
use crate::passthrough::{Method, OriginError, PassThroughRequest};
use crate::policy::{Admitted, UpstreamAccess};

/// Media type of a form.
const FORM_TYPE: &[u8] = b"application/x-www-form-urlencoded";

/// Request for a small document.
#[derive(Debug)]
pub struct OriginQuestion {
    /// Client for which Millpond asks.
    pub client: IpAddr,
    pub method: Method,
    pub target: Target,
    /// Target that an answer of `target` has named. It is asked in place of `target`, as if that
    /// had redirected there.
    pub named: Option<Target>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Way in which Millpond asks. Its authorization is for `named`, if there is one.
    pub access: UpstreamAccess,
    /// Form to send by POST, for a token. Then no redirect is followed.
    pub form: Option<Secret>,
    /// Bound on the body. The rest of a longer one is not read.
    pub max_body_bytes: usize,
}

/// Answer of an origin, with any status.
#[derive(Debug)]
pub struct OriginAnswer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    error: OriginError,
}

impl OriginAnswer {
    /// Returns the values of a field.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.headers.iter().filter(move |(own, _)| own == name);
        fields.filter_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Returns the time that the origin asks to wait, within a bound.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.error.retry_after()
    }

    /// Returns the status as an error, for a caller that needs another one.
    #[must_use]
    pub fn into_error(self) -> RequestError {
        RequestError::Origin(self.error)
    }
}

/// Asks an origin, within the limits of its host and of the client.
///
/// # Errors
/// [`RequestError`] without an answer.
pub async fn ask(
    services: &GatewayServices,
    question: OriginQuestion,
) -> Result<OriginAnswer, RequestError> {
    let admitted = admit(services, &question)?;
    let fetcher = &services.fetcher;
    let host_permit = fetcher
        .acquire_lone_permit(&admitted, Staleness::MayServe)
        .await?;
    let (pool_client, host) = (admitted.pool_client(), admitted.target().host());
    let permit = services
        .upstream
        .acquire_pass_through_permit(pool_client, host)
        .await?;
    let mut headers = question.headers;
    if question.form.is_some() {
        headers.push(("content-type".to_owned(), FORM_TYPE.into()));
    }
    let body = question.form.as_ref();
    let request = PassThroughRequest {
        method: question.method,
        version: HttpVersion::Http11,
        headers,
        body: body.map(|form| form.expose().to_owned().into()),
        follow_redirects: body.is_none(),
        expected: ExpectedDigests::nothing(),
    };
    let sent = services.passthrough.send(&admitted, request).await;
    let mut response = sent.map_err(RequestError::Origin)?;
    let mut body = Vec::new();
    while let Some(bytes) = response.next().await.map_err(RequestError::Origin)? {
        body.extend_from_slice(&bytes);
        if body.len() >= question.max_body_bytes {
            break;
        }
    }
    body.truncate(question.max_body_bytes);
    drop((host_permit, permit));
    Ok(OriginAnswer {
        status: response.status,
        error: response.as_error(),
        headers: response.headers,
        body,
    })
}

fn admit(services: &GatewayServices, question: &OriginQuestion) -> Result<Admitted, RequestError> {
    let (policy, target) = (&services.policy, question.target.clone());
    let access = &question.access;
    let admitted = policy.admit(target)?.with_egress(access.egress.as_ref());
    let (admitted, asked) = match &question.named {
        Some(named) => (policy.admit_hop(&admitted, named.clone(), false)?, named),
        None => (admitted, &question.target),
    };
    Ok(admitted
        .with_authorization(asked, access.authorization.as_ref())
        .for_client(policy.pool_client(question.client)))
}
