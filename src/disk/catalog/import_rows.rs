//! Statements for the entries of imported lists.
//!
//! This file must not know the files of the lists. The main function is [`add`].

use rusqlite::Connection;

use super::database::insert;
use super::entry::CatalogEntry;
use crate::model::Sha256;

/// Removes the entries of an imported list.
///
/// # Errors
/// `SQLite`'s error.
pub fn remove(connection: &Connection, list: Sha256) -> Result<(), rusqlite::Error> {
    let sql = "DELETE FROM entries WHERE import = ?1";
    connection.execute(sql, [list.as_bytes()]).map(drop)
}

/// Adds entries of an imported list.
///
/// # Errors
/// `SQLite`'s error.
pub fn add(
    connection: &Connection,
    list: Sha256,
    entries: &[CatalogEntry],
) -> Result<(), rusqlite::Error> {
    for entry in entries {
        insert(connection, entry, None, Some(list))?;
    }
    Ok(())
}

/// Returns the number of entries of imported lists, or of one of them.
///
/// # Errors
/// `SQLite`'s error.
pub fn count(connection: &Connection, list: Option<Sha256>) -> Result<u64, rusqlite::Error> {
    let count: i64 = if let Some(list) = list {
        let sql = "SELECT count(*) FROM entries WHERE import = ?1";
        connection.query_row(sql, [list.as_bytes()], |row| row.get(0))?
    } else {
        let sql = "SELECT count(*) FROM entries WHERE import IS NOT NULL";
        connection.query_row(sql, [], |row| row.get(0))?
    };
    Ok(count.unsigned_abs())
}

/// Returns the imported lists that have entries.
///
/// # Errors
/// `SQLite`'s error.
pub fn lists(connection: &Connection) -> Result<Vec<Sha256>, rusqlite::Error> {
    let sql = "SELECT DISTINCT import FROM entries WHERE import IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0).map(Sha256::from_bytes))?;
    rows.collect()
}
