//! Holding what lies in the folder against what it should be: objects against their digests, names and records against each
//! other.
//!
//! No lock is held while an object is read. What differs is looked at again, by its open file, under the lock of its digest:
//! only then is it known that it is still what others would be given.

mod reading;
mod survey;
mod turn;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use fs_err as fs;
use serde::Serialize;

pub use reading::Pace;
pub use survey::Survey;
pub use turn::{Stretch, Verification};

use super::layout::Layout;
use super::markers::Markers;
use super::tier::Tier;
use super::{
    Bucket, BucketConfig, BucketError, Config, Contents, OpenError, Role, Store, StoreError, blocking, contents,
    object, quarantine, records,
};
use crate::model::{Event, EventSink, Record, Sha256};

/// How often an object is read before it counts as rotten: memory and cables err too.
const READS: usize = 2;

/// How many records that name one object are looked at.
const MAX_NAMING: usize = 64;

/// What can be wrong with a file of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// An object has other bytes than its name says.
    Rotten,
    /// The disk does not give an object's bytes. That says nothing of them, and a failing disk is not written to.
    Unreadable,
    /// A record that cannot be one of its name.
    DamagedRecord,
    /// No record names an object, so that it can answer nobody.
    Orphan,
    /// The index lists an object that is not there.
    Missing,
    /// An operator keeps an object that is not there.
    MissingPinned,
    /// It can be written to.
    Writable,
    /// It is not of a kind that is known here.
    Foreign,
}

/// A flaw and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flawed {
    pub flaw: Flaw,
    /// Within the folder.
    pub name: String,
    pub detail: String,
}

/// What reading an object came to.
#[derive(Debug)]
pub enum Checked {
    Right { size_bytes: u64 },
    Absent,
    Unreadable(StoreError),
    Rotten(Suspect),
}

/// An object whose bytes are not those of its name, held open so that no other file can be taken for it.
#[derive(Debug)]
pub struct Suspect {
    pub sha256: Sha256,
    contents: Contents,
}

impl Store {
    /// As [`Store::visit`], with the bucket that the processes that serve the folder use.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used, or a secret of the bucket not be read.
    pub fn visit_with_bucket(config: Config, bucket: BucketConfig, events: EventSink) -> Result<Self, OpenError> {
        let mut entered = Self::enter(config, events, Role::Guest)?;
        if bucket.is_on() {
            let bucket = Bucket::new(bucket, entered.events.clone()).map_err(OpenError::Bucket)?;
            let markers = Markers::new(entered.layout.root(), &bucket.id());
            entered.tier = Some(Tier::new(bucket, markers, &entered.config));
        }
        Ok(Self { shared: Arc::new(entered) })
    }

    /// The objects of one folder in the order of their digests: those of `stretch` that come up at this place of its folders.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn objects_of(&self, stretch: Stretch, at: usize, folder: u8) -> Result<Vec<Sha256>, StoreError> {
        let store = self.clone();
        blocking(move || {
            let mut objects = Vec::new();
            for name in survey::names_in(&survey::folder_of(&store.shared.layout.objects(), folder))? {
                let Ok(sha256) = name.parse::<Sha256>() else { continue };
                if sha256.as_bytes()[0] == folder && stretch.contains(sha256) && stretch.is_in_part(at, sha256) {
                    objects.push(sha256);
                }
            }
            Ok(objects)
        })
        .await
    }

    /// Reads an object and compares it with its name.
    pub async fn check_object(&self, sha256: Sha256, pace: &mut Pace) -> Checked {
        let store = self.clone();
        let opened = blocking(move || {
            let Some(contents) = object::open_contents(&store.shared.layout, &store.shared.disk, sha256)? else {
                return Ok(None);
            };
            let size_bytes = contents.size_bytes()?;
            Ok(Some((contents, size_bytes)))
        });
        let (contents, size_bytes) = match opened.await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Checked::Absent,
            Err(error) => return Checked::Unreadable(error),
        };
        for _ in 0..READS {
            match reading::hash(&contents, pace).await {
                Ok(found) if found == sha256 => return Checked::Right { size_bytes },
                Ok(_) => {}
                Err(error) => return Checked::Unreadable(error.into()),
            }
        }
        Checked::Rotten(Suspect { sha256, contents })
    }

    /// Puts a rotten object into quarantine, pinned or not. False if it is not what lies under its name any more. Whoever is
    /// being sent its bytes is sent them to the end: they were wrong from the beginning.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn set_rotten_aside(&self, suspect: Suspect) -> Result<bool, StoreError> {
        let store = self.clone();
        blocking(move || {
            let (shared, sha256) = (&store.shared, suspect.sha256);
            let _lock = shared.layout.lock_object(sha256)?;
            if !is_named(&shared.layout, &suspect)? {
                return Ok(false);
            }
            quarantine::await_again(shared, sha256)?;
            quarantine::take_in(shared, &shared.layout.object(sha256), &sha256.to_string())?;
            shared.index.strike(sha256)?;
            Ok(true)
        })
        .await
    }

    /// The rotten objects that were set aside and are not known to be here again.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn lost_objects(&self) -> Result<Vec<Sha256>, StoreError> {
        let store = self.clone();
        blocking(move || quarantine::awaited(&store.shared)).await
    }

    /// Notes that such an object is here again, or that nobody lacks it.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn is_lost_no_more(&self, sha256: Sha256) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || quarantine::await_no_more(&store.shared, sha256)).await
    }

    /// Removes from the quarantine what is too old or too much.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn tidy_quarantine(&self) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || quarantine::tidy(&store.shared)).await
    }

    /// The records that name these objects. What was known of their targets is forgotten.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn records_naming(
        &self,
        objects: HashSet<Sha256>,
    ) -> Result<HashMap<Sha256, Vec<Arc<Record>>>, StoreError> {
        let store = self.clone();
        let naming = blocking(move || {
            let layout = &store.shared.layout;
            let mut naming: HashMap<Sha256, Vec<_>> = HashMap::new();
            records::walk(layout, |key, sha256| {
                let named = naming.get(&sha256).map_or(0, Vec::len);
                if objects.contains(&sha256)
                    && named < MAX_NAMING
                    && let Ok(Some(record)) = records::read_one(layout, key, sha256)
                {
                    naming.entry(sha256).or_default().push(Arc::new(record));
                }
                Ok(())
            })?;
            Ok(naming)
        })
        .await?;
        for record in naming.values().flatten() {
            self.shared.map.forget(record.key()).await;
        }
        Ok(naming)
    }

    /// Brings an object back from the bucket. False if the bucket does not have the right bytes.
    ///
    /// # Errors
    /// [`StoreError`] if it does not answer, or the object cannot be kept.
    pub async fn restore(&self, record: &Arc<Record>) -> Result<bool, StoreError> {
        match self.bring_back(record).await {
            Ok(_) => Ok(true),
            Err(StoreError::Bucket(BucketError::Absent | BucketError::Damaged)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells whoever listens of what was found, and of what was mended.
    pub fn tell(&self, event: Event) {
        self.shared.events.tell(event);
    }

    /// Whether the bytes of a record can be had, here or in the bucket.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read.
    pub async fn can_be_had(&self, record: &Arc<Record>) -> Result<bool, StoreError> {
        Ok(self.open_hit(record.key(), Arc::clone(record)).await?.is_some())
    }

    /// Whether an object of a record is here.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read.
    pub async fn is_held(&self, record: &Arc<Record>) -> Result<bool, StoreError> {
        let (store, record) = (self.clone(), Arc::clone(record));
        blocking(move || Ok(contents::open_hit(&store.shared.layout, &store.shared.disk, record)?.is_some())).await
    }
}

/// Whether what was read is still what lies under its name: objects are replaced, never written to.
fn is_named(layout: &Layout, suspect: &Suspect) -> Result<bool, StoreError> {
    let read = suspect.contents.file().metadata()?;
    match fs::metadata(layout.object(suspect.sha256)) {
        Ok(named) => Ok((named.dev(), named.ino()) == (read.dev(), read.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
