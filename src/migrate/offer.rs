//! Records that this node offers to the other nodes of its cluster, in pages.
//!
//! Targets whose bytes needed a credential are not offered. The main type is
//! [`RecordOffer`].

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, CacheError, TierPart};
use crate::disk::pins::{self, Pin};
use crate::disk::{DiskError, DiskStore, IoClass, records};
use crate::model::record::rfc3339;
use crate::model::{Key, PieceList, Record, Sha256};

/// Bytes of records behind which a page ends.
const PAGE_BYTES: usize = 1 << 20;

/// Targets behind which a page ends, so that no page keeps the disk busy for long.
const PAGE_TARGETS: usize = 1000;

/// One page of the records that a node offers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct OfferedPage {
    pub targets: Vec<OfferedTarget>,
    /// Objects of the page whose records cannot be read, so that they are not offered.
    #[serde(default)]
    pub unreadable: u64,
    /// Key behind which the next page begins. `None` on the last page.
    pub next: Option<String>,
}

/// A target with its records and pins.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfferedTarget {
    pub records: Vec<OfferedRecord>,
    pub pins: Vec<OfferedPin>,
}

/// A record.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfferedRecord {
    /// Content of the record file.
    pub record: String,
    /// Whether the object is on the disk of the node.
    pub is_cached: bool,
    /// Whether the bucket of the node has the record and the object.
    pub is_in_bucket: bool,
}

/// A pin.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfferedPin {
    /// Digest in hexadecimal.
    pub sha256: String,
    #[serde(with = "rfc3339")]
    pub pinned_at: SystemTime,
}

/// The records that this node offers.
pub struct RecordOffer {
    cache: Cache,
}

impl RecordOffer {
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// Returns a page of the records of one target or of one shard, behind the key `after`.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn page(
        &self,
        part: TierPart,
        after: Option<Key>,
    ) -> Result<OfferedPage, CacheError> {
        let read = move |disk: &DiskStore| read_page(disk, part, after);
        Ok(self.cache.disk().run(IoClass::Maintenance, read).await?)
    }

    /// Returns the pieces of an object. `None` without the object, and until they are computed.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn pieces_of(&self, sha256: Sha256) -> Result<Option<PieceList>, CacheError> {
        match self.cache.admin().open_object(sha256).await? {
            Some(object) => self.cache.pieces().of(&object).await,
            None => Ok(None),
        }
    }
}

fn read_page(
    disk: &DiskStore,
    part: TierPart,
    after: Option<Key>,
) -> Result<OfferedPage, DiskError> {
    let mut keys = match part {
        TierPart::Target(key) => BTreeSet::from([key]),
        TierPart::Shard(shard) => {
            let mut keys = BTreeSet::new();
            records::walk_shard(&disk.layout, shard, &mut |key, _| {
                keys.insert(key);
                Ok(())
            })?;
            keys
        }
    };
    if let Some(after) = after {
        keys.retain(|key| *key > after);
    }
    let mut page = OfferedPage::default();
    let mut bytes = 0;
    let mut left = keys.into_iter().peekable();
    while let Some(key) = left.next() {
        let found = records::read_all(&disk.layout, key)?;
        let unreadable = found.unreadable.iter();
        let has_object = |sha256: Sha256| disk.layout.object_stamp(sha256).is_some();
        page.unreadable += unreadable.filter(|known| has_object(known.sha256)).count() as u64;
        if let Some(target) = offered_target(disk, key, found.readable)? {
            let sizes = target.records.iter().map(|offered| offered.record.len());
            bytes += sizes.sum::<usize>();
            page.targets.push(target);
        }
        let is_full = bytes >= PAGE_BYTES || page.targets.len() >= PAGE_TARGETS;
        if is_full && left.peek().is_some() {
            page.next = Some(key.to_string());
            break;
        }
    }
    Ok(page)
}

/// Returns the readable records of a target that are offered. `None` if there are none.
fn offered_target(
    disk: &DiskStore,
    key: Key,
    mut found: Vec<Record>,
) -> Result<Option<OfferedTarget>, DiskError> {
    found.retain(|record| !record.target.is_private());
    if found.is_empty() {
        return Ok(None);
    }
    let pins = pins::list(&disk.layout, key)?.into_iter();
    Ok(Some(OfferedTarget {
        records: found.iter().map(|record| offered(disk, record)).collect(),
        pins: pins
            .map(|pin| OfferedPin {
                sha256: pin.sha256.to_string(),
                pinned_at: pin.pinned_at,
            })
            .collect(),
    }))
}

fn offered(disk: &DiskStore, record: &Record) -> OfferedRecord {
    let (key, sha256) = (record.key(), record.sha256);
    let markers = disk.markers.as_ref();
    OfferedRecord {
        record: String::from_utf8_lossy(&record.to_bytes()).into_owned(),
        is_cached: records::is_cached(&disk.layout, record),
        is_in_bucket: markers
            .is_some_and(|markers| markers.has_object(sha256) && markers.has_record(key, sha256)),
    }
}

impl OfferedTarget {
    /// Returns the parsed records. Those of other versions are left out.
    pub fn parsed(&self) -> impl Iterator<Item = (&OfferedRecord, Record)> {
        self.records.iter().filter_map(|offered| {
            let record = Record::parse(offered.record.as_bytes()).ok()?;
            Some((offered, record))
        })
    }

    /// Returns the pins.
    #[must_use]
    pub fn parsed_pins(&self) -> Vec<Pin> {
        let pins = self.pins.iter().filter_map(|pin| {
            let sha256: Sha256 = pin.sha256.parse().ok()?;
            Some(Pin {
                sha256,
                pinned_at: pin.pinned_at,
            })
        });
        pins.collect()
    }
}
