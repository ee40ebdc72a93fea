//! Repository that a client asks for. The main type is [`ImageSource`].

use std::net::IpAddr;

use super::credential::RegistryCredential;
use super::repository::RepositoryName;
use super::table::ContainerRegistry;
use crate::model::Secret;
use crate::policy::{ContentAudience, UpstreamAccess};

/// A repository at its registry, and the client that asks for it.
#[derive(Debug, Clone, Copy)]
pub struct ImageSource<'a> {
    pub registry: &'a ContainerRegistry,
    pub name: &'a RepositoryName,
    pub client: IpAddr,
}

impl<'a> ImageSource<'a> {
    /// Returns whether the client may have what needed credentials.
    #[must_use]
    pub fn allows_private(&self) -> bool {
        self.registry.allows_private(self.client)
    }

    /// Returns the credentials with which the registry may be asked for the client.
    #[must_use]
    pub fn credentials(&self) -> &'a [RegistryCredential] {
        if self.allows_private() {
            self.registry.credentials()
        } else {
            &[]
        }
    }

    /// Returns the way to the registry with this authorization.
    #[must_use]
    pub fn access(
        &self,
        authorization: Option<Secret>,
        audience: ContentAudience,
    ) -> UpstreamAccess {
        UpstreamAccess {
            authorization,
            egress: self.registry.egress().cloned(),
            audience,
        }
    }
}
