//! Bounded lookups, shared by all that wait for the same name.
//!
//! A name server that does not answer for one name must not delay the lookup of another. The main
//! type is [`Resolver`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answers::{Family, Found};
use super::builtin::BuiltinResolver;
use super::config::{Config, ResolverKind};
use super::error::{LookupError, OwnShortage};
use super::lookup_table::{Asker, LookupKey, LookupTable, SharedLookup};
use super::system::SystemResolver;
use crate::metrics::{LookupCounts, LookupResult};
use crate::model::{ConfigError, lock};

/// Maximum duration of one lookup, over all name servers and search domains.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

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
    counts: Arc<LookupCounts>,
}

#[derive(Debug, Clone)]
enum Backend {
    Builtin(Arc<BuiltinResolver>),
    System(SystemResolver),
}

impl Resolver {
    /// Builds a resolver with at most `max_lookups` lookups at the same time.
    ///
    /// # Errors
    /// [`ConfigError`] if a name server is invalid.
    pub fn new(config: &Config, max_lookups: usize) -> Result<Self, ConfigError> {
        let nameservers = config.nameservers()?;
        let backend = match config.resolver {
            ResolverKind::Builtin => Backend::Builtin(Arc::new(BuiltinResolver::new(nameservers)?)),
            ResolverKind::System => Backend::System(SystemResolver::new()),
        };
        Ok(Self {
            backend,
            lookups: Mutex::new(LookupTable::new(max_lookups)),
            counts: Arc::default(),
        })
    }

    /// Starts the lookups of a name for a client, or joins those in progress.
    pub fn look_up(&self, host: &str, asker: Asker) -> NameLookup {
        let start = |family| self.join_or_start((host.to_owned(), family), asker);
        match &self.backend {
            Backend::Builtin(_) => NameLookup::PerFamily {
                v6: start(Some(Family::V6)),
                v4: start(Some(Family::V4)),
            },
            Backend::System(_) => NameLookup::Together(start(None)),
        }
    }

    /// Returns the counts of the lookups up to now.
    pub fn counts(&self) -> &Arc<LookupCounts> {
        &self.counts
    }

    fn join_or_start(&self, key: LookupKey, asker: Asker) -> SharedLookup {
        let mut table = lock(&self.lookups);
        if let Some(lookup) = table.join(&key, asker) {
            return lookup;
        }
        let displaced = CancellationToken::new();
        let run = run(self.backend.clone(), key.clone(), displaced.clone());
        let counts = Arc::clone(&self.counts);
        let lookup = run
            .inspect(move |found| counts.at(result_of(found)).increment())
            .boxed()
            .shared();
        table.insert(key, asker, &lookup, displaced);
        lookup
    }
}

fn result_of(found: &Found) -> LookupResult {
    match found {
        Ok(_) => LookupResult::Found,
        Err(LookupError::NoAddress) => LookupResult::NoAddress,
        Err(LookupError::Timeout) => LookupResult::Timeout,
        Err(LookupError::Failed(_)) => LookupResult::Failed,
        Err(LookupError::Shortage(_)) => LookupResult::Displaced,
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
    tokio::select! {
        found = timeout(LOOKUP_TIMEOUT, lookup) => found.unwrap_or(Err(LookupError::Timeout)),
        () = displaced.cancelled() => Err(OwnShortage::Lookups.into()),
    }
}
