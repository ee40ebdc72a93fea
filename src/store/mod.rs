//! What is kept: bytes by their SHA-256, records by their target, on the local disk and, where there is one, in a bucket.
//!
//! The truth is in the files; the index and the existence map are hints that can be thrown away. A body comes in one way:
//! space is reserved, it is staged, sealed and published; the bucket gets it from the disk. A lookup goes from the map to
//! the disk to the bucket. This room knows no HTTP and no origin, and asks nobody whether something may be kept. Its main
//! type is [`Store`].

mod audit;
mod bucket;
mod bucket_custody;
mod claim;
mod config;
mod contents;
mod custody;
mod disk;
mod error;
mod evict;
mod export;
mod folders;
mod hit;
mod index;
mod instance;
mod layout;
mod listing;
mod markers;
mod object;
mod pins;
mod presence;
mod publish;
mod quarantine;
mod recall;
mod reconcile;
mod records;
mod staging;
mod strays;
mod tier;
mod uploads;
mod verify;
mod witness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;

pub use audit::Audit;
pub use bucket::{
    Bucket, BucketError, Collected, Collection, Config as BucketConfig, Delivery, Upload, record_of, sha256_of,
};
pub use claim::{Claim, Claiming, Look, Rival};
pub use config::{Config, OnChange};
pub use contents::{Contents, FileHit};
pub use custody::{Forgotten, Witness};
pub use disk::Condition;
pub use error::{OpenError, StoreError};
pub use evict::Eviction;
pub use export::{Exported, Taken};
pub use hit::{BucketHit, BucketStream, Hit};
pub use layout::StagedName;
pub use listing::Listed;
pub use object::Object;
pub use presence::{Known, Presence};
pub use publish::Published;
pub use staging::{Finished, Sealed, Staging};
pub use uploads::Turn;
pub use verify::{Checked, Flaw, Flawed, Pace, Stretch, Survey, Suspect, Verification};

use crate::model::{Algorithm, Digest, EventSink, Hasher, Key, Record, Sha256};
use disk::Disk;
use folders::Folders;
use index::Index;
use instance::Instance;
use layout::Layout;
use markers::Markers;
use presence::ExistenceMap;
use tier::Tier;

/// The store of this process on a folder that it may share with others. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What a process is to the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Serves it, and makes room in it.
    Host,
    /// Removes nothing: it does not know what the hosts still need.
    Guest,
}

struct Shared {
    role: Role,
    config: Config,
    layout: Layout,
    folders: Folders,
    disk: Disk,
    instance: Instance,
    index: Index,
    map: ExistenceMap,
    tier: Option<Tier>,
    digests: moka::future::Cache<(Sha256, Algorithm), Digest>,
    events: EventSink,
    /// Wakes whoever looks after the space.
    pressure: Notify,
    /// Held by whoever makes room.
    evicting: Mutex<()>,
    unreconciled: AtomicBool,
}

/// How many digests other than SHA-256 are remembered, computed from sealed files.
const DIGEST_CACHE_ENTRIES: u64 = 10_000;

impl Store {
    /// Opens the folder, makes what is missing, takes a place in it for this process and sweeps what dead processes left.
    /// The bucket is not asked for anything yet.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used, or a secret of the bucket not be read.
    pub fn open(config: Config, bucket: BucketConfig, events: EventSink) -> Result<Self, OpenError> {
        let mut opened = Self::enter(config, events, Role::Host)?;
        opened.tier = if bucket.is_on() {
            let bucket = Bucket::new(bucket, opened.events.clone()).map_err(OpenError::Bucket)?;
            if opened.index.set_bucket(&bucket.id())? {
                opened.unreconciled.store(true, Ordering::Release);
            }
            let markers = Markers::new(opened.layout.root(), &bucket.id());
            Some(Tier::new(bucket, markers, &opened.config))
        } else {
            if opened.instance.is_alone() {
                opened.index.set_no_bucket()?;
            }
            None
        };
        Ok(Self { shared: Arc::new(opened) })
    }

    /// As [`Store::open`], for a guest beside the processes that serve the folder. It makes no room, and what they have to
    /// upload is not its affair. They look through the folder once it is gone.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used.
    pub fn visit(config: Config, events: EventSink) -> Result<Self, OpenError> {
        Ok(Self { shared: Arc::new(Self::enter(config, events, Role::Guest)?) })
    }

    fn enter(config: Config, events: EventSink, role: Role) -> Result<Shared, OpenError> {
        let layout = Layout::create(&config.dir)?;
        let mut instance = Instance::enter(&layout)?;
        let index = Index::open(&layout)?;
        instance.look_around(&layout, &index)?;
        let unreconciled = index.is_new() || instance.found_dead();
        Ok(Shared {
            role,
            folders: Folders::new(&config.dir),
            disk: Disk::new(config.disk_timeout.0, events.clone()),
            map: ExistenceMap::new(&config),
            tier: None,
            digests: moka::future::Cache::new(DIGEST_CACHE_ENTRIES),
            pressure: Notify::new(),
            evicting: Mutex::new(()),
            unreconciled: AtomicBool::new(unreconciled),
            config,
            layout,
            instance,
            index,
            events,
        })
    }

    /// What is known of a target. Answers from the map where it can; requests for one key share one look.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read.
    pub async fn look_up(&self, key: Key) -> Result<Presence, Arc<StoreError>> {
        if let Some(presence) = self.shared.map.get(key).await {
            return Ok(presence);
        }
        if self.shared.tier.is_none() && records::is_surely_absent(&self.shared.layout, key) {
            return Ok(Presence::Absent);
        }
        self.shared.map.get_or_look(key, tier::look(Arc::clone(&self.shared), key)).await
    }

    /// As [`Store::look_up`], but looks at disk and bucket whatever the map says: another process may have published.
    ///
    /// # Errors
    /// As [`Store::look_up`].
    pub async fn look_past_map(&self, key: Key) -> Result<Presence, Arc<StoreError>> {
        let presence = tier::look(Arc::clone(&self.shared), key).await.map_err(Arc::new)?;
        self.shared.map.insert(key, presence.clone()).await;
        Ok(presence)
    }

    /// Another digest of a hit, computed from its file at the first time and then remembered. Those who want one at the
    /// same time share the work.
    ///
    /// # Errors
    /// [`StoreError`] if the file could not be read.
    pub async fn digest_of(&self, hit: &FileHit, algorithm: Algorithm) -> Result<Digest, Arc<StoreError>> {
        let contents = hit.contents.clone();
        let compute = blocking(move || contents.digest(algorithm));
        self.shared.digests.try_get_with((hit.record.sha256, algorithm), compute).await
    }

    /// Claims a target: of the processes that share the folder, one at a time may. The claim is let go with its value.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses, or knows no locks.
    pub async fn claim(&self, key: Key) -> Result<Claiming, StoreError> {
        let store = self.clone();
        self.shared.disk.ask(move || claim::claim(&store.shared.layout, &store.shared.disk, key)).await
    }

    /// Whether somebody holds the claim on a target.
    ///
    /// # Errors
    /// As [`Store::claim`].
    pub async fn is_claimed(&self, key: Key) -> Result<bool, StoreError> {
        let store = self.clone();
        self.shared.disk.ask(move || claim::is_held(&store.shared.layout, key)).await
    }

    /// As [`Store::is_claimed`], but a hint, from memory.
    #[must_use]
    pub fn seems_claimed(&self, key: Key) -> bool {
        claim::seems_held(&self.shared.layout, key)
    }

    /// Opens a body that another process is staging. `None` if it is not there any more.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn open_staged(&self, name: StagedName) -> Result<Option<Contents>, StoreError> {
        let store = self.clone();
        self.shared.disk.ask(move || contents::open_staged(&store.shared.layout, &store.shared.disk, &name)).await
    }

    /// Begins to store a body, of `length` bytes if that is known. Space is reserved first, and made if there is none.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] if it does not fit.
    pub async fn stage(&self, length: Option<u64>, hasher: Hasher) -> Result<Staging, StoreError> {
        let store = self.clone();
        self.shared.disk.ask(move || Staging::begin(store, length, hasher)).await
    }

    /// Publishes a sealed body as what `record` says it is. Afterwards it is found by everybody.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses; nothing is published then, or only bytes that no record names.
    pub async fn publish(&self, sealed: Sealed, record: Record) -> Result<Published, StoreError> {
        let shared = Arc::clone(&self.shared);
        let key = record.key();
        let (disk, size_bytes) = (self.shared.disk.clone(), sealed.size_bytes);
        let published = disk.persist(size_bytes, move || publish::publish(&shared, &sealed, &record)).await?;
        self.shared.map.insert(key, Presence::Known(Arc::clone(&published.known))).await;
        Ok(published)
    }

    /// Returns once somebody should look after the space.
    pub async fn pressure(&self) {
        self.shared.pressure.notified().await;
    }

    /// Writes down when objects were last used, and evicts down to the low watermark if the high one is passed.
    ///
    /// # Errors
    /// [`StoreError`] if index or disk refuse.
    pub async fn look_after_space(&self) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || evict::to_low_watermark(&store.shared)).await
    }

    /// Writes down when objects were last used.
    ///
    /// # Errors
    /// [`StoreError`] if the index refuses.
    pub async fn write_down_uses(&self) -> Result<(), StoreError> {
        let store = self.clone();
        self.shared.disk.ask(move || store.shared.index.flush_touches()).await
    }

    /// Sweeps what dead processes have left, and compares index and disk where there is reason to: the index is new, or a
    /// process died. Returns how many objects the index had wrong, or `None` if there was no reason.
    ///
    /// # Errors
    /// [`StoreError`] if index or disk refuse; the reason stays.
    pub async fn reconcile_if_needed(&self) -> Result<Option<u64>, StoreError> {
        let store = self.clone();
        blocking(move || {
            let shared = &store.shared;
            let replaced = shared.index.replace_if_lost(&shared.layout)?;
            let found_dead = Instance::sweep(&shared.layout, &shared.index)?;
            if replaced || found_dead {
                // What failed below is not forgotten: nobody finds this reason again.
                shared.unreconciled.store(true, Ordering::Release);
            }
            if !shared.unreconciled.load(Ordering::Acquire) {
                return Ok(None);
            }
            claim::sweep(&shared.layout)?;
            let mended = reconcile::reconcile(&shared.layout, &shared.index, shared.markers())?;
            shared.unreconciled.store(false, Ordering::Release);
            Ok(Some(mended))
        })
        .await
    }

    /// Gives back what dead processes have reserved, and leaves the rest of the care for them to the next sweep.
    ///
    /// # Errors
    /// [`StoreError`] if index or disk refuse.
    pub async fn release_dead(&self) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || {
            let shared = &store.shared;
            if Instance::sweep(&shared.layout, &shared.index)? {
                shared.unreconciled.store(true, Ordering::Release);
            }
            Ok(())
        })
        .await
    }

    /// Bytes that published objects hold, by the ledger.
    ///
    /// # Errors
    /// [`StoreError::Index`] if the index cannot be read.
    pub fn held_bytes(&self) -> Result<u64, StoreError> {
        self.shared.index.held_bytes()
    }

    /// How the disk does, as it was seen last.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.shared.disk.condition()
    }

    /// How the disk does, tried now. Takes `cache.disk_timeout` at most.
    pub async fn probe(&self) -> Condition {
        let store = self.clone();
        self.shared.disk.probe(move || store.shared.instance.probe()).await
    }

    /// Leaves the folder at the end of the process. What was staged is gone afterwards.
    pub async fn leave(&self) {
        if let Err(error) = self.write_down_uses().await {
            tracing::warn!(%error, "the last uses of objects were not written down");
        }
        let store = self.clone();
        let left = self.shared.disk.ask(move || {
            // What a guest has put there the hosts have to look at.
            let in_order = store.shared.role == Role::Host && !store.shared.unreconciled.load(Ordering::Acquire);
            store.shared.instance.leave(&store.shared.index, in_order)
        });
        if let Err(error) = left.await {
            tracing::warn!(%error, "the staging folder was not removed; the next start will do it");
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.shared.layout.root()).finish_non_exhaustive()
    }
}

impl Shared {
    fn markers(&self) -> Option<&Markers> {
        self.tier.as_ref().map(|tier| &tier.markers)
    }
}

/// Runs disk work off the event loop. A panic in it comes back as an error.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.unwrap_or_else(|panic| Err(StoreError::Io(std::io::Error::other(panic))))
}
