//! Verification of stored objects: which files have been hashed lately, their digests, and what
//! becomes of a corrupt one.
//!
//! A client that states a digest never gets other bytes, also if the disk has changed them. This
//! file must not know requests. Its main type is [`Verification`].

use std::sync::Arc;

use super::error::CacheError;
use super::handle::Cache;
use super::hit::Hit;
use super::object_verifier::HashError;
use super::verifying_reader::VerifyingReader;
use crate::disk::{
    DiskError, FileHit, IoClass, ObjectHandle, OpenFile, TargetRecords, digests, quarantine,
};
use crate::limits::PoolClient;
use crate::model::{DigestMatch, Digests, Event, ExpectedDigests, Hasher, Key, Sha256, Target};

/// Verification of the objects of a cache.
#[derive(Clone, Copy)]
pub struct Verification<'a> {
    pub(super) cache: &'a Cache,
    /// Client that waits for objects to be hashed.
    pub(super) client: PoolClient,
}

/// Open object whose bytes are compared with digests.
pub struct ExaminedObject<'a> {
    /// Digests that are known of the object.
    pub known: Digests,
    pub file: &'a OpenFile,
    /// Target that had the object, for the event about a corrupt one.
    pub target: Option<&'a Target>,
}

impl<'a> From<&'a FileHit> for ExaminedObject<'a> {
    fn from(hit: &'a FileHit) -> Self {
        Self {
            known: hit.record.known_digests(),
            file: hit.file(),
            target: Some(&hit.record.target),
        }
    }
}

impl<'a> From<&'a ObjectHandle> for ExaminedObject<'a> {
    fn from(object: &'a ObjectHandle) -> Self {
        Self {
            known: object.sha256.into(),
            file: object.file(),
            target: None,
        }
    }
}

/// State of an object that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredBytes {
    Intact,
    /// The bytes do not have the object's digest. The object is in quarantine now.
    Corrupt,
}

/// Outcome of comparing an object with expected digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectMatch {
    Same,
    Other,
    /// As [`StoredBytes::Corrupt`].
    Corrupt,
}

/// Result of hashing a file that several requests wait for.
#[derive(Debug, thiserror::Error)]
enum HashFailure {
    #[error("the stored bytes have another digest")]
    Corrupt,
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<DiskError> for HashFailure {
    fn from(error: DiskError) -> Self {
        Self::Cache(error.into())
    }
}

impl Verification<'_> {
    /// Returns the verification for a request of a client, which waits in the client's turn.
    #[must_use]
    pub fn for_client(self, client: PoolClient) -> Self {
        Self { client, ..self }
    }

    /// Returns whether an open object was hashed within `cache.verified_for`.
    #[must_use]
    pub fn is_verified(self, sha256: Sha256, file: &OpenFile) -> bool {
        let intact = &self.cache.inner.verifier.intact;
        file.stamp()
            .is_ok_and(|stamp| intact.contains_key(&(sha256, stamp)))
    }

    /// Hashes an open object, unless it was hashed within `cache.verified_for`. Concurrent calls
    /// share one computation, which ends when no caller is left. A corrupt object is moved into
    /// quarantine, so that the next request fetches it again.
    ///
    /// # Errors
    /// [`HashError`].
    pub async fn verify<'o>(
        self,
        object: impl Into<ExaminedObject<'o>>,
    ) -> Result<StoredBytes, HashError> {
        let object = object.into();
        let (sha256, file) = (object.known.sha256, object.file);
        if self.is_verified(sha256, file) {
            return Ok(StoredBytes::Intact);
        }
        let verifier = &self.cache.inner.verifier;
        // The permit comes first: a request must not wait in the turn of another client. If that
        // client hashes the object meanwhile, nothing is left to do.
        let _permit = verifier.hash_permit(self.client).await?;
        let hashed = Box::pin(verify_bytes(self.cache, sha256, file)).await;
        match hashed {
            Ok(()) => Ok(StoredBytes::Intact),
            Err(failure) => {
                self.set_aside_if_corrupt(&object, &failure).await?;
                Ok(StoredBytes::Corrupt)
            }
        }
    }

    /// Compares an open object with expected digests. If one is not known, all are computed in one
    /// pass and stored. Concurrent calls share one computation, which ends when no caller is left.
    ///
    /// # Errors
    /// [`HashError`].
    pub async fn compare<'o>(
        self,
        object: impl Into<ExaminedObject<'o>>,
        expected: &ExpectedDigests,
    ) -> Result<ObjectMatch, HashError> {
        let object = object.into();
        match object.known.compare(expected) {
            DigestMatch::Same => return Ok(ObjectMatch::Same),
            DigestMatch::Other => return Ok(ObjectMatch::Other),
            DigestMatch::Unknown => {}
        }
        match Box::pin(self.digests_of(object.known.sha256, object.file)).await? {
            Ok(all) if all.first_mismatch(expected).is_none() => Ok(ObjectMatch::Same),
            Ok(_) => Ok(ObjectMatch::Other),
            Err(failure) => {
                self.set_aside_if_corrupt(&object, &failure).await?;
                Ok(ObjectMatch::Corrupt)
            }
        }
    }

    /// Opens the object of a target that has the expected digests. Returns `None` if no object has
    /// them, or none can be read.
    pub async fn find(
        self,
        key: Key,
        known: &TargetRecords,
        expected: &ExpectedDigests,
    ) -> Option<Hit> {
        for record in known.all() {
            let by_record = record.known_digests().compare(expected);
            if by_record == DigestMatch::Other {
                continue;
            }
            let Ok(Some(hit)) = self.cache.open_record(key, Arc::clone(record)).await else {
                continue;
            };
            if by_record == DigestMatch::Same {
                return Some(hit);
            }
            let Ok(hit) = self.cache.ensure_on_disk(hit).await else {
                continue;
            };
            if let Ok(ObjectMatch::Same) = self.compare(&hit, expected).await {
                return Some(Hit::OnDisk(hit));
            }
        }
        None
    }

    /// Returns all digests of an object, in memory, from the disk or computed.
    async fn digests_of(
        self,
        sha256: Sha256,
        file: &OpenFile,
    ) -> Result<Result<Arc<Digests>, Arc<HashFailure>>, HashError> {
        let verifier = &self.cache.inner.verifier;
        if let Some(digests) = verifier.digests.get(&sha256).await {
            return Ok(Ok(digests));
        }
        let _permit = verifier.hash_permit(self.client).await?;
        let compute = Box::pin(compute_digests(self.cache, sha256, file));
        Ok(verifier.digests.try_get_with(sha256, compute).await)
    }

    /// Moves a corrupt object into quarantine. Any other failure is logged.
    ///
    /// # Errors
    /// [`HashError::Unreadable`] if the bytes are not known to be corrupt.
    async fn set_aside_if_corrupt(
        self,
        object: &ExaminedObject<'_>,
        failure: &HashFailure,
    ) -> Result<(), HashError> {
        let sha256 = object.known.sha256;
        match failure {
            HashFailure::Corrupt => {
                self.set_aside(sha256, object.file, object.target).await;
                Ok(())
            }
            HashFailure::Cache(error) => {
                tracing::warn!(%error, %sha256, "object could not be hashed");
                Err(HashError::Unreadable)
            }
        }
    }

    /// Moves a corrupt object into quarantine, so that the next request fetches it again. `target`
    /// is a target that had the object. Failures are logged.
    pub(super) async fn set_aside(self, sha256: Sha256, file: &OpenFile, target: Option<&Target>) {
        let file = file.clone();
        let moved = self.cache.disk().run(IoClass::Request, move |disk| {
            quarantine::set_aside(disk, sha256, file.file())
        });
        match moved.await {
            Ok(true) => tracing::error!(%sha256, "corrupt object moved to quarantine"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, %sha256, "corrupt object was not moved"),
        }
        if let Some(target) = target {
            self.cache.invalidate(Key::new(target));
            self.cache.inner.events.emit(Event::CorruptionFound {
                targets: vec![target.clone()],
                detail: format!("the object sha256:{sha256} has other bytes"),
            });
        }
    }

    /// Returns a reader of an open object of `size_bytes` that has not been hashed lately.
    #[must_use]
    pub fn reader(self, sha256: Sha256, file: OpenFile, target: Option<Target>) -> VerifyingReader {
        VerifyingReader::new(self.cache.clone(), sha256, file, target)
    }
}

/// Hashes an object, once for all that wait.
async fn verify_bytes(
    cache: &Cache,
    sha256: Sha256,
    file: &OpenFile,
) -> Result<(), Arc<HashFailure>> {
    let stamp = file
        .stamp()
        .map_err(|error| Arc::new(DiskError::from(error).into()))?;
    let hash = async {
        let hasher = Hasher::new(&ExpectedDigests::nothing());
        let found = file.hash(hasher).await?.sha256;
        (found == sha256).then_some(()).ok_or(HashFailure::Corrupt)
    };
    let intact = &cache.inner.verifier.intact;
    intact.try_get_with((sha256, stamp), hash).await
}

/// Reads the digests of an object from the disk, or computes and stores them.
async fn compute_digests(
    cache: &Cache,
    sha256: Sha256,
    file: &OpenFile,
) -> Result<Arc<Digests>, HashFailure> {
    let stored = cache.disk().run(IoClass::Request, move |disk| {
        Ok::<_, DiskError>(digests::read(&disk.layout, sha256))
    });
    if let Some(stored) = stored.await? {
        return Ok(Arc::new(stored));
    }
    let verifier = &cache.inner.verifier;
    let stamp = file.stamp().map_err(DiskError::from)?;
    let computed = file.hash(Hasher::with_all_algorithms()).await?;
    if computed.sha256 != sha256 {
        return Err(HashFailure::Corrupt);
    }
    verifier.mark_intact(sha256, stamp).await;
    let digests = Arc::new(computed);
    let written = Arc::clone(&digests);
    let written = cache
        .disk()
        .run(IoClass::Request, move |disk| digests::write(disk, &written));
    if let Err(error) = written.await {
        tracing::warn!(%error, %sha256, "digests of an object were not stored");
    }
    Ok(digests)
}
