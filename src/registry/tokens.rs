//! Authorization for registries: tokens, asked for without a login or with a credential, and user
//! names with passwords. It is kept for most of its life.
//!
//! A token is asked for once, whatever the number of requests that wait for it. The main type is
//! [`RegistryTokens`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;
use tokio::time::timeout;

use super::challenge::{LoginScheme, TokenService};
use super::credential::{RegistryCredential, RegistryLogin};
use super::login_schemes::{LoginSchemes, version_question};
use super::rate_limits::RateLimits;
use super::source::ImageSource;
use crate::gateway::{Gateway, Method, OriginAnswer, OriginError, OriginQuestion, RequestError};
use crate::model::{Secret, Sha256};
use crate::policy::ContentAudience;

/// Bound on the authorizations that are kept, one for each repository and credential.
const MAX_TOKENS: u64 = 10_000;

/// Time for which a denial is remembered. It bounds the requests to a service that denies them, and
/// the requests without a login for images that need one.
const DENIAL_TTL: Duration = Duration::from_mins(5);

/// Time for which a user name and a password are used without asking for the way to log in.
const PASSWORD_TTL: Duration = Duration::from_mins(5);

/// Wait for a token service. It bounds a request that has a form, too.
const TOKEN_WAIT: Duration = Duration::from_secs(30);

/// Life of a token that does not state it (distribution token specification).
const DEFAULT_LIFE_SECONDS: u64 = 60;

/// Longest time that a token is used.
const MAX_LIFE: Duration = Duration::from_hours(24);

/// Shortest time for which a fetch uses its token. The request that follows a token always has it.
const SHORTEST_USE: Duration = Duration::from_secs(1);

/// Part of the life of a token in which it is used, in tenths. The rest is for slow requests.
const USED_TENTHS: u32 = 8;

/// Bound on a token. Servers reject longer fields.
const MAX_TOKEN_BYTES: usize = (8 << 10) - "Bearer ".len();

/// Bound on the answer of a token service, which may state a token twice.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Error of a credential that a registry has no use for.
const UNUSABLE: RequestError = RequestError::Origin(OriginError::Status {
    status: 401,
    retry_after: None,
    challenge: None,
});

/// Authorization for all registries. Cheap to clone.
#[derive(Clone)]
pub struct RegistryTokens {
    gateway: Arc<Gateway>,
    limits: Arc<RateLimits>,
    schemes: LoginSchemes,
    tokens: Cache<TokenKey, KnownToken>,
}

/// Repository of a registry, how it asks for a login, and the credential that reads it. A token of
/// one service is of no use if the repository names another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    base: String,
    name: String,
    scheme: Option<Arc<LoginScheme>>,
    credential: Option<Sha256>,
}

/// A way to log in at a repository.
#[derive(Clone)]
pub struct RepositoryLogin<'a> {
    /// How the repository asks for a login. `None` if it has not asked yet.
    pub scheme: Option<Arc<LoginScheme>>,
    pub credential: Option<&'a RegistryCredential>,
}

/// Authorization for a repository.
#[derive(Debug, Clone)]
pub struct Authorized {
    /// The value of `Authorization`. `None` if the registry asks for none.
    pub value: Option<Secret>,
    /// Time at which it was got.
    pub at: Instant,
    /// Time from which a later request of the same fetch needs a newer one.
    pub renew_at: Instant,
}

/// Authorization or denial, for as long as it is used.
#[derive(Clone)]
struct KnownToken {
    outcome: Result<Authorized, RequestError>,
    used_for: Duration,
}

/// Answer of a token service (distribution token specification).
#[derive(Deserialize)]
struct TokenDocument {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Removes each token when it is no longer used.
struct UsedFor;

impl Expiry<TokenKey, KnownToken> for UsedFor {
    fn expire_after_create(
        &self,
        _key: &TokenKey,
        token: &KnownToken,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(token.used_for)
    }

    fn expire_after_update(
        &self,
        _key: &TokenKey,
        token: &KnownToken,
        _updated_at: Instant,
        _remaining: Option<Duration>,
    ) -> Option<Duration> {
        Some(token.used_for)
    }
}

impl KnownToken {
    fn new(value: Option<Secret>, used_for: Duration) -> Self {
        let at = Instant::now();
        Self {
            outcome: Ok(Authorized {
                value,
                at,
                renew_at: at + used_for.max(SHORTEST_USE),
            }),
            used_for,
        }
    }

    fn denied(error: RequestError) -> Self {
        Self {
            outcome: Err(error),
            used_for: DENIAL_TTL,
        }
    }
}

impl RegistryTokens {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, limits: Arc<RateLimits>) -> Self {
        let tokens = Cache::builder().max_capacity(MAX_TOKENS);
        Self {
            schemes: LoginSchemes::new(Arc::clone(&gateway)),
            gateway,
            limits,
            tokens: tokens.expire_after(UsedFor).build(),
        }
    }

    /// Returns how a repository asks for a login.
    ///
    /// # Errors
    /// [`RequestError`] if the registry does not answer, fails, or limits requests.
    pub async fn scheme(
        &self,
        source: &ImageSource<'_>,
    ) -> Result<Option<Arc<LoginScheme>>, RequestError> {
        self.schemes.find(source, &self.limits).await
    }

    /// Notes how a repository has asked for a login.
    pub async fn note_scheme(&self, source: &ImageSource<'_>, scheme: Arc<LoginScheme>) {
        self.schemes.note(source, scheme).await;
    }

    /// Returns the authorization for a repository, without a login or with a credential.
    ///
    /// # Errors
    /// [`RequestError`] if the token service does not answer, or denies the token, or if the
    /// repository was denied within five minutes.
    pub async fn authorization(
        &self,
        source: &ImageSource<'_>,
        login: &RepositoryLogin<'_>,
    ) -> Result<Authorized, RequestError> {
        // A kept token must not carry the large future of a request.
        let found = Box::pin(self.authorize(source, login));
        let token = self.tokens.try_get_with(key_of(source, login), found).await;
        let token = token.map_err(|error| (*error).clone())?;
        token.outcome
    }

    /// Returns the limits that registries state.
    #[must_use]
    pub fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// Forgets the authorization for a repository, and how its registry asks for a login.
    pub async fn forget(&self, source: &ImageSource<'_>, login: &RepositoryLogin<'_>) {
        self.tokens.invalidate(&key_of(source, login)).await;
        self.schemes.forget(source).await;
    }

    /// Remembers that a registry has denied a repository.
    pub async fn deny(
        &self,
        source: &ImageSource<'_>,
        login: &RepositoryLogin<'_>,
        error: RequestError,
    ) {
        if login.credential.is_some() {
            report_denial(source);
        }
        let key = key_of(source, login);
        self.tokens.insert(key, KnownToken::denied(error)).await;
    }

    async fn authorize(
        &self,
        source: &ImageSource<'_>,
        login: &RepositoryLogin<'_>,
    ) -> Result<KnownToken, RequestError> {
        let credential = login.credential.map(RegistryCredential::login);
        match (login.scheme.as_deref(), credential) {
            (Some(LoginScheme::Token(service)), credential) => {
                self.fetch_token(source, service, credential).await
            }
            (_, None) => Ok(KnownToken::new(None, DENIAL_TTL)),
            (Some(LoginScheme::Password), Some(RegistryLogin::Basic(value))) => {
                Ok(KnownToken::new(Some(value.clone()), PASSWORD_TTL))
            }
            // The registry asks for no login, or for none of this kind.
            (_, Some(_)) => Ok(KnownToken::denied(UNUSABLE)),
        }
    }

    async fn fetch_token(
        &self,
        source: &ImageSource<'_>,
        service: &TokenService,
        login: Option<&RegistryLogin>,
    ) -> Result<KnownToken, RequestError> {
        // The token service is named by a challenge of the registry.
        let question = version_question(source, MAX_ANSWER_BYTES)?;
        let question = match login {
            Some(RegistryLogin::IdentityToken(token)) => {
                let (url, form) = service.refresh_form(source.name, token);
                OriginQuestion {
                    method: Method::Other("POST".to_owned()),
                    named: Some(url),
                    form: Some(form),
                    ..question
                }
            }
            login => OriginQuestion {
                named: Some(service.token_url(source.name).ok_or_else(invalid_answer)?),
                access: source.access(basic_of(login), ContentAudience::Everyone),
                ..question
            },
        };
        let asked = timeout(TOKEN_WAIT, self.gateway.ask_origin(question)).await;
        let answer = asked.map_err(|_| RequestError::SilentRegistry)??;
        self.limits.note_answer(source.registry, &answer);
        match answer.status {
            200 => read_token(&answer),
            // A form with a token that is no longer valid is a bad request (RFC 6749, section 5.2).
            400 | 401 | 403 if login.is_some() => {
                report_denial(source);
                Ok(KnownToken::denied(UNUSABLE))
            }
            401 | 403 => Ok(KnownToken::denied(answer.into_error())),
            _ => Err(answer.into_error()),
        }
    }
}

/// Logs that a credential does not give a repository. The operator may have to replace it.
fn report_denial(source: &ImageSource<'_>) {
    let (registry, repository) = (source.registry.name(), source.name);
    tracing::warn!(registry, %repository, "registry denies a credential for a repository");
}

fn basic_of(login: Option<&RegistryLogin>) -> Option<Secret> {
    match login {
        Some(RegistryLogin::Basic(value)) => Some(value.clone()),
        Some(RegistryLogin::IdentityToken(_)) | None => None,
    }
}

fn key_of(source: &ImageSource<'_>, login: &RepositoryLogin<'_>) -> TokenKey {
    TokenKey {
        base: source.registry.base().to_owned(),
        name: source.name.as_str().to_owned(),
        scheme: login.scheme.clone(),
        credential: login.credential.map(RegistryCredential::id),
    }
}

fn read_token(answer: &OriginAnswer) -> Result<KnownToken, RequestError> {
    let document: TokenDocument =
        serde_json::from_slice(&answer.body).map_err(|_| invalid_answer())?;
    let token = document.token.filter(|token| !token.is_empty());
    let token = token.or(document.access_token);
    let is_token = |token: &String| {
        (1..=MAX_TOKEN_BYTES).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let token = token.filter(is_token).ok_or_else(invalid_answer)?;
    let life = document.expires_in.unwrap_or(DEFAULT_LIFE_SECONDS);
    let life = Duration::from_secs(life).min(MAX_LIFE);
    let value = Secret::from(format!("Bearer {token}"));
    Ok(KnownToken::new(Some(value), life * USED_TENTHS / 10))
}

fn invalid_answer() -> RequestError {
    RequestError::RegistryFault("the token service of the registry sent no token")
}
