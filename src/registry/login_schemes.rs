//! How registries and their repositories ask for a login. The main type is [`LoginSchemes`].

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::challenge::LoginScheme;
use super::rate_limits::RateLimits;
use super::source::ImageSource;
use crate::gateway::{Gateway, Method, OriginQuestion, RequestError};
use crate::policy::ContentAudience;

/// Time for which the way to log in is known.
const SCHEME_TTL: Duration = Duration::from_hours(1);

/// Bound on the registries of which the way to log in is known.
const MAX_REGISTRIES: u64 = 200;

/// Bound on the repositories of which the way to log in is known.
const MAX_REPOSITORIES: u64 = 10_000;

/// Bound on the body of the answer to `/v2/`, which is not used.
const MAX_VERSION_BYTES: usize = 4 << 10;

/// Ways to log in at all registries. Cheap to clone.
#[derive(Clone)]
pub struct LoginSchemes {
    gateway: Arc<Gateway>,
    /// By the base URL. `None` for a registry whose `/v2/` asks for no login.
    of_registries: Cache<String, Option<Arc<LoginScheme>>>,
    /// By the base URL and the name. A repository may ask for a login at a registry that does not.
    of_repositories: Cache<(String, String), Arc<LoginScheme>>,
}

impl LoginSchemes {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let registries = Cache::builder().max_capacity(MAX_REGISTRIES);
        let repositories = Cache::builder().max_capacity(MAX_REPOSITORIES);
        Self {
            gateway,
            of_registries: registries.time_to_live(SCHEME_TTL).build(),
            of_repositories: repositories.time_to_live(SCHEME_TTL).build(),
        }
    }

    /// Returns how a repository asks for a login: as its last challenge says, otherwise as the
    /// registry says at `/v2/`.
    ///
    /// # Errors
    /// [`RequestError`] if the registry does not answer, fails, or limits requests.
    pub async fn find(
        &self,
        source: &ImageSource<'_>,
        limits: &RateLimits,
    ) -> Result<Option<Arc<LoginScheme>>, RequestError> {
        if let Some(scheme) = self.of_repositories.get(&key_of(source)).await {
            return Ok(Some(scheme));
        }
        let asked = Box::pin(self.ask(source, limits));
        let found = self
            .of_registries
            .try_get_with_by_ref(source.registry.base(), asked);
        found.await.map_err(|error| (*error).clone())
    }

    /// Notes how a repository has asked for a login.
    pub async fn note(&self, source: &ImageSource<'_>, scheme: Arc<LoginScheme>) {
        self.of_repositories.insert(key_of(source), scheme).await;
    }

    /// Forgets how a registry and a repository of it ask for a login.
    pub async fn forget(&self, source: &ImageSource<'_>) {
        self.of_repositories.invalidate(&key_of(source)).await;
        self.of_registries.invalidate(source.registry.base()).await;
    }

    async fn ask(
        &self,
        source: &ImageSource<'_>,
        limits: &RateLimits,
    ) -> Result<Option<Arc<LoginScheme>>, RequestError> {
        let question = version_question(source, MAX_VERSION_BYTES)?;
        let answer = self.gateway.ask_origin(question).await?;
        limits.note_answer(source.registry, &answer);
        match answer.status {
            401 => {
                let challenges: Vec<_> = answer.fields("www-authenticate").collect();
                let scheme = LoginScheme::find(challenges.iter().copied());
                Ok(scheme.map(Arc::new))
            }
            429 | 500.. => Err(answer.into_error()),
            _ => Ok(None),
        }
    }
}

/// Returns a GET of `/v2/` of the registry, without a login.
///
/// # Errors
/// [`RequestError`] if the URL of the registry is invalid.
pub fn version_question(
    source: &ImageSource<'_>,
    max_body_bytes: usize,
) -> Result<OriginQuestion, RequestError> {
    Ok(OriginQuestion {
        client: source.client(),
        method: Method::Get,
        target: source.registry.version()?,
        named: None,
        headers: Vec::new(),
        access: source.access(None, ContentAudience::Everyone),
        form: None,
        max_body_bytes,
    })
}

fn key_of(source: &ImageSource<'_>) -> (String, String) {
    let base = source.registry.base().to_owned();
    (base, source.name.as_str().to_owned())
}
