//! Ways to ask a registry for one request: without a login first, and then with each credential.
//! Content that only a credential gives is private.
//!
//! The main type is [`AccessAttempts`].

use std::time::Instant;

use super::credential::RegistryCredential;
use super::source::ImageSource;
use super::tokens::{Authorized, RegistryTokens};
use crate::gateway::{OriginError, RequestError};
use crate::policy::{ContentAudience, UpstreamAccess};

/// One way to ask, with its token.
pub struct AccessAttempt<'a> {
    pub access: UpstreamAccess,
    credential: Option<&'a RegistryCredential>,
    /// Time at which the token was asked for.
    authorized_at: Instant,
}

/// The ways to ask for one request, in order.
pub struct AccessAttempts<'a> {
    tokens: &'a RegistryTokens,
    source: &'a ImageSource<'a>,
    began: Instant,
    /// Number of the next way. The first one is without a login.
    next: usize,
    denial: Option<RequestError>,
    /// Whether the next way was tried with an old token.
    is_repeated: bool,
}

impl<'a> AccessAttempts<'a> {
    #[must_use]
    pub fn new(tokens: &'a RegistryTokens, source: &'a ImageSource<'a>) -> Self {
        Self {
            tokens,
            source,
            began: Instant::now(),
            next: 0,
            denial: None,
            is_repeated: false,
        }
    }

    /// Returns the next way to ask. Ways that were denied within five minutes are left out.
    ///
    /// # Errors
    /// The last denial if there is no other way, [`RequestError::RegistryLimit`] while the registry
    /// limits requests, or another [`RequestError`] without an answer.
    pub async fn next_attempt(&mut self) -> Result<AccessAttempt<'a>, RequestError> {
        self.tokens.limits().check(self.source.registry)?;
        loop {
            let credential = match self.next {
                0 => None,
                number => {
                    let credential = self.source.credentials().get(number - 1);
                    Some(credential.ok_or_else(|| self.last_denial())?)
                }
            };
            match self.tokens.authorization(self.source, credential).await {
                Ok(authorized) => return Ok(self.attempt(credential, authorized)),
                Err(error) if is_denial(&error) => self.advance(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes that the registry has denied an attempt. If its token is older than this request, the
    /// same way is tried with a new one.
    pub async fn note_denial(&mut self, attempt: &AccessAttempt<'_>, error: RequestError) {
        let is_old = attempt.access.authorization.is_some() && attempt.authorized_at < self.began;
        if is_old && !self.is_repeated {
            self.tokens.forget(self.source, attempt.credential).await;
            self.is_repeated = true;
            return;
        }
        let (source, credential) = (self.source, attempt.credential);
        if source.registry.credentials().is_empty() {
            self.tokens.forget(source, None).await;
        } else if is_login_wanted(&error) {
            self.tokens.deny(source, credential, error.clone()).await;
        }
        self.advance(error);
    }

    fn attempt(
        &self,
        credential: Option<&'a RegistryCredential>,
        authorized: Authorized,
    ) -> AccessAttempt<'a> {
        let audience = match credential {
            None => ContentAudience::Everyone,
            Some(_) => ContentAudience::Permitted,
        };
        AccessAttempt {
            access: self.source.access(authorized.value, audience),
            credential,
            authorized_at: authorized.at,
        }
    }

    fn advance(&mut self, denial: RequestError) {
        self.denial = Some(denial);
        self.next += 1;
        self.is_repeated = false;
    }

    /// Returns the error of a request that no way has answered.
    fn last_denial(&self) -> RequestError {
        let registry = self.source.registry;
        let denial = self.denial.clone();
        denial
            .filter(|_| registry.credentials().is_empty() || self.source.allows_private())
            .unwrap_or(RequestError::PrivateImage)
    }
}

/// Whether a registry wants a login, or another one. A 403 may be that of the storage behind it.
fn is_login_wanted(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Origin(OriginError::Status { status: 401, .. })
    )
}

/// Whether a registry or its token service denies a request.
pub fn is_denial(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Origin(OriginError::Status {
            status: 401 | 403,
            ..
        })
    )
}
