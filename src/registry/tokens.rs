//! Tokens of registries, asked for without credentials and kept for most of their life.
//!
//! A token is asked for once, whatever the number of requests that wait for it. The main type is
//! [`RegistryTokens`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;

use super::challenge::TokenService;
use super::source::ImageSource;
use crate::gateway::{Gateway, Method, OriginAnswer, OriginQuestion, RequestError};
use crate::model::{Secret, Target};

/// Time for which the token service of a registry is known.
const SERVICE_TTL: Duration = Duration::from_hours(1);

/// Bound on the token services that are known. There is one for each registry.
const MAX_SERVICES: u64 = 200;

/// Bound on the tokens that are kept, one for each repository.
const MAX_TOKENS: u64 = 10_000;

/// Time for which a denial is remembered. It bounds the requests to a service that denies them.
const DENIAL_TTL: Duration = Duration::from_mins(5);

/// Life of a token that does not state it (distribution token specification).
const DEFAULT_LIFE_SECONDS: u64 = 60;

/// Longest time that a token is used.
const MAX_LIFE: Duration = Duration::from_hours(24);

/// Part of the life of a token in which it is used, in tenths. The rest is for slow requests.
const USED_TENTHS: u32 = 8;

/// Bound on a token. Servers reject longer fields.
const MAX_TOKEN_BYTES: usize = (8 << 10) - "Bearer ".len();

/// Bound on the answer of a token service, which may state a token twice.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Bound on the body of the answer to `/v2/`, which is not used.
const MAX_VERSION_BYTES: usize = 4 << 10;

/// Tokens of all registries.
pub struct RegistryTokens {
    gateway: Arc<Gateway>,
    /// By the base URL of the registry. `None` for a registry that asks for no token.
    services: Cache<String, Option<Arc<TokenService>>>,
    tokens: Cache<TokenKey, KnownToken>,
}

/// Base URL of the registry, and name of the repository.
type TokenKey = (String, String);

/// Answer of a token service, for as long as it is used.
#[derive(Clone)]
struct KnownToken {
    /// The value of `Authorization`, or the denial.
    outcome: Result<Secret, RequestError>,
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
}

impl RegistryTokens {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let services = Cache::builder().max_capacity(MAX_SERVICES);
        let tokens = Cache::builder().max_capacity(MAX_TOKENS);
        Self {
            gateway,
            services: services.time_to_live(SERVICE_TTL).build(),
            tokens: tokens.expire_after(UsedFor).build(),
        }
    }

    /// Returns the value of `Authorization` for a repository, if the registry asks for a token.
    ///
    /// # Errors
    /// [`RequestError`] if the registry or its token service does not answer, or denies the token.
    pub async fn authorization(
        &self,
        source: &ImageSource<'_>,
    ) -> Result<Option<Secret>, RequestError> {
        let base = source.registry.base();
        let found = self.find_service(source);
        let service = self.services.try_get_with_by_ref(base, found).await;
        let Some(service) = service.map_err(|error| (*error).clone())? else {
            return Ok(None);
        };
        let key = (base.to_owned(), source.name.as_str().to_owned());
        let fetched = self.fetch_token(source, &service);
        let token = self.tokens.try_get_with(key, fetched).await;
        let token = token.map_err(|error| (*error).clone())?;
        token.outcome.map(Some)
    }

    /// Forgets the token of a repository that the registry has denied.
    pub async fn forget(&self, source: &ImageSource<'_>) {
        let base = source.registry.base();
        let key = (base.to_owned(), source.name.as_str().to_owned());
        self.tokens.invalidate(&key).await;
        self.services.invalidate(base).await;
    }

    /// Asks a registry for its token service.
    async fn find_service(
        &self,
        source: &ImageSource<'_>,
    ) -> Result<Option<Arc<TokenService>>, RequestError> {
        let question = question(source, source.registry.version()?, MAX_VERSION_BYTES);
        let answer = self.gateway.ask_origin(question).await?;
        match answer.status {
            401 => {
                let service = TokenService::find(answer.fields("www-authenticate"));
                Ok(service.map(Arc::new))
            }
            429 | 500.. => Err(answer.into_error()),
            _ => Ok(None),
        }
    }

    async fn fetch_token(
        &self,
        source: &ImageSource<'_>,
        service: &TokenService,
    ) -> Result<KnownToken, RequestError> {
        let url = service.token_url(source.name).ok_or_else(invalid_answer)?;
        let question = OriginQuestion {
            named: Some(url),
            ..question(source, source.registry.version()?, MAX_ANSWER_BYTES)
        };
        let answer = self.gateway.ask_origin(question).await?;
        match answer.status {
            200 => read_token(&answer),
            401 | 403 => Ok(KnownToken {
                outcome: Err(answer.into_error()),
                used_for: DENIAL_TTL,
            }),
            _ => Err(answer.into_error()),
        }
    }
}

fn question(source: &ImageSource<'_>, target: Target, max_body_bytes: usize) -> OriginQuestion {
    OriginQuestion {
        client: source.client,
        method: Method::Get,
        target,
        named: None,
        headers: Vec::new(),
        authorization: None,
        max_body_bytes,
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
    Ok(KnownToken {
        outcome: Ok(Secret::from(format!("Bearer {token}"))),
        used_for: life * USED_TENTHS / 10,
    })
}

fn invalid_answer() -> RequestError {
    RequestError::RegistryFault("the token service of the registry sent no token")
}
