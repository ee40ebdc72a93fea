//! Verification of stored objects: which files have been hashed lately, their digests, and what
//! becomes of a corrupt one.
//!
//! A client that states a digest never gets other bytes, also if the disk has changed them. The
//! main types are [`Verification`] and [`VerifyingReader`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::error::CacheError;
use super::handle::Cache;
use crate::disk::{DiskError, FileStamp, IoClass, OpenFile, digests, quarantine};
use crate::limits::PoolClient;
use crate::model::{Digests, Event, ExpectedDigests, Hasher, Key, Sha256, Target};

/// Verification of the objects of a cache.
#[derive(Clone, Copy)]
pub struct Verification<'a> {
    pub(super) cache: &'a Cache,
    /// Client that waits for objects to be hashed.
    pub(super) client: PoolClient,
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
    /// share one computation, which ends when no caller is left.
    ///
    /// # Errors
    /// [`CacheError::Corrupt`] if the file has other bytes, another [`CacheError`] if it cannot be
    /// read.
    pub async fn verify(self, sha256: Sha256, file: &OpenFile) -> Result<(), Arc<CacheError>> {
        let stamp = file
            .stamp()
            .map_err(|error| Arc::new(CacheError::from(error)))?;
        let verifier = &self.cache.inner.verifier;
        if verifier.intact.contains_key(&(sha256, stamp)) {
            return Ok(());
        }
        // The permit comes first: a request must not wait in the turn of another client. If that
        // client hashes the object meanwhile, nothing is left to do.
        let _permit = verifier.hash_permit(self.client).await.map_err(Arc::new)?;
        let hash = async {
            let hasher = Hasher::new(&ExpectedDigests::nothing());
            let found = file.hash(hasher).await?.sha256;
            (found == sha256)
                .then_some(())
                .ok_or(CacheError::Corrupt(sha256))
        };
        verifier.intact.try_get_with((sha256, stamp), hash).await
    }

    /// Returns all digests of an object. They are computed from `file` in one pass, if they are
    /// not stored. Concurrent calls share one computation, which ends when no caller is left.
    ///
    /// # Errors
    /// As [`Verification::verify`].
    pub async fn digests_of(
        self,
        sha256: Sha256,
        file: &OpenFile,
    ) -> Result<Arc<Digests>, Arc<CacheError>> {
        let verifier = &self.cache.inner.verifier;
        if let Some(digests) = verifier.digests.get(&sha256).await {
            return Ok(digests);
        }
        let _permit = verifier.hash_permit(self.client).await.map_err(Arc::new)?;
        let compute = Box::pin(compute_digests(self.cache, sha256, file));
        verifier.digests.try_get_with(sha256, compute).await
    }

    /// Moves a corrupt object into quarantine, so that the next request fetches it again. `target`
    /// is a target that had the object. Failures are logged.
    pub async fn set_aside(self, sha256: Sha256, file: &OpenFile, target: Option<&Target>) {
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
            self.cache.invalidate(Key::new(target)).await;
            self.cache.inner.events.emit(Event::CorruptionFound {
                targets: vec![target.clone()],
                detail: format!("the object sha256:{sha256} has other bytes"),
            });
        }
    }

    /// Returns a reader of an open object of `size_bytes` that has not been hashed lately.
    #[must_use]
    pub fn reader(self, sha256: Sha256, file: OpenFile, target: Option<Target>) -> VerifyingReader {
        VerifyingReader {
            cache: self.cache.clone(),
            sha256,
            stamp: file.stamp().ok(),
            file,
            target,
            hasher: Some(Hasher::new(&ExpectedDigests::nothing())),
            offset: 0,
        }
    }
}

/// Reads the digests of an object from the disk, or computes and stores them.
async fn compute_digests(
    cache: &Cache,
    sha256: Sha256,
    file: &OpenFile,
) -> Result<Arc<Digests>, CacheError> {
    let stored = cache.disk().run(IoClass::Request, move |disk| {
        Ok::<_, DiskError>(digests::read(&disk.layout, sha256))
    });
    if let Some(stored) = stored.await? {
        return Ok(Arc::new(stored));
    }
    let verifier = &cache.inner.verifier;
    let stamp = file.stamp()?;
    let computed = file.hash(Hasher::with_all_algorithms()).await?;
    if computed.sha256 != sha256 {
        return Err(CacheError::Corrupt(sha256));
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

/// Reader of a whole object that hashes what it returns. The last piece is returned only if the
/// object is intact.
pub struct VerifyingReader {
    cache: Cache,
    sha256: Sha256,
    file: OpenFile,
    /// Identity of the file before it was read.
    stamp: Option<FileStamp>,
    /// Target that had the object, for the event about a corrupt one.
    target: Option<Target>,
    /// `None` after the last piece.
    hasher: Option<Hasher>,
    offset: u64,
}

impl std::fmt::Debug for VerifyingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingReader")
            .field("sha256", &self.sha256)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl VerifyingReader {
    /// Returns the next bytes, at most `limit_bytes`, or `None` at the end. A corrupt object is
    /// moved to quarantine.
    ///
    /// # Errors
    /// The error of the disk, or [`io::ErrorKind::InvalidData`] in place of the last bytes of a
    /// corrupt object.
    pub async fn next(&mut self, limit_bytes: usize) -> io::Result<Option<Bytes>> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(None);
        };
        let size_bytes = self.file.size_bytes()?;
        let bytes = self.file.read_some(self.offset, limit_bytes).await?;
        if bytes.is_empty() && self.offset < size_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&bytes);
        self.offset += bytes.len() as u64;
        if self.offset >= size_bytes {
            self.finish().await?;
        }
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    async fn finish(&mut self) -> io::Result<()> {
        let found = self.hasher.take().map(|hasher| hasher.finish().sha256);
        if found == Some(self.sha256) {
            if let Some(stamp) = self.stamp {
                let verifier = &self.cache.inner.verifier;
                verifier.mark_intact(self.sha256, stamp).await;
            }
            return Ok(());
        }
        let (file, target) = (&self.file, self.target.as_ref());
        let verification = self.cache.verification();
        verification.set_aside(self.sha256, file, target).await;
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the stored object has other bytes",
        ))
    }
}
