//! Known lists of referrers, in files below `state_dir/referrers/`, one for each manifest.
//!
//! The main types are [`Referrers`] and [`ReferrerStore`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::future::Cache;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex as TurnMutex;
use tokio::task::spawn_blocking;

use super::manifest::MAX_MANIFEST_BYTES;
use super::state_files::StateFiles;
use crate::model::Target;

/// Version of the files. Files of other versions are ignored.
const VERSION: u32 = 1;

/// Bound on a file, in bytes. Longer lists are asked for each time.
const MAX_FILE_BYTES: usize = 2 * MAX_MANIFEST_BYTES;

/// Time for which a failed registry is not asked for the same known referrers.
const AWAY_PAUSE: Duration = Duration::from_secs(10);

/// Bound on the lists that are asked for at the same time, and the time for which each is kept.
const MAX_TURNS: u64 = 10_000;
const TURN_TTL: Duration = Duration::from_mins(10);

/// The referrers of a manifest, as its registry has listed them.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownReferrers {
    /// Entries of an index.
    pub manifests: Vec<Value>,
    pub checked_at: SystemTime,
}

impl KnownReferrers {
    /// Returns a list that the registry has just stated.
    #[must_use]
    pub fn now(manifests: Vec<Value>) -> Self {
        Self {
            manifests,
            checked_at: SystemTime::now(),
        }
    }

    /// Whether the registry was asked within this time.
    #[must_use]
    pub fn is_fresh(&self, ttl: Duration) -> bool {
        let age = SystemTime::now().duration_since(self.checked_at);
        age.is_ok_and(|age| age < ttl)
    }
}

/// Lists of referrers.
pub struct Referrers {
    pub(super) store: ReferrerStore,
    turns: Cache<Target, Arc<TurnMutex<()>>>,
    /// Lists whose registry has just failed.
    pub(super) paused: Cache<Target, ()>,
}

impl Referrers {
    #[must_use]
    pub fn new(store: ReferrerStore) -> Self {
        let turns = Cache::builder().max_capacity(MAX_TURNS);
        Self {
            store,
            turns: turns.time_to_idle(TURN_TTL).build(),
            paused: Cache::builder()
                .max_capacity(MAX_TURNS)
                .time_to_live(AWAY_PAUSE)
                .build(),
        }
    }

    /// Returns the turn of a list. Its holder asks the registry for all that wait.
    pub async fn turn(&self, target: &Target) -> Arc<TurnMutex<()>> {
        let turn = self.turns.get_with_by_ref(target, async { Arc::default() });
        turn.await
    }
}

/// The files of all lists.
#[derive(Debug, Clone)]
pub struct ReferrerStore {
    files: StateFiles,
}

#[derive(Serialize, Deserialize)]
struct ReferrerFile {
    version: u32,
    target: String,
    manifests: Vec<Value>,
    /// Seconds since 1970.
    checked_at: u64,
}

impl ReferrerStore {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            files: StateFiles::new(state_dir.join("referrers")),
        }
    }

    /// Returns a list. One that cannot be read counts as unknown.
    pub async fn read(&self, target: &Target) -> Option<KnownReferrers> {
        self.files.known(target, read_file).await
    }

    /// Writes a list. A failure is logged: the registry is asked again.
    pub async fn write(&self, target: &Target, known: &KnownReferrers) {
        let checked_at = known.checked_at.duration_since(SystemTime::UNIX_EPOCH);
        let file = ReferrerFile {
            version: VERSION,
            target: target.as_str().to_owned(),
            manifests: known.manifests.clone(),
            checked_at: checked_at.unwrap_or_default().as_secs(),
        };
        let (files, target) = (self.files.clone(), target.clone());
        let write = move || {
            let bytes = serde_json::to_vec(&file)?;
            if bytes.len() > MAX_FILE_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            files.write(&target, &bytes)
        };
        let written = spawn_blocking(write).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::warn!(%error, "referrers cannot be written, the registry will be asked again");
        }
    }
}

fn read_file(path: &Path, target: &Target) -> io::Result<KnownReferrers> {
    let bytes = StateFiles::read(path, MAX_FILE_BYTES as u64)?;
    let file: ReferrerFile = serde_json::from_slice(&bytes)?;
    if file.version != VERSION || file.target != target.as_str() {
        return Err(io::Error::other(
            "the file is of another version or manifest",
        ));
    }
    Ok(KnownReferrers {
        manifests: file.manifests,
        checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(file.checked_at),
    })
}
