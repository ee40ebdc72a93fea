//! Responses of class `revalidate` from stored observations, on disk or while they are stored.
//!
//! This file must not know when a stored response may be reused. Its main type is
//! [`ObservedResponder`].

use std::sync::Arc;
use std::time::SystemTime;

use super::digest_check::check_digests;
use super::error::RequestError;
use super::in_flight::{ArrivingBody, can_stream_unverified, stream_in_flight};
use super::preconditions;
use super::representation::Representation;
use super::request::{CacheRequest, Endpoint};
use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus, ForwardReason};
use crate::cache::{Cache, FileHit, StoredBytes, Verification};
use crate::fetch::{ExchangeReader, StreamingResponse};
use crate::freshness::Observation;
use crate::limits::UpstreamPermit;
use crate::origin::OriginError;

/// A stored response whose body is on the disk.
pub struct Stored {
    pub observation: Arc<Observation>,
    pub hit: FileHit,
    pub kind: StoredKind,
}

/// File of the cache that names a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredKind {
    /// The origin allowed to store it.
    Observation,
    /// The target was immutable before. It answers whenever the origin is away.
    Record,
    /// An operator pinned it. It answers whatever the origin responds.
    Pin,
}

/// Serves stored responses for one request.
pub struct ObservedResponder<'a> {
    pub cache: &'a Cache,
    pub request: &'a CacheRequest,
    pub verification: Verification<'a>,
}

impl ObservedResponder<'_> {
    /// Streams a response while it is stored. If the client needs more than its beginning to trust
    /// it, serves it from the disk afterwards. Returns `None` if it could not be stored.
    pub async fn stream(
        &self,
        reader: ExchangeReader,
        response: StreamingResponse,
        permit: UpstreamPermit,
        status: CacheStatus,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let StreamingResponse { observation, head } = response;
        self.check_status(&observation)?;
        let mut reader = reader.into_body();
        if self.request.expected.is_empty() && can_stream_unverified(self.request, &head) {
            let representation = Representation::from_arriving(observation, head.length);
            let body = ArrivingBody {
                reader,
                head,
                permit,
            };
            let response = stream_in_flight(self.request, representation, body, status);
            return Ok(Some(response));
        }
        let record = match reader.wait_stored().await {
            Ok(record) => record,
            Err(error) if error.is_only_unstored() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        drop(permit);
        let observation = Observation::clone(&observation);
        let observation = observation.with_body(record.sha256, record.size_bytes);
        match self.open(Arc::new(observation)).await {
            Some(stored) => self.serve(stored, status).await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens the body of a response that was stored just now. It may have been evicted since.
    async fn open(&self, observation: Arc<Observation>) -> Option<Stored> {
        let opened = self.cache.observations().open(&observation).await;
        Some(Stored {
            hit: opened.ok().flatten()?,
            observation,
            kind: StoredKind::Observation,
        })
    }

    /// Serves a stored response that is current. A concurrent request may have stored another body
    /// than that of `stored`. Returns `None` if that body is not stored any more.
    pub async fn serve_current(
        &self,
        stored: Option<Stored>,
        observation: Arc<Observation>,
        forwarded: ForwardReason,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let stored = stored.filter(|stored| stored.observation.sha256 == observation.sha256);
        if let Some(stored) = stored {
            let stored = Stored {
                observation,
                ..stored
            };
            return self.serve(stored, CacheStatus::Validated).await.map(Some);
        }
        let Some(stored) = self.open(observation).await else {
            return Ok(None);
        };
        let collapsed = true;
        let status = CacheStatus::Stored {
            forwarded,
            collapsed,
        };
        self.serve(stored, status).await.map(Some)
    }

    /// Serves a stored response.
    ///
    /// # Errors
    /// [`RequestError::Mismatch`] if the client expects another digest, or
    /// [`RequestError::Origin`] for a status that a client of the URL prefix gets as an error.
    pub async fn serve(
        &self,
        stored: Stored,
        status: CacheStatus,
    ) -> Result<CacheResponse, RequestError> {
        let Stored {
            observation, hit, ..
        } = stored;
        self.check_status(&observation)?;
        let checked = check_digests(self.verification, &self.request.expected, &hit).await?;
        if checked == StoredBytes::Corrupt {
            return Err(RequestError::Unavailable);
        }
        let age = observation.response().age(SystemTime::now());
        let representation = Representation::from_observation(observation, age);
        let (conditions, range) = (&self.request.conditions, self.request.range);
        let selection = preconditions::select(conditions, range, &representation);
        Ok(CacheResponse::Body(Box::new(BodyResponse {
            representation,
            selection,
            source: BodySource::DiskFile(hit),
            status,
        })))
    }

    /// # Errors
    /// [`RequestError::Origin`] for a status that a client of the URL prefix gets as an error.
    fn check_status(&self, observation: &Observation) -> Result<(), RequestError> {
        if self.request.endpoint == Endpoint::Gateway && observation.status >= 400 {
            return Err(RequestError::Origin(OriginError::Status {
                status: observation.status,
                retry_after: None,
                challenge: None,
            }));
        }
        Ok(())
    }
}
