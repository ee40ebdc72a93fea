//! Queries for lists of digests.

use rusqlite::{ToSql, params};

use super::connection::IndexConnection;
use super::database::to_i64;
use crate::disk::DiskError;
use crate::model::Sha256;

/// Runs a query for digests whose parameters are a bound and the maximum number of rows.
///
/// # Errors
/// [`DiskError::Index`] if the index fails.
pub fn query_digests(
    connection: &IndexConnection,
    sql: &str,
    bound: impl ToSql,
    count: usize,
) -> Result<Vec<Sha256>, DiskError> {
    let connection = connection.read();
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![bound, to_i64(count as u64)], |row| {
        row.get(0).map(Sha256::from_bytes)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
