//! The SQLite file of the catalog: its schema, and the statements for records and look-ups.
//!
//! This file must not know the files that the catalog is filled from. Its main function is
//! [`open`].

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use fs_err as fs;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::entry::{CatalogEntry, EntryOrigin};
use crate::disk::index_error::{damage, is_damage};
use crate::disk::layout::Layout;
use crate::disk::{DiskError, durable_dirs};
use crate::model::{
    Algorithm, Digest, Digests, ExpectedDigests, Key, Record, Sha256, Target, file_names,
};

/// Version of the schema. A file of another version is replaced.
const VERSION: i64 = 2;

/// Bound on the entries of records that a look-up returns, and on those of lists. More different
/// entries of one name have no common meaning.
pub const MAX_FOUND_ENTRIES: usize = 64;

/// Bound on the time that a write waits for the transaction of another process. A change that does
/// not get the lock is found by a scan.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// Bound on the pages of the file in memory, in KiB.
const CACHE_KIB: i64 = 4096;

/// `record` names the record of an entry by eight bytes of its key and digest. It is null for an
/// entry of the list `import`. The indexes contain it, so that no number of listed entries hides
/// those of records.
const SCHEMA: &str = "
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        uri TEXT,
        size_bytes INTEGER,
        record INTEGER,
        import BLOB,
        sha256 BLOB,
        sha512 BLOB,
        sha1 BLOB,
        md5 BLOB
    );
    CREATE INDEX entries_by_name ON entries (name, record);
    CREATE INDEX entries_by_record ON entries (record) WHERE record IS NOT NULL;
    CREATE INDEX entries_by_import ON entries (import) WHERE import IS NOT NULL;
    CREATE INDEX entries_by_sha256 ON entries (sha256, record)
        WHERE sha256 IS NOT NULL;
    CREATE INDEX entries_by_sha512 ON entries (sha512, record)
        WHERE sha512 IS NOT NULL;
    CREATE INDEX entries_by_sha1 ON entries (sha1, record)
        WHERE sha1 IS NOT NULL;
    CREATE INDEX entries_by_md5 ON entries (md5, record)
        WHERE md5 IS NOT NULL;
    PRAGMA user_version = 2;
";

const INSERT: &str = "INSERT INTO entries
    (name, uri, size_bytes, record, import, sha256, sha512, sha1, md5)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Algorithms in the order of the columns.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Sha256,
    Algorithm::Sha512,
    Algorithm::Sha1,
    Algorithm::Md5,
];

/// A catalog that was opened.
pub struct Opened {
    pub connection: Connection,
    /// Whether it was created, and is empty.
    pub is_new: bool,
}

/// Opens the file. Creates a new one if it is missing, damaged or of another version.
///
/// # Errors
/// [`DiskError`] if the file cannot be used.
pub fn open(layout: &Layout) -> Result<Opened, DiskError> {
    match connect(layout) {
        Ok(opened) => Ok(opened),
        Err(error) if is_damage(&error) => {
            tracing::warn!(%error, "catalog is damaged, creating a new one");
            remove_files(layout)?;
            Ok(connect(layout)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn connect(layout: &Layout) -> Result<Opened, rusqlite::Error> {
    let mut connection = Connection::open(layout.catalog())?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(32);
    let mut is_new = false;
    if version(&connection)? != VERSION {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have created it since.
        is_new = version(&transaction)? != VERSION;
        if is_new {
            transaction.execute_batch("DROP TABLE IF EXISTS entries;")?;
            transaction.execute_batch(SCHEMA)?;
        }
        transaction.commit()?;
    }
    let sql = "SELECT count(*) FROM sqlite_schema WHERE sql IS NOT NULL";
    if connection.query_row(sql, [], |row| row.get::<_, i64>(0))? != 8 {
        return Err(damage("its tables are not those of this version"));
    }
    Ok(Opened { connection, is_new })
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn remove_files(layout: &Layout) -> Result<(), DiskError> {
    for ending in ["", "-wal", "-shm"] {
        let mut path = layout.catalog().into_os_string();
        path.push(ending);
        durable_dirs::remove_if_exists(path.as_ref())?;
    }
    Ok(())
}

/// Returns the device and inode of the file, or `None` if it does not exist.
pub fn identity(layout: &Layout) -> Option<(u64, u64)> {
    let metadata = fs::metadata(layout.catalog()).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Begins a transaction that writes. Dropping it rolls it back.
///
/// # Errors
/// `SQLite`'s error.
pub fn begin(connection: &mut Connection) -> Result<Transaction<'_>, rusqlite::Error> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Returns the number that names a record.
fn record_id(key: Key, sha256: Sha256) -> i64 {
    let eight = |bytes: &[u8; 32]| {
        let begin = bytes.first_chunk().copied();
        i64::from_le_bytes(begin.unwrap_or_default())
    };
    eight(key.as_bytes()) ^ eight(sha256.as_bytes())
}

/// Adds the entries of records, one for each name. They replace those of the same records.
///
/// # Errors
/// `SQLite`'s error.
pub fn add_records(connection: &Connection, records: &[&Record]) -> Result<(), rusqlite::Error> {
    for record in records {
        let id = record_id(record.key(), record.sha256);
        delete_record(connection, id)?;
        let mut entry = CatalogEntry {
            name: String::new(),
            target: Some(record.target.clone()),
            size_bytes: Some(record.size_bytes),
            digests: to_expected(&record.known_digests()),
            origin: EntryOrigin::Record,
        };
        for name in file_names(&record.target, &record.headers) {
            entry.name = name;
            insert(connection, &entry, Some(id), None)?;
        }
    }
    Ok(())
}

/// Removes the entries of a record.
///
/// # Errors
/// `SQLite`'s error.
pub fn remove_record(
    connection: &Connection,
    key: Key,
    sha256: Sha256,
) -> Result<(), rusqlite::Error> {
    delete_record(connection, record_id(key, sha256))
}

fn delete_record(connection: &Connection, id: i64) -> Result<(), rusqlite::Error> {
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE record = ?1")?;
    delete.execute([id]).map(drop)
}

/// Returns whether a record has entries.
///
/// # Errors
/// `SQLite`'s error.
pub fn has_record(
    connection: &Connection,
    key: Key,
    sha256: Sha256,
) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT 1 FROM entries WHERE record = ?1 LIMIT 1";
    connection
        .prepare_cached(sql)?
        .exists([record_id(key, sha256)])
}

/// Adds digests to the entries of an object.
///
/// # Errors
/// `SQLite`'s error.
pub fn add_digests(connection: &Connection, digests: &Digests) -> Result<(), rusqlite::Error> {
    let expected = to_expected(digests);
    let [sha256, sha512, sha1, md5] = columns(&expected);
    let sql = "UPDATE entries SET sha512 = coalesce(?2, sha512), sha1 = coalesce(?3, sha1),
               md5 = coalesce(?4, md5) WHERE sha256 = ?1";
    let mut update = connection.prepare_cached(sql)?;
    update.execute(params![sha256, sha512, sha1, md5]).map(drop)
}

/// Adds an entry of a record, or of an imported list.
///
/// # Errors
/// `SQLite`'s error.
pub fn insert(
    connection: &Connection,
    entry: &CatalogEntry,
    record: Option<i64>,
    import: Option<Sha256>,
) -> Result<(), rusqlite::Error> {
    let [sha256, sha512, sha1, md5] = columns(&entry.digests);
    let uri = entry.target.as_ref().map(Target::as_str);
    let size_bytes = entry.size_bytes.and_then(|size| i64::try_from(size).ok());
    let import = import.as_ref().map(Sha256::as_bytes);
    connection.prepare_cached(INSERT)?.execute(params![
        entry.name, uri, size_bytes, record, import, sha256, sha512, sha1, md5
    ])?;
    Ok(())
}

/// Returns up to [`MAX_FOUND_ENTRIES`] different entries of a file name from records, then as many
/// from lists.
///
/// # Errors
/// `SQLite`'s error.
pub fn by_name(connection: &Connection, name: &str) -> Result<Vec<CatalogEntry>, rusqlite::Error> {
    find(connection, "name = ?1", name)
}

/// Returns up to [`MAX_FOUND_ENTRIES`] different entries of a digest from records, then as many
/// from lists.
///
/// # Errors
/// `SQLite`'s error.
pub fn by_digest(
    connection: &Connection,
    digest: &Digest,
) -> Result<Vec<CatalogEntry>, rusqlite::Error> {
    let condition = match digest.algorithm() {
        Algorithm::Sha256 => "sha256 = ?1",
        Algorithm::Sha512 => "sha512 = ?1",
        Algorithm::Sha1 => "sha1 = ?1",
        Algorithm::Md5 => "md5 = ?1",
    };
    find(connection, condition, digest.as_bytes())
}

fn find(
    connection: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> Result<Vec<CatalogEntry>, rusqlite::Error> {
    let mut entries = Vec::new();
    for origin in ["record IS NOT NULL", "record IS NULL"] {
        // Several lists may have the same entry.
        let sql = format!(
            "SELECT DISTINCT name, uri, size_bytes, record, sha256, sha512, sha1, md5 FROM entries
             WHERE {condition} AND {origin} LIMIT {MAX_FOUND_ENTRIES}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        for entry in statement.query_map([&value], read_entry)? {
            entries.push(entry?);
        }
    }
    Ok(entries)
}

/// Returns objects whose SHA-512 is not known.
///
/// # Errors
/// `SQLite`'s error.
pub fn without_digests(
    connection: &Connection,
    after: Option<Sha256>,
    count: usize,
) -> Result<Vec<Sha256>, rusqlite::Error> {
    let sql = "SELECT DISTINCT sha256 FROM entries
               WHERE sha256 IS NOT NULL AND sha256 > ?1 AND record IS NOT NULL AND sha512 IS NULL
               ORDER BY sha256 LIMIT ?2";
    let after: &[u8] = after.as_ref().map_or(&[], |sha256| sha256.as_bytes());
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, count], |row| {
        row.get(0).map(Sha256::from_bytes)
    })?;
    rows.collect()
}

/// Returns the number of entries.
///
/// # Errors
/// `SQLite`'s error.
pub fn count(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let sql = "SELECT count(*) FROM entries";
    let count: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(count.map_or(0, i64::unsigned_abs))
}

fn read_entry(row: &Row<'_>) -> Result<CatalogEntry, rusqlite::Error> {
    let mut digests = ExpectedDigests::nothing();
    for (column, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let bytes: Option<Vec<u8>> = row.get(column + 4)?;
        let digest = bytes.and_then(|bytes| Digest::parse(algorithm, &hex::encode(bytes)).ok());
        digests.extend(digest);
    }
    let uri: Option<String> = row.get(1)?;
    let size_bytes: Option<i64> = row.get(2)?;
    Ok(CatalogEntry {
        name: row.get(0)?,
        target: uri.and_then(|uri| Target::parse(&uri).ok()),
        size_bytes: size_bytes.map(i64::unsigned_abs),
        digests,
        origin: match row.get::<_, Option<i64>>(3)? {
            Some(_) => EntryOrigin::Record,
            None => EntryOrigin::Import,
        },
    })
}

/// Returns the digests in the order of the columns.
fn columns(digests: &ExpectedDigests) -> [Option<&[u8]>; 4] {
    ALGORITHMS.map(|algorithm| {
        let mut all = digests.iter();
        all.find(|digest| digest.algorithm() == algorithm)
            .map(Digest::as_bytes)
    })
}

fn to_expected(digests: &Digests) -> ExpectedDigests {
    let others = digests.others.iter();
    others
        .filter_map(|(algorithm, hex)| Digest::parse(*algorithm, hex).ok())
        .chain([digests.sha256.into()])
        .collect()
}
