//! The index: what objects there are, how large, when last used, and who has reserved what.
//!
//! It holds nothing that the files do not say: a damaged or missing one is made anew and filled
//! from the disk.

mod lru;
mod upload_queue;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, ToSql, TransactionBehavior, params};

pub use upload_queue::PendingUpload;

use super::layout::Layout;
use super::{DiskError, durable_dirs};
use crate::model::Sha256;

/// The version of the schema. Another one is thrown away.
const VERSION: i64 = 3;

/// The last use of what is pinned: it is no candidate for eviction, and a use does not make it one.
const EVICTION_HOLD: i64 = i64::MAX;

/// How long one process waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many uses are held back at most before they are written down.
const MAX_PENDING_ACCESS_TIMES: usize = 65_536;

const SCHEMA: &str = "
    CREATE TABLE objects (
        sha256 BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        accessed_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX objects_by_access ON objects (accessed_at);
    CREATE TABLE reservations (
        process TEXT NOT NULL,
        id INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        PRIMARY KEY (process, id)
    ) WITHOUT ROWID;
    CREATE TABLE pending (
        sha256 BLOB NOT NULL,
        key BLOB NOT NULL,
        not_before INTEGER NOT NULL,
        holder TEXT,
        PRIMARY KEY (sha256, key)
    ) WITHOUT ROWID;
    CREATE INDEX pending_by_time ON pending (not_before);
    CREATE TABLE in_bucket (
        sha256 BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        seen_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE bucket (id TEXT NOT NULL);
    CREATE TABLE ledger (cached_bytes INTEGER NOT NULL);
    INSERT INTO ledger VALUES (0);
    CREATE TRIGGER object_added AFTER INSERT ON objects BEGIN
        UPDATE ledger SET cached_bytes = cached_bytes + NEW.size_bytes;
    END;
    CREATE TRIGGER object_removed AFTER DELETE ON objects BEGIN
        UPDATE ledger SET cached_bytes = cached_bytes - OLD.size_bytes;
    END;
    PRAGMA user_version = 3;
";

pub struct Index {
    connection: Mutex<Connection>,
    /// Device and inode of the file behind the connection: a file of the same name may be another
    /// one by now.
    identity: Mutex<Option<(u64, u64)>>,
    is_new: bool,
    access_times: Mutex<HashMap<Sha256, i64>>,
}

/// What asking for room came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    Granted,
    /// So many bytes have to go first.
    Short(u64),
}

impl Index {
    /// Opens the index, or makes a new one where there is none that can be used.
    pub fn open(layout: &Layout) -> Result<Self, DiskError> {
        let (connection, is_new) = match connect(layout) {
            Ok(opened) => opened,
            Err(error) if is_damage(&error) => {
                tracing::warn!(%error, "the index is damaged and is made anew");
                remove_files(layout)?;
                connect(layout)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            connection: Mutex::new(connection),
            identity: Mutex::new(identity(layout)),
            is_new,
            access_times: Mutex::default(),
        })
    }

    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Makes a new index if the file was deleted, replaced or damaged under this process. True if
    /// it did.
    pub fn replace_if_lost(&self, layout: &Layout) -> Result<bool, DiskError> {
        let known = *lock(&self.identity);
        let damaged = match self.cached_bytes() {
            Err(DiskError::Index(error)) => is_damage(&error),
            _ => false,
        };
        if identity(layout) == known && !damaged {
            return Ok(false);
        }
        tracing::warn!("the index was lost and is made anew");
        let mut connection = lock(&self.connection);
        if damaged && identity(layout) == known {
            remove_files(layout)?;
        }
        let (opened, _) = connect(layout)?;
        *connection = opened;
        *lock(&self.identity) = identity(layout);
        Ok(true)
    }

    pub fn cached_bytes(&self) -> Result<u64, DiskError> {
        Ok(lock(&self.connection)
            .query_row("SELECT cached_bytes FROM ledger", [], |row| row.get(0))
            .map(to_u64)?)
    }

    /// Reserves `size_bytes` in all for one body of this instance, in place of what it had reserved
    /// before, if held and reserved bytes stay within `limit_bytes` together.
    pub fn reserve(
        &self,
        process: &str,
        id: u64,
        size_bytes: u64,
        limit_bytes: u64,
    ) -> Result<Reservation, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let others: i64 = transaction.query_row(
            "SELECT (SELECT cached_bytes FROM ledger)
                  + (SELECT coalesce(sum(size_bytes), 0) FROM reservations WHERE NOT (process = ?1 AND id = ?2))",
            params![process, to_i64(id)],
            |row| row.get(0),
        )?;
        let missing_bytes = to_u64(others)
            .saturating_add(size_bytes)
            .saturating_sub(limit_bytes);
        if missing_bytes > 0 {
            return Ok(Reservation::Short(missing_bytes));
        }
        transaction.execute(
            "INSERT OR REPLACE INTO reservations VALUES (?1, ?2, ?3)",
            params![process, to_i64(id), to_i64(size_bytes)],
        )?;
        transaction.commit()?;
        Ok(Reservation::Granted)
    }

    pub fn release(&self, process: &str, id: u64) -> Result<(), DiskError> {
        let sql = "DELETE FROM reservations WHERE process = ?1 AND id = ?2";
        lock(&self.connection).execute(sql, params![process, to_i64(id)])?;
        Ok(())
    }

    /// Drops the reservations of all instances but those that live.
    pub fn release_all_but(&self, live: &[String]) -> Result<(), DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let reserved: Vec<String> = transaction
            .prepare("SELECT DISTINCT process FROM reservations")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for dead in reserved.iter().filter(|process| !live.contains(process)) {
            transaction.execute("DELETE FROM reservations WHERE process = ?1", [dead])?;
        }
        upload_queue::release_all_but(&transaction, live)?;
        transaction.commit()?;
        Ok(())
    }

    /// Enters an object, and ends the reservation under which it came, in one step.
    pub fn insert(
        &self,
        sha256: Sha256,
        size_bytes: u64,
        reservation: Option<(&str, u64)>,
    ) -> Result<(), DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT OR IGNORE INTO objects VALUES (?1, ?2, ?3)",
            params![sha256.as_bytes(), to_i64(size_bytes), now()],
        )?;
        if let Some((process, id)) = reservation {
            transaction.execute(
                "DELETE FROM reservations WHERE process = ?1 AND id = ?2",
                params![process, to_i64(id)],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Enters objects found on the disk with their last use. Returns how many were not known.
    pub fn insert_found(&self, found: &[(Sha256, u64, i64)]) -> Result<u64, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut added = 0;
        for (sha256, size_bytes, accessed_at) in found {
            let known: Option<i64> = transaction
                .query_row(
                    "SELECT size_bytes FROM objects WHERE sha256 = ?1",
                    [sha256.as_bytes()],
                    |row| row.get(0),
                )
                .optional()?;
            if known == Some(to_i64(*size_bytes)) {
                continue;
            }
            transaction.execute("DELETE FROM objects WHERE sha256 = ?1", [sha256.as_bytes()])?;
            transaction.execute(
                "INSERT INTO objects VALUES (?1, ?2, ?3)",
                params![sha256.as_bytes(), to_i64(*size_bytes), accessed_at],
            )?;
            added += 1;
        }
        transaction.commit()?;
        Ok(added)
    }

    pub fn remove(&self, sha256: Sha256) -> Result<(), DiskError> {
        lock(&self.connection)
            .execute("DELETE FROM objects WHERE sha256 = ?1", [sha256.as_bytes()])?;
        Ok(())
    }

    /// Drops the reservations of one instance.
    pub fn release_all_of(&self, process: &str) -> Result<(), DiskError> {
        let connection = lock(&self.connection);
        connection.execute("DELETE FROM reservations WHERE process = ?1", [process])?;
        connection.execute(
            "UPDATE pending SET holder = NULL, not_before = 0 WHERE holder = ?1",
            [process],
        )?;
        Ok(())
    }

    /// Up to `count` objects whose digest is above `after`, in the order of digests.
    pub fn after(&self, after: &[u8], count: usize) -> Result<Vec<Sha256>, DiskError> {
        self.entries(
            "SELECT sha256 FROM objects WHERE sha256 > ?1 ORDER BY sha256 LIMIT ?2",
            after,
            count,
        )
    }

    fn entries(
        &self,
        sql: &str,
        bound: impl ToSql,
        count: usize,
    ) -> Result<Vec<Sha256>, DiskError> {
        let connection = lock(&self.connection);
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![bound, to_i64(count as u64)], |row| {
            row.get(0).map(Sha256::from_bytes)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that an object is used now. It is written down later, in a batch.
    pub fn record_access(&self, sha256: Sha256) {
        let mut access_times = lock(&self.access_times);
        // Beyond the bound a use is forgotten: the object merely counts as older than it is.
        if access_times.len() < MAX_PENDING_ACCESS_TIMES || access_times.contains_key(&sha256) {
            access_times.insert(sha256, now());
        }
    }

    pub fn flush_access_times(&self) -> Result<(), DiskError> {
        let access_times = std::mem::take(&mut *lock(&self.access_times));
        if access_times.is_empty() {
            return Ok(());
        }
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let sql = "UPDATE objects SET accessed_at = ?2 WHERE sha256 = ?1 AND accessed_at < ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            for (sha256, accessed_at) in access_times {
                statement.execute(params![sha256.as_bytes(), accessed_at, EVICTION_HOLD])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn connect(layout: &Layout) -> Result<(Connection, bool), rusqlite::Error> {
    let mut connection = Connection::open(layout.index())?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // In WAL mode a power cut may lose the last transactions but never the file; the disk is asked
    // again after a death.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let is_new = version != VERSION;
    if is_new {
        transaction.execute_batch(
            "DROP TABLE IF EXISTS objects; DROP TABLE IF EXISTS reservations; DROP TABLE IF EXISTS ledger;
             DROP TABLE IF EXISTS pending; DROP TABLE IF EXISTS in_bucket; DROP TABLE IF EXISTS bucket;",
        )?;
        transaction.execute_batch(SCHEMA)?;
    }
    transaction.commit()?;
    // A whole check would read the whole file at every start. Damage further in shows when it is
    // read.
    connection.query_row("SELECT cached_bytes FROM ledger", [], |row| {
        row.get::<_, i64>(0)
    })?;
    connection.query_row(
        "SELECT count(*) FROM (SELECT 1 FROM objects LIMIT 1)",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    Ok((connection, is_new))
}

/// Whether an index that gives this error is past use.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn remove_files(layout: &Layout) -> Result<(), DiskError> {
    for ending in ["", "-wal", "-shm"] {
        let mut path = layout.index().into_os_string();
        path.push(ending);
        durable_dirs::remove_if_there(path.as_ref())?;
    }
    Ok(())
}

fn identity(layout: &Layout) -> Option<(u64, u64)> {
    let metadata = fs::metadata(layout.index()).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves no half-made state here: SQLite rolls back, and a lost use does no
    // harm.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
fn now() -> i64 {
    since_epoch(SystemTime::now())
}

pub fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    })
}

/// `SQLite` knows signed numbers only; no size comes near their end.
fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
