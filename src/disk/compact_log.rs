//! Compacted records, one line each, in `compact/ab.log`. The two digits begin the keys of the
//! targets.
//!
//! A line holds the key, the digest and the record as JSON. A file of the same record takes
//! precedence. A log is replaced as a whole, so that a crash leaves the old or the new one. Of a
//! line that cannot be read, the key and the digest count, so that the target stays known. A line
//! without them says nothing. This file must not know which records are compacted. Its main
//! function is [`add_records`].

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};

use fs_err as fs;

use super::metadata_ledger::MetadataKind;
use super::{DiskError, DiskStore, Layout, durable_dirs, record_content};
use crate::model::{Key, Record, RecordSet, Sha256};

/// Bound on one log, in bytes. A look-up reads a whole log, and 256 of them take half a GiB.
pub const MAX_LOG_BYTES: usize = 2 << 20;

/// Bound on the bytes of a log that are read. No process writes more.
const MAX_READ_BYTES: u64 = 2 * MAX_LOG_BYTES as u64;

/// Size of the pieces in which a log is read, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Length of a key or a digest in hexadecimal.
const HEX_CHARS: usize = 64;

/// Whether a log exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    Missing,
    Found,
}

/// Record that is to be compacted.
pub struct CompactRecord {
    key: Key,
    sha256: Sha256,
    line: Vec<u8>,
}

impl CompactRecord {
    pub fn new(record: &Record) -> Self {
        let (key, sha256) = (record.key(), record.sha256);
        let mut line = format!("{key} {sha256} ").into_bytes();
        serde_json::to_writer(&mut line, record).expect("a record has only strings and numbers");
        line.push(b'\n');
        Self { key, sha256, line }
    }

    pub fn key(&self) -> Key {
        self.key
    }
}

/// Returns the two digits that name the log of a target.
pub fn shard_of(key: Key) -> String {
    key.to_string()[..2].to_owned()
}

/// Adds the compacted records of a target to its other ones, up to `max` in all.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn add_records(
    layout: &Layout,
    key: Key,
    max: usize,
    records: &mut RecordSet,
) -> Result<LogState, DiskError> {
    let prefix = key.to_string();
    for_each_line(layout, &shard_of(key), |line| {
        if !line.starts_with(prefix.as_bytes()) || records.count() >= max {
            return;
        }
        if let Some((own, sha256, content)) = split(line)
            && own == key
            && !records.digests().any(|known| known == sha256)
        {
            record_content::add(content, (key, sha256), records);
        }
    })
}

/// Returns the keys and digests in a log, in its order.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn names(layout: &Layout, shard: &str) -> Result<Vec<(Key, Sha256)>, DiskError> {
    let mut names = Vec::new();
    for_each_line(layout, shard, |line| {
        names.extend(split(line).map(|(key, sha256, _)| (key, sha256)));
    })?;
    Ok(names)
}

/// Returns the keys and digests of the lines in a log whose records cannot be read.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn damaged(layout: &Layout, shard: &str) -> Result<Vec<(Key, Sha256)>, DiskError> {
    let mut damaged = Vec::new();
    for_each_line(layout, shard, |line| {
        if let Some((key, sha256, content)) = split(line)
            && let Err(error) = record_content::parse(content, key, sha256)
            && !error.is_newer_version()
            && !layout.record(key, sha256).exists()
        {
            damaged.push((key, sha256));
        }
    })?;
    Ok(damaged)
}

/// Removes a record from the log of its target. The caller holds the lock of the target.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails.
pub fn remove(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let shard = shard_of(key);
    let is_removed = |own: Key, digest: Sha256| own == key && digest == sha256;
    let names = names(&disk.layout, &shard)?;
    if names.iter().any(|(own, digest)| is_removed(*own, *digest)) {
        rewrite(disk, &shard, Vec::new(), is_removed)?;
    }
    Ok(())
}

/// Adds records to a log, as many as it takes, and removes the lines of records that have a file.
/// Returns the number of records from the first on that the log has durably. The caller holds the
/// lock of the targets.
///
/// # Errors
/// [`DiskError::Io`] if the disk fails. Then the log is as before.
pub fn append(
    disk: &DiskStore,
    shard: &str,
    records: Vec<CompactRecord>,
) -> Result<usize, DiskError> {
    let has_file = |key: Key, sha256: Sha256| disk.layout.record(key, sha256).exists();
    rewrite(disk, shard, records, has_file)
}

/// Replaces a log by its lines that are not dropped and the new ones.
fn rewrite(
    disk: &DiskStore,
    shard: &str,
    records: Vec<CompactRecord>,
    is_dropped: impl Fn(Key, Sha256) -> bool,
) -> Result<usize, DiskError> {
    let mut content = Vec::new();
    for_each_line(&disk.layout, shard, |line| {
        if let Some((key, sha256, _)) = split(line)
            && !is_dropped(key, sha256)
            && !records
                .iter()
                .any(|new| new.key == key && new.sha256 == sha256)
        {
            content.extend_from_slice(line);
            content.push(b'\n');
        }
    })?;
    let mut added = 0;
    for new in records {
        if content.len() + new.line.len() > MAX_LOG_BYTES {
            break;
        }
        content.extend(new.line);
        added += 1;
    }
    let path = disk.layout.compact_log(shard);
    let _counted = disk.metadata.watch(MetadataKind::Others, path.clone());
    if content.is_empty() {
        durable_dirs::remove_if_exists(&path)?;
        return Ok(0);
    }
    let (_, draft) = disk.slot.next_file();
    let mut file = fs::File::create(&draft)?;
    file.write_all(&content)?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    durable_dirs::sync(&disk.layout.compact())?;
    Ok(added)
}

/// Calls `visit` with each line, without its line feed. The last one may be incomplete.
fn for_each_line(
    layout: &Layout,
    shard: &str,
    mut visit: impl FnMut(&[u8]),
) -> Result<LogState, DiskError> {
    let file = match fs::File::open(layout.compact_log(shard)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogState::Missing),
        Err(error) => return Err(error.into()),
    };
    let mut reader = BufReader::with_capacity(PIECE_BYTES, file.take(MAX_READ_BYTES));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        visit(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(LogState::Found)
}

/// Splits a line into key, digest and record. Returns `None` if it does not begin with the first
/// two.
fn split(line: &[u8]) -> Option<(Key, Sha256, &[u8])> {
    let hex = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let (key, rest) = line.split_at_checked(HEX_CHARS)?;
    let (sha256, rest) = rest.strip_prefix(b" ")?.split_at_checked(HEX_CHARS)?;
    let content = rest.strip_prefix(b" ").unwrap_or(rest);
    Some((hex(key)?.parse().ok()?, hex(sha256)?.parse().ok()?, content))
}
