//! Runs statements that stay prepared. To prepare one takes longer than to run it.
//!
//! This file must not know tables.

use rusqlite::{Connection, Params, Row};

/// Runs a statement. Returns the number of changed rows.
///
/// # Errors
/// `SQLite`'s error.
pub fn execute(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached(sql)?.execute(params)
}

/// Returns the first row of a query, read by `read`.
///
/// # Errors
/// `SQLite`'s error, also if there is no row.
pub fn query_row<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_row(params, read)
}
