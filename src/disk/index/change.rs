//! Changes of the index that may be applied later. The main type is [`IndexChange`].

use rusqlite::{Connection, params};

use super::database::to_i64;
use super::object::{IndexedObject, ObjectClass};
use super::pending_upload::{PendingUpload, enqueue};
use super::statements::execute;
use crate::model::{Key, Sha256};

/// Change that nothing waits for. If the index cannot be written, it is applied later.
#[derive(Debug, Clone)]
pub enum IndexChange {
    /// Inserts an object. One that the index has stays, but an observed one may become recorded.
    Insert(IndexedObject, ObjectClass),
    Remove(Sha256),
    /// Removes an object. Its last access is remembered while it has records. `freed_bytes` is 0 if
    /// its file was gone already.
    RemoveEvicted {
        sha256: Sha256,
        freed_bytes: u64,
    },
    SetClass(Sha256, ObjectClass),
    /// Sets the target whose observation names an object.
    SetObservedKey(Sha256, Key),
    /// Adds a record and its object to the upload queue.
    Enqueue(PendingUpload),
    /// Sets the access time of an object, in milliseconds since 1970.
    SetAccessTime(Sha256, i64),
    /// Releases the reservation of one body of a process.
    Release {
        process: String,
        id: u64,
    },
    /// Inserts an object, and releases the reservation of its body.
    Publish {
        object: IndexedObject,
        class: ObjectClass,
        process: String,
        id: u64,
    },
}

impl IndexChange {
    /// Executes the statements of the change.
    ///
    /// # Errors
    /// `SQLite`'s error.
    pub fn apply(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        match self {
            Self::Insert(object, class) => insert(connection, object, *class),
            Self::Remove(sha256) => {
                let sql = "DELETE FROM objects WHERE sha256 = ?1";
                execute(connection, sql, [sha256.as_bytes()]).map(drop)
            }
            Self::RemoveEvicted { sha256, .. } => {
                let sql = "INSERT OR REPLACE INTO evicted SELECT sha256, accessed_at FROM objects
                           WHERE sha256 = ?1 AND NOT is_observed";
                execute(connection, sql, [sha256.as_bytes()])?;
                Self::Remove(*sha256).apply(connection)
            }
            Self::SetClass(sha256, class) => {
                let sql = "UPDATE objects SET is_observed = ?2
                           WHERE sha256 = ?1 AND is_observed <> ?2";
                let is_observed = *class == ObjectClass::Observed;
                execute(connection, sql, params![sha256.as_bytes(), is_observed]).map(drop)
            }
            Self::SetObservedKey(sha256, key) => {
                let sql = "UPDATE objects SET observed_key = ?2 WHERE sha256 = ?1";
                execute(connection, sql, params![sha256.as_bytes(), key.as_bytes()]).map(drop)
            }
            Self::Enqueue(pending) => enqueue(connection, *pending).map(drop),
            Self::SetAccessTime(sha256, accessed_at) => {
                let sql = "UPDATE objects SET accessed_at = ?2 WHERE sha256 = ?1";
                execute(connection, sql, params![sha256.as_bytes(), accessed_at]).map(drop)
            }
            Self::Release { process, id } => release(connection, process, *id),
            Self::Publish {
                object,
                class,
                process,
                id,
            } => {
                insert(connection, object, *class)?;
                release(connection, process, *id)
            }
        }
    }

    /// Returns the bytes on the disk that the change adds to the account. Negative if it takes them
    /// away.
    pub fn net_bytes(&self) -> i64 {
        match self {
            Self::Insert(object, _) | Self::Publish { object, .. } => to_i64(object.disk_bytes),
            Self::RemoveEvicted { freed_bytes, .. } => -to_i64(*freed_bytes),
            _ => 0,
        }
    }

    /// Returns the object that was evicted, if the change says so.
    pub fn evicted(&self) -> Option<Sha256> {
        match self {
            Self::RemoveEvicted { sha256, .. } => Some(*sha256),
            _ => None,
        }
    }
}

fn insert(
    connection: &Connection,
    object: &IndexedObject,
    class: ObjectClass,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, NULL)
               ON CONFLICT DO UPDATE SET is_observed = min(is_observed, excluded.is_observed)";
    execute(
        connection,
        sql,
        params![
            object.sha256.as_bytes(),
            to_i64(object.size_bytes),
            to_i64(object.disk_bytes),
            object.accessed_at,
            class == ObjectClass::Observed
        ],
    )?;
    Ok(())
}

fn release(connection: &Connection, process: &str, id: u64) -> Result<(), rusqlite::Error> {
    let sql = "DELETE FROM reservations WHERE process = ?1 AND id = ?2";
    execute(connection, sql, params![process, to_i64(id)])?;
    Ok(())
}
