//! The SQLite file of the index: its schema, opening and removal, and the conversion of values.
//!
//! This file must not know the meaning of the tables. Its main function is [`connect`].

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use rusqlite::{Connection, TransactionBehavior};

use crate::disk::index_error::{damage, read_only};
use crate::disk::layout::Layout;
use crate::disk::{DiskError, durable_dirs};

/// Version of the schema. Tables of another version are dropped and created again.
const VERSION: i64 = 6;

/// Bound on the time that opening and reading wait for another process, which may be repairing the
/// file after a crash.
pub const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// Bound on the size of an index in memory, in bytes. It holds about a million objects.
const MAX_MEMORY_BYTES: i64 = 256 << 20;

/// Unit of this bound, in bytes.
const MEMORY_PAGE_BYTES: i64 = 4096;

/// Bound on the statements that stay prepared. It is more than there are.
const PREPARED_STATEMENTS: usize = 64;

const SCHEMA: &str = "
    CREATE TABLE objects (
        sha256 BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        disk_bytes INTEGER NOT NULL,
        accessed_at INTEGER NOT NULL,
        is_observed INTEGER NOT NULL,
        observed_key BLOB
    ) WITHOUT ROWID;
    CREATE TABLE evicted (
        sha256 BLOB PRIMARY KEY,
        accessed_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX objects_by_access ON objects (accessed_at);
    CREATE INDEX observed_by_access ON objects (accessed_at) WHERE is_observed;
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
        queued_at INTEGER NOT NULL,
        PRIMARY KEY (sha256, key)
    ) WITHOUT ROWID;
    CREATE INDEX pending_by_time ON pending (not_before);
    CREATE TABLE in_bucket (
        sha256 BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        seen_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE bucket (id TEXT NOT NULL);
    CREATE TABLE ledger (
        cached_bytes INTEGER NOT NULL,
        disk_bytes INTEGER NOT NULL,
        objects INTEGER NOT NULL,
        observed_bytes INTEGER NOT NULL,
        record_bytes INTEGER NOT NULL,
        record_inodes INTEGER NOT NULL,
        other_bytes INTEGER NOT NULL,
        other_inodes INTEGER NOT NULL
    );
    INSERT INTO ledger VALUES (0, 0, 0, 0, 0, 0, 0, 0);
    CREATE TRIGGER object_added AFTER INSERT ON objects BEGIN
        UPDATE ledger SET cached_bytes = cached_bytes + NEW.size_bytes,
            disk_bytes = disk_bytes + NEW.disk_bytes, objects = objects + 1,
            observed_bytes = observed_bytes + NEW.is_observed * NEW.disk_bytes;
        DELETE FROM evicted WHERE sha256 = NEW.sha256;
    END;
    CREATE TRIGGER object_removed AFTER DELETE ON objects BEGIN
        UPDATE ledger SET cached_bytes = cached_bytes - OLD.size_bytes,
            disk_bytes = disk_bytes - OLD.disk_bytes, objects = objects - 1,
            observed_bytes = observed_bytes - OLD.is_observed * OLD.disk_bytes;
    END;
    CREATE TRIGGER object_class_changed AFTER UPDATE OF is_observed ON objects BEGIN
        UPDATE ledger SET observed_bytes = observed_bytes
            + (NEW.is_observed - OLD.is_observed) * NEW.disk_bytes;
    END;
    PRAGMA user_version = 6;
";

/// Opens the file of the index, and creates its tables if their version is another one. Returns
/// true with the connection if it created them. The lock of the file is taken only for that.
///
/// # Errors
/// SQLite's error. The file is damaged if `index_error::is_damage` says so.
pub fn connect(layout: &Layout) -> Result<(Connection, bool), rusqlite::Error> {
    let mut connection = Connection::open(layout.index())?;
    connection.busy_timeout(READ_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    // SQLite opens a file that cannot be written for reading only, and never again for writing.
    if connection.is_readonly("main")? {
        return Err(read_only());
    }
    // In WAL mode a power cut may lose the last transactions but never the file. After a crash the
    // index is compared with the files.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let mut is_new = false;
    if version(&connection)? != VERSION {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have created them since.
        is_new = version(&transaction)? != VERSION;
        if is_new {
            transaction.execute_batch(
                "DROP TABLE IF EXISTS objects; DROP TABLE IF EXISTS reservations;
                 DROP TABLE IF EXISTS ledger; DROP TABLE IF EXISTS pending;
                 DROP TABLE IF EXISTS in_bucket; DROP TABLE IF EXISTS bucket;
                 DROP TABLE IF EXISTS evicted;",
            )?;
            transaction.execute_batch(SCHEMA)?;
        }
        transaction.commit()?;
    }
    check_tables(&connection)?;
    Ok((connection, is_new))
}

/// Creates an index in memory, for a process that cannot use the file.
///
/// # Errors
/// SQLite's error.
pub fn connect_memory() -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_in_memory()?;
    connection.pragma_update(None, "page_size", MEMORY_PAGE_BYTES)?;
    connection.pragma_update(None, "max_page_count", MAX_MEMORY_BYTES / MEMORY_PAGE_BYTES)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Checks the tables and the account. A complete check would read the whole file at every start.
/// Damage elsewhere shows when it is read.
fn check_tables(connection: &Connection) -> Result<(), rusqlite::Error> {
    if statements(connection)? != statements(&connect_memory()?)? {
        return Err(damage("its tables are not those of this version"));
    }
    let sql = "SELECT (SELECT count(*) FROM ledger), (SELECT count(cached_bytes) FROM ledger),
               (SELECT count(*) FROM (SELECT 1 FROM objects LIMIT 1))";
    let rows = connection.query_row(sql, [], |row| {
        row.get::<_, i64>(2)?;
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    if rows == (1, 1) {
        Ok(())
    } else {
        Err(damage("its account is missing"))
    }
}

/// Returns the statements that created the tables.
fn statements(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// Removes the file of the index and its WAL files. A folder in its place is moved to quarantine.
///
/// # Errors
/// [`DiskError`] if one cannot be removed.
pub fn remove_files(layout: &Layout) -> Result<(), DiskError> {
    if fs::symlink_metadata(layout.index()).is_ok_and(|found| found.is_dir()) {
        fs::create_dir_all(layout.quarantine())?;
        // An operator decides on a folder: only files expire in quarantine.
        let aside = layout.quarantine().join(format!("index.{}.folder", now()));
        fs::rename(layout.index(), aside)?;
    }
    for ending in ["", "-wal", "-shm"] {
        let mut path = layout.index().into_os_string();
        path.push(ending);
        durable_dirs::remove_if_exists(path.as_ref())?;
    }
    Ok(())
}

/// Returns whether something other than a file has the name of the index.
pub fn is_no_file(layout: &Layout) -> bool {
    fs::symlink_metadata(layout.index()).is_ok_and(|found| !found.is_file())
}

/// Returns the device and inode of the file of the index, or `None` if it does not exist.
pub fn identity(layout: &Layout) -> Option<(u64, u64)> {
    let metadata = fs::metadata(layout.index()).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Returns the current time in milliseconds since 1970.
pub fn now() -> i64 {
    since_epoch(SystemTime::now())
}

/// Converts a time to milliseconds since 1970. An earlier time becomes 0.
pub fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| {
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Converts a number for `SQLite`, which has signed numbers only. No size comes near their limit.
pub fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a number from `SQLite`. A negative number becomes 0.
pub fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
