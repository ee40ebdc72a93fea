//! Newer tokens for a fetch that takes longer than the life of its token: for further ranges of a
//! body, and for the rest of a truncated one. The main type is [`TokenRenewal`].

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt};

use super::challenge::LoginScheme;
use super::credential::RegistryCredential;
use super::repository::RepositoryName;
use super::source::{ImageReader, ImageSource};
use super::table::ContainerRegistry;
use super::tokens::{RegistryTokens, RepositoryLogin};
use crate::model::Secret;
use crate::policy::AuthorizationRenewal;

/// Renewal of the token of one fetch.
pub struct TokenRenewal {
    tokens: RegistryTokens,
    registry: ContainerRegistry,
    name: RepositoryName,
    reader: ImageReader,
    scheme: Arc<LoginScheme>,
    credential: Option<RegistryCredential>,
    renew_at: Instant,
}

impl TokenRenewal {
    /// Creates the renewal of a token that is used until `renew_at`. `None` if the repository does
    /// not ask for tokens.
    #[must_use]
    pub fn new(
        tokens: &RegistryTokens,
        source: &ImageSource<'_>,
        login: &RepositoryLogin<'_>,
        renew_at: Instant,
    ) -> Option<Self> {
        let scheme = login.scheme.as_ref();
        let scheme = scheme.filter(|scheme| matches!(***scheme, LoginScheme::Token(_)))?;
        Some(Self {
            tokens: tokens.clone(),
            registry: source.registry.clone(),
            name: source.name.clone(),
            reader: source.reader,
            scheme: Arc::clone(scheme),
            credential: login.credential.cloned(),
            renew_at,
        })
    }

    async fn authorization(&self) -> Option<Secret> {
        if Instant::now() < self.renew_at {
            return None;
        }
        let source = ImageSource {
            registry: &self.registry,
            name: &self.name,
            reader: self.reader,
        };
        let login = RepositoryLogin {
            scheme: Some(Arc::clone(&self.scheme)),
            credential: self.credential.as_ref(),
        };
        match self.tokens.authorization(&source, &login).await {
            Ok(authorized) => authorized.value,
            Err(error) => {
                let (registry, repository) = (self.registry.name(), &self.name);
                tracing::warn!(registry, %repository, %error, "token of a fetch was not renewed");
                None
            }
        }
    }
}

impl AuthorizationRenewal for TokenRenewal {
    fn renewed(&self) -> BoxFuture<'_, Option<Secret>> {
        self.authorization().boxed()
    }
}
