//! Bounded lookups, shared by all that wait for the same name.
//!
//! A name server that does not answer for one name must not delay the lookup of another. No lookup
//! waits for a free place: the one that has waited longest gives up its own. The main type is
//! [`Resolver`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::builtin::{BuiltinResolver, Family};
use super::config::{Config, ResolverKind};
use super::error::LookupError;
use super::system::SystemResolver;
use crate::model::{ConfigError, lock};

/// Maximum duration of one lookup, over all name servers and search domains.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of concurrent lookups. Each has a socket. A lookup with an answer takes
/// milliseconds, so that a full table consists of names without one.
const MAX_LOOKUPS: usize = 512;

/// Result of a lookup.
pub type Found = Result<Arc<[IpAddr]>, LookupError>;

/// Lookup in progress. It ends if all its clones are dropped.
pub type SharedLookup = Shared<BoxFuture<'static, Found>>;

/// Lookups of all families that belong to one name.
#[derive(Debug)]
pub enum NameLookup {
    /// Both families are asked at the same time.
    PerFamily { v6: SharedLookup, v4: SharedLookup },
    /// One result has both families, in the order of preference.
    Together(SharedLookup),
}

/// Resolver of host names.
#[derive(Debug)]
pub struct Resolver {
    backend: Backend,
    lookups: Mutex<LookupTable>,
}

#[derive(Debug, Clone)]
enum Backend {
    Builtin(Arc<BuiltinResolver>),
    System(SystemResolver),
}

/// Host and family. `None` is both families together.
type LookupKey = (String, Option<Family>);

#[derive(Debug, Default)]
struct LookupTable {
    running: HashMap<LookupKey, RunningLookup>,
    /// Number of lookups that were started.
    started: u64,
}

#[derive(Debug)]
struct RunningLookup {
    lookup: WeakShared<BoxFuture<'static, Found>>,
    /// Its number. A lower one has waited longer.
    number: u64,
    displaced: CancellationToken,
}

impl Resolver {
    /// # Errors
    /// [`ConfigError`] if a name server is invalid.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let nameservers = config.nameservers()?;
        let backend = match config.resolver {
            ResolverKind::Builtin => Backend::Builtin(Arc::new(BuiltinResolver::new(nameservers)?)),
            ResolverKind::System => Backend::System(SystemResolver::new()),
        };
        Ok(Self {
            backend,
            lookups: Mutex::default(),
        })
    }

    /// Starts the lookups of a name, or joins those in progress.
    pub fn look_up(&self, host: &str) -> NameLookup {
        let start = |family| self.join_or_start((host.to_owned(), family));
        match &self.backend {
            Backend::Builtin(_) => NameLookup::PerFamily {
                v6: start(Some(Family::V6)),
                v4: start(Some(Family::V4)),
            },
            Backend::System(_) => NameLookup::Together(start(None)),
        }
    }

    fn join_or_start(&self, key: LookupKey) -> SharedLookup {
        let mut table = lock(&self.lookups);
        if let Some(lookup) = table.running.get(&key).and_then(RunningLookup::in_progress) {
            return lookup;
        }
        table.make_place();
        let displaced = CancellationToken::new();
        let lookup = run(self.backend.clone(), key.clone(), displaced.clone())
            .boxed()
            .shared();
        table.started += 1;
        let running = RunningLookup {
            lookup: lookup.downgrade().expect("the lookup has not ended"),
            number: table.started,
            displaced,
        };
        table.running.insert(key, running);
        lookup
    }
}

impl LookupTable {
    /// Removes ended lookups from a full table. If none has ended, the oldest lookup ends now.
    fn make_place(&mut self) {
        if self.running.len() < MAX_LOOKUPS {
            return;
        }
        self.running
            .retain(|_, running| running.in_progress().is_some());
        if self.running.len() < MAX_LOOKUPS {
            return;
        }
        let oldest = self.running.iter().min_by_key(|(_, lookup)| lookup.number);
        let oldest = oldest.map(|(key, _)| key.clone());
        if let Some(oldest) = oldest.and_then(|key| self.running.remove(&key)) {
            oldest.displaced.cancel();
        }
    }
}

impl RunningLookup {
    fn in_progress(&self) -> Option<SharedLookup> {
        self.lookup
            .upgrade()
            .filter(|lookup| lookup.peek().is_none())
    }
}

async fn run(backend: Backend, key: LookupKey, displaced: CancellationToken) -> Found {
    let (host, family) = key;
    let lookup = async {
        match (backend, family) {
            (Backend::Builtin(resolver), family) => {
                resolver.lookup(host, family.unwrap_or(Family::V4)).await
            }
            (Backend::System(resolver), _) => resolver.lookup(host).await,
        }
    };
    let found = tokio::select! {
        found = timeout(LOOKUP_TIMEOUT, lookup) => found.unwrap_or(Err(LookupError::Timeout)),
        () = displaced.cancelled() => Err(LookupError::Displaced),
    };
    found.map(Arc::from)
}
