//! Small requests of Millpond's own, such as for a token of a container registry. Nothing of their
//! answers is stored.
//!
//! The entry point is [`ask`].

use std::net::IpAddr;

use super::error::RequestError;
use super::services::GatewayServices;
use crate::freshness::Staleness;
use crate::model::{ExpectedDigests, HttpVersion, Secret, Target};
use crate::passthrough::{Method, OriginError, PassThroughRequest};
use crate::policy::Admitted;

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
    pub authorization: Option<Secret>,
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
    let request = PassThroughRequest {
        method: question.method,
        version: HttpVersion::Http11,
        headers: question.headers,
        body: None,
        follow_redirects: true,
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
    let admitted = policy.admit(target)?;
    let admitted = match &question.named {
        Some(named) => policy.admit_hop(&admitted, named.clone(), false)?,
        None => admitted,
    };
    Ok(admitted
        .with_authorization(&question.target, question.authorization.as_ref())
        .for_client(policy.pool_client(question.client)))
}
