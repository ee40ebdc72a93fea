//! Repository that a client asks for. The main type is [`ImageSource`].

use std::net::IpAddr;

use super::repository::RepositoryName;
use super::table::ContainerRegistry;

/// A repository at its registry, and the client that asks for it.
#[derive(Debug, Clone, Copy)]
pub struct ImageSource<'a> {
    pub registry: &'a ContainerRegistry,
    pub name: &'a RepositoryName,
    pub client: IpAddr,
}
