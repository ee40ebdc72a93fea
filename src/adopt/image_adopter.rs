//! Stores the parts of images that lie on this machine, and their tags.
//!
//! A manifest is stored once all its parts are, and a tag once its manifest is. The main type is
//! [`ImageAdopter`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::adopter::{ADOPT_SOURCE, AdoptMode, AdoptOptions, AdoptServices};
use super::error::AdoptError;
use super::image_files::ImageFiles;
use super::image_roots::{ImageRoot, RootPart};
use super::publish_target::{TargetState, publish, state_of};
use super::report::{AdoptOutcome, FileReport, StoredHow};
use crate::cache::Sealed;
use crate::model::{
    Algorithm, Digest, Digests, Hasher, Record, RecordSource, Sha256, StoredHeaders, Target,
};
use crate::policy::Class;
use crate::registry::{AdoptedTag, ImageManifest, ImageReference, TagStore};

/// Bound on indexes within indexes.
const MAX_DEPTH: usize = 4;

/// Media type of a blob, whatever its manifest states.
const BLOB_TYPE: &str = "application/octet-stream";

/// Adopts the images of a layout or an archive.
pub struct ImageAdopter {
    pub services: AdoptServices,
    pub options: AdoptOptions,
    pub files: ImageFiles,
    pub tags: TagStore,
}

/// Parts that were dealt with, and whether each is stored now.
type Done = HashMap<Target, bool>;

/// One image while it is stored.
struct Work<'a> {
    root: &'a ImageRoot,
    done: &'a mut Done,
    show: &'a mut (dyn FnMut(&FileReport) + Send),
}

/// A part with its place at the registry.
struct PlacedPart<'a> {
    digest: &'a Digest,
    media_type: &'a str,
    target: Target,
    content: RootPart,
}

impl ImageAdopter {
    /// Stores an image and its tag. `show` gets the result of each part. Returns how the tag was
    /// stored, or `None` if the image is not complete.
    ///
    /// # Errors
    /// [`AdoptError`] if the tag cannot be stored.
    pub async fn adopt(
        &self,
        root: &ImageRoot,
        done: &mut Done,
        show: &mut (dyn FnMut(&FileReport) + Send),
    ) -> Result<Option<AdoptedTag>, AdoptError> {
        let mut work = Work { root, done, show };
        let is_stored = self
            .manifest(&mut work, (&root.digest, &root.media_type), 0)
            .await;
        if !is_stored {
            return Ok(None);
        }
        let Some(reference) = root.name.reference() else {
            return Ok(Some(AdoptedTag::New));
        };
        let target = root
            .name
            .registry
            .manifest(&root.name.repository, &reference);
        let target = target.map_err(|_| AdoptError::WrongName)?;
        if self.options.mode == AdoptMode::DryRun {
            return Ok(Some(AdoptedTag::New));
        }
        let adopted = self.tags.adopt(&target, &root.digest).await;
        adopted.map(Some).map_err(AdoptError::Unreadable)
    }

    /// Stores a manifest after its parts. Returns whether it is stored.
    fn manifest<'a>(
        &'a self,
        work: &'a mut Work<'_>,
        (digest, media_type): (&'a Digest, &'a str),
        depth: usize,
    ) -> BoxFuture<'a, bool> {
        async move {
            let name = &work.root.name;
            let reference = ImageReference::Digest(digest.clone());
            let Ok(target) = name.registry.manifest(&name.repository, &reference) else {
                return false;
            };
            if let Some(is_stored) = work.done.get(&target) {
                return *is_stored;
            }
            let mut report = FileReport::new(place_of(digest), AdoptOutcome::Present);
            let read = self.read_manifest(work.root, digest).await;
            let (content, manifest) = match read {
                Ok(read) => read,
                Err(error) => return finish(work, report, target, Err(error)),
            };
            let mut missing = None;
            for entry in manifest.manifests() {
                // An archive often has one platform of an index.
                let is_there = self.find(work.root, &entry.digest);
                if is_there.is_ok_and(|found| found.is_none()) || depth >= MAX_DEPTH {
                    report
                        .notes
                        .push(format!("without the manifest {}", entry.digest));
                    continue;
                }
                let child = (&entry.digest, entry.media_type.as_str());
                if !self.manifest(work, child, depth + 1).await {
                    missing = Some(entry.digest.clone());
                }
            }
            for blob in manifest.blobs() {
                if !self.blob(work, &blob.digest).await {
                    missing = Some(blob.digest.clone());
                }
            }
            let media_type = if media_type.is_empty() {
                manifest.media_type.as_str()
            } else {
                media_type
            };
            let part = PlacedPart {
                digest,
                media_type,
                target: target.clone(),
                content,
            };
            let stored = match missing {
                Some(part) => Err(AdoptError::Incomplete(part)),
                None => self.store(&part, &mut report).await,
            };
            finish(work, report, target, stored)
        }
        .boxed()
    }

    /// Stores a blob. Returns whether it is stored.
    async fn blob(&self, work: &mut Work<'_>, digest: &Digest) -> bool {
        let name = &work.root.name;
        let Ok(target) = name.registry.blob(&name.repository, digest) else {
            return false;
        };
        if let Some(is_stored) = work.done.get(&target) {
            return *is_stored;
        }
        let mut report = FileReport::new(place_of(digest), AdoptOutcome::Present);
        let stored = match self.find(work.root, digest) {
            Ok(Some(content)) => {
                let part = PlacedPart {
                    digest,
                    media_type: BLOB_TYPE,
                    target: target.clone(),
                    content,
                };
                self.store(&part, &mut report).await
            }
            Ok(None) => Err(AdoptError::MissingPart),
            Err(error) => Err(error),
        };
        finish(work, report, target, stored)
    }

    fn find(&self, root: &ImageRoot, digest: &Digest) -> Result<Option<RootPart>, AdoptError> {
        if let Some(part) = root.parts.get(digest) {
            return Ok(Some(part.clone()));
        }
        let found = self.files.blob(digest).map_err(AdoptError::Unreadable)?;
        Ok(found.map(RootPart::File))
    }

    /// Reads a manifest, and compares its digest.
    async fn read_manifest(
        &self,
        root: &ImageRoot,
        digest: &Digest,
    ) -> Result<(RootPart, ImageManifest), AdoptError> {
        let part = self.find(root, digest)?.ok_or(AdoptError::MissingPart)?;
        let bytes = match &part {
            RootPart::Made(bytes) => bytes.clone(),
            RootPart::File(found) => {
                let found = found.clone();
                let read = spawn_blocking(move || found.document()).await;
                let read = read.map_err(panicked)?;
                read.map_err(|error| AdoptError::Unreadable(std::io::Error::other(error)))?
            }
        };
        let mut hasher = Hasher::with_all_algorithms();
        hasher.update(&bytes);
        check(&hasher.finish(), digest)?;
        let manifest = ImageManifest::parse(&bytes).map_err(AdoptError::Manifest)?;
        // The bytes that were checked are those that are stored.
        Ok((RootPart::Made(bytes), manifest))
    }

    async fn store(
        &self,
        part: &PlacedPart<'_>,
        report: &mut FileReport,
    ) -> Result<AdoptOutcome, AdoptError> {
        let size_bytes = match &part.content {
            RootPart::Made(bytes) => bytes.len() as u64,
            RootPart::File(found) => found.size_bytes,
        };
        report.size_bytes = size_bytes;
        report.targets = vec![part.target.clone()];
        self.services.policy.admit_upload(Some(size_bytes))?;
        let admitted = self.services.policy.admit(part.target.clone())?;
        if admitted.class() == Class::PassThrough {
            return Err(AdoptError::NotStorable);
        }
        let cache = &self.services.cache;
        if let Some(sha256) = sha256_of(part.digest) {
            report.sha256 = Some(sha256);
            let state = state_of(cache, &part.target, sha256, self.options.pin).await?;
            if let TargetState::Present = state {
                return Ok(AdoptOutcome::Present);
            }
        }
        if self.options.mode == AdoptMode::DryRun {
            return Ok(AdoptOutcome::WouldStore);
        }
        let (sealed, digests) = self.stage(&part.content, size_bytes, part.digest).await?;
        report.sha256 = Some(digests.sha256);
        let source = RecordSource {
            source: ADOPT_SOURCE.to_owned(),
            headers: StoredHeaders {
                content_type: Some(part.media_type.to_owned()),
                ..StoredHeaders::default()
            },
        };
        let now = SystemTime::now();
        let record = Record::new(&part.target, digests, size_bytes, now, source);
        publish(cache, Some(sealed), record, self.options.pin).await?;
        Ok(AdoptOutcome::Stored(StoredHow::Copied))
    }

    /// Copies a part into the store, and compares the digest of the copy.
    async fn stage(
        &self,
        content: &RootPart,
        size_bytes: u64,
        digest: &Digest,
    ) -> Result<(Sealed, Digests), AdoptError> {
        let hasher = Hasher::with_all_algorithms();
        let mut staging = self.services.cache.stage(Some(size_bytes), hasher).await?;
        match content {
            RootPart::Made(bytes) => staging.append(bytes.clone().into()).await?,
            RootPart::File(found) => loop {
                if self.services.stop.is_set() {
                    return Err(AdoptError::Stopped);
                }
                let (found, offset) = (found.clone(), staging.written_bytes());
                let piece = spawn_blocking(move || found.read_piece(offset)).await;
                let piece = piece.map_err(panicked)?.map_err(AdoptError::Unreadable)?;
                if piece.is_empty() {
                    break;
                }
                let count = piece.len() as u64;
                self.services.read_bytes.fetch_add(count, Ordering::Relaxed);
                staging.append(piece.into()).await?;
            },
        }
        let finished = staging.finish()?;
        check(&finished.digests, digest)?;
        let digests = finished.digests.clone();
        Ok((finished.seal().await?, digests))
    }
}

/// Reports the result for a part, and returns whether it is stored.
fn finish(
    work: &mut Work<'_>,
    mut report: FileReport,
    target: Target,
    result: Result<AdoptOutcome, AdoptError>,
) -> bool {
    let is_stored = result.is_ok();
    report.outcome = result.unwrap_or_else(AdoptOutcome::Refused);
    (work.show)(&report);
    work.done.insert(target, is_stored);
    is_stored
}

fn check(digests: &Digests, digest: &Digest) -> Result<(), AdoptError> {
    let expected = [digest.clone()].into_iter().collect();
    match digests.first_mismatch(&expected) {
        None => Ok(()),
        Some(_) => Err(AdoptError::OtherDigest {
            digest: digest.clone(),
            list: "its manifest or index".to_owned(),
        }),
    }
}

fn sha256_of(digest: &Digest) -> Option<Sha256> {
    (digest.algorithm() == Algorithm::Sha256).then(|| digest.hex().parse().ok())?
}

fn place_of(digest: &Digest) -> PathBuf {
    PathBuf::from(digest.to_string())
}

fn panicked(panic: tokio::task::JoinError) -> AdoptError {
    AdoptError::Unreadable(std::io::Error::other(panic))
}
