//! Targets and tunnels that policy has allowed. Their fields are private to the policy module, so
//! no other module can create one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cacheability::Class;
use super::classify::{Classified, is_page};
use super::denied::PolicyDenied;
use super::origin_credentials::OriginCredentials;
use super::request_options::{EgressRoute, RequestOptions};
use super::upstream_access::{ContentAudience, SharedRenewal, UpstreamAccess};
use crate::limits::PoolClient;
use crate::model::{
    ClientNet, Digest, ExpectedDigests, FileType, HumanDuration, Secret, Sha256, Target,
};

/// Whether a request for stored bytes may go to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkUse {
    Online,
    /// Stored bytes are served without asking.
    Offline,
}

/// Requester of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// A client, an operator or Millpond itself.
    Client,
    /// A node of the cluster, which has proven the secret.
    Peer,
}

/// Target that policy allows, with the settings that apply to it.
///
/// Only the policy module creates one.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub(super) target: Target,
    pub(super) upgraded_from: Option<Target>,
    pub(super) classified: Arc<Classified>,
    pub(super) check_file_type: bool,
    pub(super) min_age: Duration,
    pub(super) network_use: NetworkUse,
    pub(super) needs_server_side_fetch: bool,
    pub(super) request_options: RequestOptions,
    /// Route of this target and of its redirects, unless a rule has one.
    pub(super) own_egress: Option<Arc<EgressRoute>>,
    /// Renewal of Millpond's own authorization for this target.
    pub(super) own_renewal: Option<SharedRenewal>,
    pub(super) required_sha256: Option<Sha256>,
    /// Client for which the target was admitted.
    pub(super) client: PoolClient,
    pub(super) requester: Requester,
}

impl Admitted {
    /// Returns the same target, with its requester. No peer is asked for the request of a peer.
    #[must_use]
    pub fn for_requester(self, requester: Requester) -> Self {
        Self { requester, ..self }
    }

    /// Returns whether a node of the cluster has requested the target.
    #[must_use]
    pub fn is_from_peer(&self) -> bool {
        self.requester == Requester::Peer
    }

    /// Returns the same target, requested by a client.
    #[must_use]
    pub fn for_client(self, client: PoolClient) -> Self {
        Self { client, ..self }
    }

    /// Adds the way to the origin, for a request that names `requested`. Content for permitted
    /// clients only has a target of its own.
    ///
    /// # Errors
    /// [`PolicyDenied::PrivateTarget`] if the target can have no such counterpart.
    pub fn with_access(
        self,
        requested: &Target,
        access: &UpstreamAccess,
    ) -> Result<Self, PolicyDenied> {
        let mut admitted = self
            .with_egress(access.egress.as_ref())
            .with_authorization(requested, access.authorization.as_ref());
        admitted.own_renewal.clone_from(&access.renewal);
        if access.audience == ContentAudience::Permitted {
            let private = admitted.target.to_private();
            admitted.target = private.ok_or(PolicyDenied::PrivateTarget)?;
            admitted.upgraded_from = None;
        }
        Ok(admitted)
    }

    /// Sets the route of the requests for the target and for its redirects, unless a rule has one.
    #[must_use]
    pub fn with_egress(self, egress: Option<&EgressRoute>) -> Self {
        Self {
            request_options: self.request_options.or_egress(egress),
            needs_server_side_fetch: self.needs_server_side_fetch || egress.is_some(),
            own_egress: egress.cloned().map(Arc::new),
            ..self
        }
    }

    /// Adds Millpond's own authorization for the host of `requested`, unless a rule has credentials
    /// for the target, or names another host for it. As those credentials, the authorization does
    /// not follow a redirect.
    #[must_use]
    pub fn with_authorization(mut self, requested: &Target, value: Option<&Secret>) -> Self {
        let is_same = self.target.has_same_authority(requested);
        let options = &mut self.request_options;
        if let (Some(value), None) = (value.filter(|_| is_same), &options.credentials) {
            options.credentials = OriginCredentials::authorization(value).map(Arc::new);
        }
        self
    }

    /// Returns the same target, with the authorization for a request that is sent now.
    pub async fn renewed(&self) -> Self {
        let renewal = self.own_renewal.as_ref();
        let renewal = renewal.filter(|_| self.has_own_authorization());
        let mut admitted = self.clone();
        if let Some(SharedRenewal(renewal)) = renewal {
            let newer = renewal.renewed().await;
            let newer = newer.and_then(|value| OriginCredentials::authorization(&value));
            if let Some(credentials) = newer {
                admitted.request_options.credentials = Some(Arc::new(credentials));
            }
        }
        admitted
    }

    /// Returns whether the request has authorization that other requests for the target may lack.
    #[must_use]
    pub fn has_own_authorization(&self) -> bool {
        let credentials = self.request_options.credentials.as_ref();
        credentials.is_some_and(|credentials| credentials.is_own())
    }

    /// Returns the client that permits of pools count for.
    #[must_use]
    pub fn pool_client(&self) -> PoolClient {
        self.client
    }

    /// Returns the network of the client that requested the target.
    #[must_use]
    pub fn client(&self) -> Option<ClientNet> {
        self.client.net()
    }

    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the http target of the request, if this is its https target by
    /// `proxy.upgrade_hosts`. Bytes that were stored under it earlier may be served.
    #[must_use]
    pub fn upgraded_from(&self) -> Option<&Target> {
        self.upgraded_from.as_ref()
    }

    /// Returns the cacheability class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.classified.class()
    }

    /// Returns the class in which a response is stored that has this class by its target. Private
    /// content is named by its digest, and its records say for whom it is.
    #[must_use]
    pub fn stored_class(&self, class: Class) -> Class {
        match class {
            Class::Revalidate if self.target.is_private() => Class::Immutable,
            class => class,
        }
    }

    /// Returns the class with the line that decided, and what it says about the body.
    #[must_use]
    pub fn classified(&self) -> &Classified {
        &self.classified
    }

    /// Returns whether stored bytes are served without asking the origin.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.network_use == NetworkUse::Offline
    }

    /// Checks the age of a file at `now` by its `Last-Modified`. A file without one is allowed.
    ///
    /// # Errors
    /// [`PolicyDenied::TooYoung`] if the file is younger than the `min_age` of a rule.
    pub fn check_age(
        &self,
        last_modified: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<(), PolicyDenied> {
        let Some(changed) = last_modified.filter(|_| !self.min_age.is_zero()) else {
            return Ok(());
        };
        // A date in the future is that of a file that has just changed.
        let age = now.duration_since(changed).unwrap_or_default();
        if age < self.min_age {
            return Err(PolicyDenied::TooYoung(HumanDuration(self.min_age)));
        }
        Ok(())
    }

    /// Returns the SHA-256 that the operator's checksum file requires.
    #[must_use]
    pub fn required_sha256(&self) -> Option<Sha256> {
        self.required_sha256
    }

    /// Returns the digests that the body must have for every client: that of the operator's
    /// checksum file, and that which the path states.
    #[must_use]
    pub fn required_digests(&self) -> ExpectedDigests {
        let required = self.required_sha256.map(Digest::from);
        required.into_iter().chain(self.path_digest()).collect()
    }

    /// Returns the digest that the path states for the body.
    #[must_use]
    pub fn path_digest(&self) -> Option<Digest> {
        let found = self.classified.path_digest()?;
        Some(found.digest().clone())
    }

    /// Returns whether only the path requires a digest. A foreign site may mean something else by
    /// it.
    #[must_use]
    pub fn requires_only_path_digest(&self) -> bool {
        self.required_sha256.is_none() && self.classified.path_digest().is_some()
    }

    /// Returns whether the first bytes are checked against the file type of the name.
    #[must_use]
    pub fn checks_file_type(&self) -> bool {
        self.check_file_type
    }

    /// Returns whether the target names a file: by a suffix that is no page's, or by a rule.
    #[must_use]
    pub fn promises_file(&self) -> bool {
        self.classified.has_file_name()
    }

    /// Returns the type that the first bytes must have.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        if self.check_file_type {
            self.named_type()
        } else {
            FileType::UNCHECKED
        }
    }

    /// Returns the type that the name promises, whether or not the first bytes are checked.
    #[must_use]
    pub fn named_type(&self) -> FileType {
        match FileType::from_path(self.file_path()) {
            FileType::UNCHECKED if !self.names_page() => FileType::NO_PAGE,
            file_type => file_type,
        }
    }

    /// Returns the name of the file: a name in the query, or else the path.
    #[must_use]
    pub fn file_path(&self) -> &str {
        let name = self.classified.query_file();
        name.unwrap_or_else(|| self.target.path())
    }

    /// Returns whether the name is that of a source file or an archive, and the media type that of
    /// a recording. Some suffixes of source files are those of recordings, too.
    pub(super) fn contradicts_media_type(&self, content_type: &str) -> bool {
        let top_level = content_type.trim_start().split('/').next();
        let is_recording = top_level.is_some_and(|name| {
            name.eq_ignore_ascii_case("audio") || name.eq_ignore_ascii_case("video")
        });
        is_recording && FileType::names_source(self.file_path())
    }

    /// Returns whether an HTML body may be the right response, because the name promises no file
    /// of a known type. Such a page is passed through and not stored.
    #[must_use]
    pub fn may_be_page(&self) -> bool {
        !self.classified.name_source().promises_file() || self.file_type() == FileType::NO_PAGE
    }

    /// Returns whether the last segment has the suffix of a page, such as `.html`.
    fn names_page(&self) -> bool {
        self.classified.name_source().promises_file() && is_page(self.target.path())
    }

    /// Returns whether Millpond can reach the bytes in ways that a client cannot: credentials, an
    /// egress proxy, mirrors, archives or parents.
    #[must_use]
    pub fn needs_server_side_fetch(&self) -> bool {
        self.needs_server_side_fetch
    }

    /// Returns the request options for the target's host. They apply to this hop only.
    #[must_use]
    pub fn request_options(&self) -> &RequestOptions {
        &self.request_options
    }
}

/// Content that an allowed `CONNECT` may carry.
#[derive(Debug, Clone)]
pub enum AdmittedConnect {
    /// Any bytes, unread.
    Tunnel(AdmittedTunnel),
    /// Requests of plain HTTP. Policy admits each of their targets.
    PlainHttp,
    /// Requests inside TLS that Millpond ends. Policy admits each of their targets.
    Https { host: String },
    /// Requests of plain HTTP, or any other bytes unread.
    TunnelOrHttp(AdmittedTunnel),
}

/// Host and port that a tunnel may connect to. Only the policy module creates one.
#[derive(Debug, Clone)]
pub struct AdmittedTunnel {
    pub(super) target: Target,
    pub(super) client: ClientNet,
}

impl AdmittedTunnel {
    #[must_use]
    pub fn host(&self) -> &str {
        self.target.host()
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.target.port()
    }

    /// Returns the network of the client that requested the tunnel.
    #[must_use]
    pub fn client(&self) -> ClientNet {
        self.client
    }

    /// Returns the IP address, if the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.target.address()
    }
}
