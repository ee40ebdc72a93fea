//! Reservation of space for a body that is being written, in the index and on the file system.
//!
//! A claimed length evicts nothing. This file must not know how a body is written. Its main type is
//! [`Space`].

use std::fs::File;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::caller::CallerObserver;
use super::index::{ObjectClass, Reservation};
use super::index_error::is_damage;
use super::metadata_ledger::BLOCK_BYTES;
use super::{DiskError, DiskStore, evict};

/// Space that is reserved before the first byte, in bytes. A length that the origin claims reserves
/// no more, because it costs the origin nothing.
const FIRST_STEP_BYTES: u64 = 1 << 20;

/// Bound on the space that is reserved ahead of the bytes that have arrived, in bytes.
const MAX_STEP_BYTES: u64 = 64 << 20;

/// Space that a body needs.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Length that the origin stated, in bytes.
    pub length: Option<u64>,
    pub arrived_bytes: u64,
    pub reserved_bytes: u64,
    /// Bound on the reservation, in bytes. The clients of the body may have no more.
    pub max_bytes: u64,
}

impl Space {
    /// Returns the space of a body before its first byte.
    pub fn of_length(length: Option<u64>) -> Self {
        Self {
            length,
            arrived_bytes: 0,
            reserved_bytes: 0,
            max_bytes: u64::MAX,
        }
    }

    /// Returns the space to reserve ahead, in bytes. It grows with the bytes that have arrived.
    pub fn ahead_bytes(&self) -> u64 {
        let step = self.arrived_bytes.clamp(FIRST_STEP_BYTES, MAX_STEP_BYTES);
        let ahead = self.arrived_bytes.saturating_add(step);
        let ahead = ahead.min(self.max_bytes);
        match self.length {
            Some(length) if length >= self.arrived_bytes => ahead.min(length),
            _ => ahead,
        }
    }
}

/// Body that space is reserved for.
#[derive(Clone, Copy)]
pub struct ReservingBody<'a> {
    /// Number of the body in the slot of this process.
    pub id: u64,
    pub class: ObjectClass,
    pub handle: &'a File,
}

/// Rejects a body that would not fit even if everything else were evicted. Evicts nothing.
///
/// # Errors
/// [`DiskError::NoSpace`] for such a body, otherwise the error of the index or the disk.
pub fn reject_oversized(
    disk: &DiskStore,
    body: ReservingBody<'_>,
    length: Option<u64>,
) -> Result<(), DiskError> {
    let (wanted_bytes, limit_bytes) = (length.unwrap_or(0), disk.config.max_size_bytes);
    let body_id = (disk.slot.name.as_str(), body.id);
    let missing = disk
        .index
        .ledger()
        .missing_bytes(body_id, wanted_bytes, limit_bytes);
    let missing_bytes = match missing {
        // Reserving replaces a damaged index.
        Err(DiskError::Index(error)) if is_damage(&error) => return Ok(()),
        missing => missing?,
    };
    let needed_bytes = wanted_bytes.saturating_add(disk.config.min_free_bytes);
    let missing_bytes = missing_bytes.max(needed_bytes.saturating_sub(free_bytes(body.handle)?));
    if wanted_bytes > limit_bytes
        || (missing_bytes > 0 && missing_bytes > evict::evictable_bytes(disk)?)
    {
        return Err(DiskError::NoSpace);
    }
    Ok(())
}

/// Reserves space for one body, first in the index, then on the file system. Returns the reserved
/// bytes. Only bytes that have arrived evict others.
///
/// # Errors
/// [`DiskError::NoSpace`] if the body does not fit, otherwise the error of the index or the disk.
pub fn reserve(
    disk: &DiskStore,
    body: ReservingBody<'_>,
    space: Space,
    waiting: &CallerObserver,
) -> Result<u64, DiskError> {
    waiting.check()?;
    let ahead_bytes = space.ahead_bytes();
    if reserve_ahead(disk, body, space)? {
        return Ok(ahead_bytes);
    }
    if space.arrived_bytes > 0 {
        reserve_by_eviction(disk, body, space.arrived_bytes, waiting)?;
    }
    Ok(space.arrived_bytes)
}

/// Reserves space for a body whose blocks exist already, so that it counts only in the index.
///
/// # Errors
/// As [`reserve`].
pub fn reserve_existing(
    disk: &DiskStore,
    body: ReservingBody<'_>,
    size_bytes: u64,
    waiting: &CallerObserver,
) -> Result<(), DiskError> {
    let reserve = || {
        waiting.check()?;
        reserve_in_index(disk, body, size_bytes)
    };
    if reserve()? == Reservation::Granted {
        return Ok(());
    }
    if size_bytes > disk.config.max_size_bytes {
        return Err(DiskError::NoSpace);
    }
    evict::make_space(disk, body.class, reserve)
}

/// Reserves space ahead, unless objects would have to be evicted for it. Returns whether it did.
fn reserve_ahead(
    disk: &DiskStore,
    body: ReservingBody<'_>,
    space: Space,
) -> Result<bool, DiskError> {
    let ahead_bytes = space.ahead_bytes();
    let growth_bytes = ahead_bytes.saturating_sub(space.reserved_bytes);
    let needed_bytes = growth_bytes.saturating_add(disk.config.min_free_bytes);
    if reserve_in_index(disk, body, ahead_bytes)? != Reservation::Granted
        || free_bytes(body.handle)? < needed_bytes
    {
        return Ok(false);
    }
    match allocate(body.handle, ahead_bytes) {
        Err(DiskError::NoSpace) => Ok(false),
        allocated => allocated.map(|()| true),
    }
}

/// Reserves a total of `wanted_bytes`, and evicts if there is too little space. Keeps
/// `min_free_bytes` free.
fn reserve_by_eviction(
    disk: &DiskStore,
    body: ReservingBody<'_>,
    wanted_bytes: u64,
    waiting: &CallerObserver,
) -> Result<(), DiskError> {
    let class = body.class;
    let reserve = || {
        waiting.check()?;
        reserve_in_index(disk, body, wanted_bytes)
    };
    if reserve()? != Reservation::Granted {
        if wanted_bytes > disk.config.max_size_bytes {
            return Err(DiskError::NoSpace);
        }
        evict::make_space(disk, class, reserve)?;
    }
    let min_free_bytes = disk.config.min_free_bytes;
    if let Err(DiskError::NoSpace) = allocate(body.handle, wanted_bytes) {
        let needed_bytes = wanted_bytes.saturating_add(min_free_bytes);
        let missing_bytes = needed_bytes.saturating_sub(free_bytes(body.handle)?);
        evict::make_disk_space(disk, class, missing_bytes)?;
        allocate(body.handle, wanted_bytes)?;
    }
    let missing_bytes = min_free_bytes.saturating_sub(free_bytes(body.handle)?);
    if missing_bytes > 0 {
        evict::make_disk_space(disk, class, missing_bytes)?;
        if free_bytes(body.handle)? < min_free_bytes {
            return Err(DiskError::NoSpace);
        }
    }
    Ok(())
}

/// Reserves a total of `wanted_bytes` in the index. Replaces a damaged index.
fn reserve_in_index(
    disk: &DiskStore,
    body: ReservingBody<'_>,
    wanted_bytes: u64,
) -> Result<Reservation, DiskError> {
    let limit_bytes = disk.config.max_size_bytes;
    let body_id = (disk.slot.name.as_str(), body.id);
    let disk_bytes = wanted_bytes.next_multiple_of(BLOCK_BYTES);
    let reserve = || {
        disk.index
            .ledger()
            .reserve(body_id, disk_bytes, limit_bytes)
    };
    match reserve() {
        Err(DiskError::Index(error)) if is_damage(&error) => {
            disk.replace_index_if_lost()?;
            disk.request_reindex();
            disk.low_space.notify_one();
            reserve()
        }
        reserved => reserved,
    }
}

/// Allocates blocks without changing the length of the file. Does nothing if the file system does
/// not support it.
fn allocate(handle: &File, size_bytes: u64) -> Result<(), DiskError> {
    if size_bytes == 0 {
        return Ok(());
    }
    match fallocate(handle, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

/// Returns the free space of the file system that an unprivileged process can use, in bytes.
fn free_bytes(handle: &File) -> Result<u64, DiskError> {
    let state = fstatvfs(handle).map_err(std::io::Error::from)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}
