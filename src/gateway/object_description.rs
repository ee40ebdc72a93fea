//! Facts about a stored object: its name, its pieces, and the origins and mirrors that have the
//! same bytes.
//!
//! The main function is [`describe_object`].

use std::net::IpAddr;

use super::Gateway;
use super::by_digest::NOT_STORED;
use super::catalog_files::targets_of_object;
use super::error::RequestError;
use crate::cache::{CacheError, CatalogEntry, EntryOrigin, TargetLookup};
use crate::model::{PieceList, Sha256, Target};
use crate::policy::{Class, Source, SourceKind};

/// Bound on the targets whose sources are listed.
const MAX_TARGETS: usize = 8;

/// Bound on the sources that are listed.
const MAX_SOURCES: usize = 16;

/// Description of a stored object.
#[derive(Debug)]
pub struct ObjectDescription {
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// File name of a target that has the object.
    pub name: Option<String>,
    /// `None` until they are computed.
    pub pieces: Option<PieceList>,
    /// Origins and mirrors, the best first.
    pub sources: Vec<Target>,
}

/// Describes an object on the disk, if `may_have` allows it by the targets on record.
///
/// # Errors
/// [`RequestError::Denied`] if the digest is denied, [`RequestError::NotFound`] if the object is
/// not stored, [`RequestError::Unavailable`] if the cache cannot be read,
/// [`RequestError::OverLimit`] for a client over its daily quota.
pub async fn describe_object(
    gateway: &Gateway,
    client: IpAddr,
    sha256: Sha256,
    may_have: impl FnOnce(&[Target]) -> bool,
) -> Result<ObjectDescription, RequestError> {
    let unavailable = |error: CacheError| {
        tracing::warn!(%error, %sha256, "object cannot be described");
        RequestError::Unavailable
    };
    let (cache, policy) = (&gateway.services.cache, &gateway.services.policy);
    policy.check_quota(client)?;
    policy.check_digests([&sha256.into()])?;
    if !may_have(&targets_of_object(cache, sha256).await) {
        return Err(RequestError::NotFound(NOT_STORED));
    }
    let object = cache.admin().open_object(sha256).await;
    let object = object.map_err(unavailable)?;
    let object = object.ok_or(RequestError::NotFound(NOT_STORED))?;
    let pieces = cache.pieces().of(&object).await.map_err(unavailable)?;
    let found = cache.catalog().by_digest(sha256.into()).await;
    let found = found.map_err(unavailable)?.into_iter();
    let found = found.filter(|entry| entry.origin == EntryOrigin::Record);
    let (mut name, mut sources) = (None, Vec::new());
    for entry in found.take(MAX_TARGETS) {
        let of_entry = sources_of(gateway, sha256, &entry).await;
        if !of_entry.is_empty() {
            name.get_or_insert(entry.name);
        }
        for source in of_entry {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    sources.truncate(MAX_SOURCES);
    Ok(ObjectDescription {
        sha256,
        size_bytes: object.size_bytes,
        name,
        pieces,
        sources,
    })
}

/// Returns the sources of a target that has the object as its answer. A private target, and one
/// whose bytes may change, has none.
async fn sources_of(gateway: &Gateway, sha256: Sha256, entry: &CatalogEntry) -> Vec<Target> {
    let services = &gateway.services;
    let Some(target) = entry.target.as_ref().filter(|target| !target.is_private()) else {
        return Vec::new();
    };
    let Ok(admitted) = services.policy.admit(target.clone()) else {
        return Vec::new();
    };
    let is_answer = match services.cache.lookup(target).await {
        Ok(TargetLookup::Known(known)) => known.active().sha256 == sha256,
        _ => false,
    };
    if !is_answer || admitted.class() != Class::Immutable {
        return Vec::new();
    }
    let sources = services.policy.sources(&admitted, true);
    let sources = sources.iter().filter(|source| is_public(source));
    sources.map(|source| source.target().clone()).collect()
}

/// Whether any client may know the URL of a source. A query may have a secret, and so may a
/// location that the operator has credentials for. Parents are machines of an operator.
fn is_public(source: &Source) -> bool {
    let target = source.target();
    let has_secret = target.has_credentials()
        || target.url().query().is_some()
        || source.admitted().request_options().credentials.is_some();
    source.kind() != SourceKind::Parent && !has_secret
}
