//! Access policy for clients and targets.
//!
//! Every fetched target is checked here first and becomes an [`Admitted`], which no other module
//! can create. The module checks names and addresses. It resolves no names and opens no
//! connections. Its main type is [`Policy`].

mod addresses;
mod admission;
mod admitted;
mod cacheability;
mod checksum_file;
mod classify;
mod config;
mod connects;
mod denied;
mod denied_digests;
mod explain;
mod hosts;
mod origin_credentials;
mod parents;
mod ports;
mod request_credentials;
mod request_options;
mod rules;
mod source_list;
mod upstream_access;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

pub use addresses::has_address_in;
pub use admission::{Admission, NotAdmitted, Sharing};
pub use admitted::{Admitted, AdmittedConnect, AdmittedTunnel, Requester};
pub use cacheability::Class;
pub use checksum_file::{ChecksumFileError, ChecksumLineError, ChecksumList};
pub use classify::{
    Classified, Evidence, Movement, NameSource, PathDigest, PathScope, Reason, RuleClass, System,
    classify, file_and_companions, file_of_companion,
};
pub use config::Config;
pub use denied::PolicyDenied;
pub use explain::Explanation;
pub use hosts::{HostPattern, HostPatternError};
pub use origin_credentials::OriginCredentials;
pub use parents::Parent;
pub use ports::{AllowedPort, ParsePortError};
pub use request_credentials::is_credential_field;
pub use request_options::{
    EgressRoute, EgressRouteError, MAX_SEGMENTS, RequestOptions, is_proxy_url,
};
pub use rules::{MatchingRule, Rule, matches_wildcards};
pub use source_list::{Source, SourceKind};
pub use upstream_access::{AuthorizationRenewal, ContentAudience, SharedRenewal, UpstreamAccess};

use crate::limits::{
    ClientLimits, ClientShare, LimitsConfig, OverLimit, PendingTransfer, PoolClient, RequestCount,
    TooManyNewTargets, TransferKind,
};
use crate::model::{ConfigError, Digest, Digests, Sha256, Size, Target, lock};
use admitted::NetworkUse;
use checksum_file::ChecksumFile;
use rules::Rules;

/// Active policy. It can be replaced at run time: a request sees the old or the new rules.
#[derive(Debug)]
pub struct Policy {
    rules: ArcSwap<Rules>,
    limits: ArcSwap<ClientLimits>,
    checksums: ArcSwap<ChecksumList>,
    checksum_file: Mutex<ChecksumFile>,
}

impl Policy {
    /// Compiles and checks the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn new(
        config: Config,
        rules: Vec<Rule>,
        parents: &[Parent],
        limits: LimitsConfig,
    ) -> Result<Self, ConfigError> {
        limits.check()?;
        let (checksum_file, checksums) = ChecksumFile::read(&config.checksums_file)?;
        Ok(Self {
            rules: ArcSwap::from_pointee(Rules::new(config, rules, parents)?),
            checksums: ArcSwap::from_pointee(checksums),
            checksum_file: Mutex::new(checksum_file),
            limits: ArcSwap::from_pointee(ClientLimits::new(limits)),
        })
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// As [`Policy::new`]. The old rules stay active.
    pub fn replace(
        &self,
        config: Config,
        rules: Vec<Rule>,
        parents: &[Parent],
        limits: LimitsConfig,
    ) -> Result<(), ConfigError> {
        limits.check()?;
        let (checksum_file, checksums) = ChecksumFile::read(&config.checksums_file)?;
        self.rules
            .store(Arc::new(Rules::new(config, rules, parents)?));
        *lock(&self.checksum_file) = checksum_file;
        self.checksums.store(Arc::new(checksums));
        self.limits
            .store(Arc::new(self.limits.load().with_config(limits)));
        Ok(())
    }

    /// Reloads the checksum file if it has changed. An invalid file is logged once and not used.
    pub fn reload_checksum_file_if_changed(&self) {
        let mut file = lock(&self.checksum_file);
        match file.read_if_changed() {
            None => {}
            Some(Ok(checksums)) => {
                let count = checksums.len();
                self.checksums.store(Arc::new(checksums));
                tracing::info!(count, "reloaded policy.checksums_file");
            }
            Some(Err(error)) => {
                tracing::error!(
                    %error,
                    "reload of policy.checksums_file failed; keeping the old checksums"
                );
            }
        }
    }

    /// Returns the SHA-256 that the checksum file requires of exactly this target.
    #[must_use]
    pub fn required_sha256(&self, target: &Target) -> Option<Sha256> {
        self.checksums.load().get(target)
    }

    /// Checks digests that a request states, or that stored bytes have.
    ///
    /// # Errors
    /// [`PolicyDenied::Digest`] for one of `policy.deny_digests`.
    pub fn check_digests<'a>(
        &self,
        digests: impl IntoIterator<Item = &'a Digest>,
    ) -> Result<(), PolicyDenied> {
        self.rules.load().denied_digests().check(digests)
    }

    /// Checks the digests of a complete body.
    ///
    /// # Errors
    /// As [`Policy::check_digests`].
    pub fn check_body(&self, digests: &Digests) -> Result<(), PolicyDenied> {
        self.rules.load().denied_digests().check_computed(digests)
    }

    /// Counts a target that is about to be stored for the first time for the client at `address`.
    ///
    /// # Errors
    /// [`TooManyNewTargets`]. The response may then pass through unstored.
    pub fn count_new_target(&self, address: IpAddr) -> Result<(), TooManyNewTargets> {
        self.limits.load().count_new_target(address)
    }

    /// Checks whether a client may receive bytes today.
    ///
    /// # Errors
    /// [`OverLimit::Bytes`] if its quota is used up.
    pub fn check_quota(&self, client: IpAddr) -> Result<(), OverLimit> {
        self.limits.load().check_quota(client)
    }

    /// Returns the client that permits of pools count for.
    #[must_use]
    pub fn pool_client(&self, address: IpAddr) -> PoolClient {
        self.limits.load().pool_client(address)
    }

    /// Returns the share of every pool that one client may have while others wait.
    #[must_use]
    pub fn client_share(&self) -> ClientShare {
        self.limits.load().share().clone()
    }

    /// Checks a client's address, and counts its request.
    ///
    /// # Errors
    /// [`NotAdmitted::Denied`] for an address outside `allow_clients`, [`NotAdmitted::OverLimit`]
    /// for a client over one of its limits.
    pub fn admit_client(
        &self,
        client: IpAddr,
        kind: TransferKind,
    ) -> Result<PendingTransfer, NotAdmitted> {
        self.rules.load().admit_client(client)?;
        Ok(self
            .limits
            .load_full()
            .admit(client, kind, RequestCount::New)?)
    }

    /// Admits the request of a client for a target. This is the one visit of a request to policy:
    /// the result holds class, settings and transfer.
    ///
    /// # Errors
    /// As [`Policy::admit_client`], and [`NotAdmitted::Denied`] by the first rule that denies the
    /// target.
    pub fn admit_request(
        &self,
        client: IpAddr,
        target: Target,
        (sharing, count): (Sharing, RequestCount),
    ) -> Result<Admission, NotAdmitted> {
        let rules = self.rules.load();
        rules.admit_client(client)?;
        let limits = self.limits.load_full();
        let pool_client = limits.pool_client(client);
        limits.check_quota(client)?;
        let transfer = limits.admit(client, TransferKind::Download, count)?;
        let admitted = match sharing {
            Sharing::Shared => self.admit_aliased(&rules, target)?,
            // A request with the client's own credentials must go to exactly that host.
            Sharing::Private => self.admit_upgraded(&rules, target)?.0,
        };
        Ok(Admission {
            admitted: admitted.for_client(pool_client),
            transfer,
        })
    }

    /// Removes the state of idle clients. Call it periodically to free memory.
    pub fn prune_idle_clients(&self) {
        self.limits.load().prune_idle();
    }

    /// Checks a client's target as far as possible before its host is resolved. If a rule stores it
    /// under a canonical alias, the alias is checked too and admitted instead.
    ///
    /// # Errors
    /// The first rule that denies the target.
    pub fn admit(&self, target: Target) -> Result<Admitted, PolicyDenied> {
        self.admit_aliased(&self.rules.load(), target)
    }

    fn admit_aliased(&self, rules: &Rules, target: Target) -> Result<Admitted, PolicyDenied> {
        let (admitted, alias) = self.admit_upgraded(rules, target)?;
        let Some(alias) = alias else {
            return Ok(admitted);
        };
        rules.check(&alias)?;
        let (alias, _) = self.admit_checked(rules, alias);
        // A digest required of the client's URL takes precedence over one required of the alias.
        Ok(Admitted {
            required_sha256: admitted.required_sha256.or(alias.required_sha256),
            ..alias
        })
    }

    /// Checks a target, or its https target by `proxy.upgrade_hosts`. Also returns its canonical
    /// alias, if it has one.
    fn admit_upgraded(
        &self,
        rules: &Rules,
        target: Target,
    ) -> Result<(Admitted, Option<Target>), PolicyDenied> {
        let Some(upgraded) = rules.upgrade(&target) else {
            rules.check(&target)?;
            return Ok(self.admit_checked(rules, target));
        };
        rules.check(&upgraded)?;
        let (admitted, alias) = self.admit_checked(rules, upgraded);
        let required = self.required_sha256(&target);
        let admitted = Admitted {
            required_sha256: required.or(admitted.required_sha256),
            upgraded_from: Some(target),
            ..admitted
        };
        Ok((admitted, alias))
    }

    /// Admits a target that was checked before. Also returns its canonical alias, if it has one.
    fn admit_checked(&self, rules: &Rules, target: Target) -> (Admitted, Option<Target>) {
        let effective = rules.effective(&target);
        let alias = effective.canonical_alias();
        let (classified, min_age) = (effective.classified(), effective.min_age());
        let check_file_type = effective.checks_file_type();
        let network_use = if effective.is_offline() {
            NetworkUse::Offline
        } else {
            NetworkUse::Online
        };
        let has_alternates = effective.alternate_sources().is_some();
        let request_options = effective.into_request_options();
        let needs_server_side_fetch = request_options.credentials.is_some()
            || request_options.egress.is_some()
            || has_alternates
            || !rules.parents().is_empty();
        let admitted = Admitted {
            classified: Arc::new(classified),
            check_file_type,
            min_age,
            network_use,
            needs_server_side_fetch,
            request_options,
            own_egress: None,
            own_renewal: None,
            required_sha256: self.required_sha256(&target),
            upgraded_from: None,
            client: PoolClient::Own,
            requester: Requester::Client,
            target,
        };
        (admitted, alias)
    }

    /// Checks a client's `CONNECT host:port`, given as the https target of that authority.
    ///
    /// # Errors
    /// The first rule that denies it. [`PolicyDenied::ConnectPort`] if the port is neither allowed
    /// for tunnels nor for http.
    pub fn admit_connect(
        &self,
        target: Target,
        client: IpAddr,
    ) -> Result<AdmittedConnect, PolicyDenied> {
        connects::admit(&self.rules.load(), target, client)
    }

    /// Checks a client's `CONNECT` to a host whose TLS Millpond can end. At a port that is not one
    /// for https, only other contents are possible.
    ///
    /// # Errors
    /// As [`Policy::admit_connect`].
    pub fn admit_intercepted_connect(
        &self,
        target: Target,
        client: IpAddr,
    ) -> Result<AdmittedConnect, PolicyDenied> {
        connects::admit_intercepted(&self.rules.load(), target, client)
    }

    /// Returns whether a connection to `address` is allowed. Call it for every resolved address,
    /// and connect only to the address that was checked.
    #[must_use]
    pub fn may_connect_to(&self, address: IpAddr) -> bool {
        self.rules.load().may_connect_to(address)
    }

    /// Checks the head of an origin's response for a target: its media type and its length in
    /// bytes. A media type that contradicts the name does not count.
    ///
    /// # Errors
    /// [`PolicyDenied::ContentType`] or [`PolicyDenied::TooLarge`].
    pub fn admit_body(
        &self,
        admitted: &Admitted,
        content_type: Option<&str>,
        length: Option<u64>,
    ) -> Result<(), PolicyDenied> {
        let content_type = content_type.filter(|value| !admitted.contradicts_media_type(value));
        self.rules.load().admit_body(content_type, length)
    }

    /// Checks the length of an upload in bytes.
    ///
    /// # Errors
    /// [`PolicyDenied::TooLarge`].
    pub fn admit_upload(&self, length: Option<u64>) -> Result<(), PolicyDenied> {
        self.rules.load().admit_body(None, length)
    }

    /// Returns the size limit for fetched bodies.
    #[must_use]
    pub fn max_object_size(&self) -> Size {
        self.rules.load().max_object_size()
    }
}
