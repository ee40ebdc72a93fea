//! Wiring that the service and the commands share: policy, cache, origin and fetcher.
//!
//! Its main type is [`Services`].

use std::sync::Arc;

use crate::cache::{self, Bucket, Cache, OpenError, OpenMode};
use crate::cluster::{Cluster, ClusterParts, DrainState, NodeIdentity};
use crate::config::Config;
use crate::dial::Dialer;
use crate::disk::folder_identity;
use crate::fetch::{self, Fetcher, FetcherLimits, FetcherServices};
use crate::limits::DialLimits;
use crate::metrics::OriginCounts;
use crate::model::{ConfigError, EventSink};
use crate::origin::Origin;
use crate::policy::Policy;
use crate::scrub::RepairSources;

/// Bounds on fetches and connections.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Maximum number of fetches that use an origin at the same time.
    pub concurrency: usize,
    /// Maximum number of in-flight fetches, including those that wait.
    pub in_flight: usize,
    pub dial: DialLimits,
    /// Small objects that stay open.
    pub held_objects: usize,
}

/// Error returned when the services cannot be built. Its text names the configuration key.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Cache(#[from] OpenError),
}

/// The parts of Millpond that fetch and store.
pub struct Services {
    pub events: EventSink,
    pub policy: Arc<Policy>,
    pub cache: Cache,
    pub dialer: Dialer,
    pub origin: Arc<Origin>,
    pub cluster: Arc<Cluster>,
    pub fetcher: Fetcher,
}

impl Services {
    /// Builds the parts from the configuration. `node` has the name of this node towards origins.
    ///
    /// Blocks while it opens the cache folder.
    ///
    /// # Errors
    /// [`ServicesError`] if a configuration value or the cache folder is invalid.
    pub fn build(
        config: &Config,
        mut node: NodeIdentity,
        mode: OpenMode,
        limits: &FetchLimits,
        events: EventSink,
    ) -> Result<Self, ServicesError> {
        let policy = Arc::new(config.build_policy()?);
        let bucket = config.s3.is_on().then(|| config.s3.clone());
        let cache_config = cache::Config {
            held_objects: limits.held_objects,
            ..config.cache.clone()
        };
        let cache = Cache::open(
            &cache_config,
            bucket,
            mode,
            &policy.client_share(),
            events.clone(),
        )?;
        let connect_timeout = config.fetch.connect_timeout.0;
        let dialer = Dialer::new(
            &config.dial,
            Arc::clone(&policy),
            connect_timeout,
            limits.dial,
        )?;
        let hosts = config.rules.iter();
        let hosts = hosts.map(|rule| rule.host.to_ascii_lowercase());
        let origin = Origin::new(
            &config.fetch.for_origin(&node.name),
            Arc::clone(&policy),
            dialer.clone(),
            OriginCounts::new(hosts),
        )?;
        let origin = Arc::new(origin);
        node.folder = folder_identity(&config.cache.dir);
        node.bucket = cache.bucket().map(Bucket::id).unwrap_or_default();
        let drain = match mode {
            OpenMode::Serve => DrainState::load(&config.gateway.state_dir),
            OpenMode::Maintenance => DrainState::off(),
        };
        let cluster = Arc::new(Cluster::new(
            node,
            config
                .cluster
                .settings()?
                .filter(|_| mode == OpenMode::Serve),
            ClusterParts {
                origin: Arc::clone(&origin),
                policy: Arc::clone(&policy),
                dialer: dialer.clone(),
                drain,
            },
        ));
        let fetcher = Fetcher::new(
            fetch::Config {
                concurrency: limits.concurrency,
                ..config.fetch.clone()
            },
            FetcherLimits {
                max_in_flight: limits.in_flight,
                negative_ttl: config.cache.negative_ttl.0,
            },
            FetcherServices {
                cache: cache.clone(),
                origin: Arc::clone(&origin),
                policy: Arc::clone(&policy),
                cluster: Arc::clone(&cluster),
                events: events.clone(),
            },
        );
        Ok(Self {
            events,
            policy,
            cache,
            dialer,
            origin,
            cluster,
            fetcher,
        })
    }

    /// Returns the parts that a scrub uses to repair objects.
    #[must_use]
    pub fn repair_sources(&self) -> RepairSources {
        RepairSources {
            cache: self.cache.clone(),
            fetcher: self.fetcher.clone(),
            events: self.events.clone(),
        }
    }
}
