//! Ways to ask a registry for one request: without a login first, and then with each credential.
//! Content that only a credential gives is private.
//!
//! The main type is [`AccessAttempts`].

use std::sync::Arc;
use std::time::Instant;

use super::challenge::LoginScheme;
use super::source::ImageSource;
use super::token_renewal::TokenRenewal;
use super::tokens::{Authorized, RegistryTokens, RepositoryLogin};
use crate::gateway::{OriginError, RequestError};
use crate::policy::{ContentAudience, SharedRenewal, UpstreamAccess};

/// One way to ask, with its token.
pub struct AccessAttempt<'a> {
    pub access: UpstreamAccess,
    login: RepositoryLogin<'a>,
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
    /// Whether the next way was tried before the repository asked for another login.
    is_challenged: bool,
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
            is_challenged: false,
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
            let scheme = self.tokens.scheme(self.source).await?;
            let login = RepositoryLogin { scheme, credential };
            match self.tokens.authorization(self.source, &login).await {
                Ok(authorized) => return Ok(self.attempt(login, authorized)),
                Err(error) if is_denial(&error) => self.advance(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes that the registry has denied an attempt. The same way is tried again if its token is
    /// older than this request, or if the repository asks for another login.
    pub async fn note_denial(&mut self, attempt: &AccessAttempt<'_>, error: RequestError) {
        let (source, mut login) = (self.source, attempt.login.clone());
        if let Some(scheme) = other_scheme(&login, &error) {
            let scheme = Arc::new(scheme);
            self.tokens.note_scheme(source, Arc::clone(&scheme)).await;
            let has_secret = login.credential.is_some();
            let is_usable = has_secret || matches!(*scheme, LoginScheme::Token(_));
            if is_usable && !self.is_challenged {
                self.is_challenged = true;
                return;
            }
            login.scheme = Some(scheme);
        } else {
            let has_token = attempt.access.authorization.is_some();
            let is_old = has_token && attempt.authorized_at < self.began;
            if is_old && !self.is_repeated {
                self.tokens.forget(source, &login).await;
                self.is_repeated = true;
                return;
            }
        }
        if source.registry.credentials().is_empty() {
            self.tokens.forget(source, &login).await;
        } else if is_login_wanted(&error) {
            self.tokens.deny(source, &login, error.clone()).await;
        }
        self.advance(error);
    }

    fn attempt(&self, login: RepositoryLogin<'a>, authorized: Authorized) -> AccessAttempt<'a> {
        let audience = match login.credential {
            None => ContentAudience::Everyone,
            Some(_) => ContentAudience::Permitted,
        };
        let renew_at = authorized.renew_at;
        let renewal = TokenRenewal::new(self.tokens, self.source, &login, renew_at);
        let access = self.source.access(authorized.value, audience);
        AccessAttempt {
            access: UpstreamAccess {
                renewal: renewal.map(|renewal| SharedRenewal(Arc::new(renewal))),
                ..access
            },
            login,
            authorized_at: authorized.at,
        }
    }

    fn advance(&mut self, denial: RequestError) {
        self.denial = Some(denial);
        self.next += 1;
        self.is_repeated = false;
        self.is_challenged = false;
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

/// Returns how a repository asks for a login, if the attempt was made for another way.
fn other_scheme(login: &RepositoryLogin<'_>, error: &RequestError) -> Option<LoginScheme> {
    let RequestError::Origin(OriginError::Status {
        challenge: Some(challenge),
        ..
    }) = error
    else {
        return None;
    };
    let scheme = LoginScheme::find(challenge.lines())?;
    (login.scheme.as_deref() != Some(&scheme)).then_some(scheme)
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
