//! Repository of a request. The main type is [`ImageSource`].

use std::iter;
use std::net::{IpAddr, Ipv4Addr};

use super::credential::RegistryCredential;
use super::repository::RepositoryName;
use super::table::ContainerRegistry;
use crate::model::Secret;
use crate::policy::{ContentAudience, UpstreamAccess};

/// Reader of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageReader {
    Client(IpAddr),
    /// Node of the cluster at this address. It gets what everyone may have.
    Peer(IpAddr),
    /// Job of an operator. Clients that may have private content get what it stores.
    Job,
}

/// A repository at its registry, and its reader.
#[derive(Debug, Clone, Copy)]
pub struct ImageSource<'a> {
    pub registry: &'a ContainerRegistry,
    pub name: &'a RepositoryName,
    pub reader: ImageReader,
}

impl<'a> ImageSource<'a> {
    /// Returns the address that requests count for. A job counts for Millpond itself.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        match self.reader {
            ImageReader::Client(address) | ImageReader::Peer(address) => address,
            ImageReader::Job => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Returns whether the reader may have what needed credentials.
    #[must_use]
    pub fn allows_private(&self) -> bool {
        match self.reader {
            ImageReader::Client(client) => self.registry.allows_private(client),
            ImageReader::Peer(_) => false,
            ImageReader::Job => self.registry.allows_private_to_some(),
        }
    }

    /// Returns the ways to stored content that the reader may have.
    pub fn stored_accesses(&self) -> impl Iterator<Item = UpstreamAccess> {
        let private = self.allows_private().then_some(ContentAudience::Permitted);
        let audiences = iter::once(ContentAudience::Everyone).chain(private);
        audiences.map(|audience| self.access(None, audience))
    }

    /// Returns the credentials with which the registry may be asked for the reader.
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
            renewal: None,
            egress: self.registry.egress().cloned(),
            audience,
        }
    }
}
