//! Adoption of a stored response by a target that was of class `revalidate` and is immutable now.
//!
//! The newest response becomes the answer, so that nothing is fetched anew. This file must not know
//! why the class has changed. Its main function is [`adopt_observation`].

use std::time::SystemTime;

use super::FetchError;
use super::content_encoding::CodingCheck;
use super::in_flight::FetchPurpose;
use super::state::FetcherState;
use crate::cache::{Acquire, FileHit, ObjectMatch, TargetLookup};
use crate::freshness::{Completeness, Observation};
use crate::model::{Digests, FILE_TYPE_SNIFF_BYTES, Key, Record, RecordSource};
use crate::policy::Admitted;

/// Makes the newest stored response of a target its record, if it may be the immutable file. While
/// the target is being fetched, nothing is adopted. Returns whether the target has a record now.
///
/// # Errors
/// [`FetchError::StoreFailed`] or [`FetchError::NoSpace`] if the disk fails.
pub async fn adopt_observation(
    state: &FetcherState,
    admitted: &Admitted,
) -> Result<bool, FetchError> {
    let (cache, key) = (&state.cache, Key::new(admitted.target()));
    if cache.observations().are_surely_absent(key)
        || state.in_flight().get(key, FetchPurpose::Answer).is_some()
    {
        return Ok(false);
    }
    let known = cache.observations().list(key).await?;
    let Some(observation) = known.into_iter().find(|one| is_file(one, admitted)) else {
        return Ok(false);
    };
    let Acquire::Acquired(lease) = cache.leases().acquire(key).await? else {
        return Ok(false);
    };
    let adopted = adopt(state, admitted, &observation).await;
    lease.release().await;
    adopted
}

/// Creates the record, unless another process has done so since. The caller holds the lease.
async fn adopt(
    state: &FetcherState,
    admitted: &Admitted,
    observation: &Observation,
) -> Result<bool, FetchError> {
    let (cache, target) = (&state.cache, admitted.target());
    let known = cache.lookup_uncached(target).await;
    if !matches!(known, Ok(TargetLookup::NeverStored)) {
        return Ok(true);
    }
    let Some(hit) = cache.observations().open(observation).await? else {
        return Ok(false);
    };
    if !is_promised(state, admitted, observation, &hit).await? {
        return Ok(false);
    }
    let source = RecordSource {
        source: observation.source.clone(),
        headers: observation.to_record().headers,
    };
    let digests = Digests::from(observation.sha256);
    let (size_bytes, first_seen) = (observation.size_bytes, observation.received_at);
    let record = Record::new(target, digests, size_bytes, first_seen, source);
    let is_adopted = cache.adopt(record).await?;
    if is_adopted {
        let sha256 = observation.sha256;
        tracing::info!(%target, %sha256, "adopted a stored response as immutable file");
    }
    Ok(is_adopted)
}

/// Whether a response is the whole file, and old enough.
fn is_file(observation: &Observation, admitted: &Admitted) -> bool {
    let modified_at = observation.to_record().headers.modified_at();
    observation.status == 200
        && observation.completeness == Completeness::Confirmed
        && admitted.check_age(modified_at, SystemTime::now()).is_ok()
}

/// Whether a body is not coded, has the file type that the name of its target promises, and the
/// digests that are required for every client.
async fn is_promised(
    state: &FetcherState,
    admitted: &Admitted,
    observation: &Observation,
    hit: &FileHit,
) -> Result<bool, FetchError> {
    let file_type = admitted.file_type();
    let first_bytes = hit.file().read(0, FILE_TYPE_SNIFF_BYTES).await;
    let first_bytes = first_bytes.map_err(|error| FetchError::from_read_error(&error))?;
    let label = observation.fields.combined("content-encoding");
    let coding = CodingCheck::from_value(label.unwrap_or_default(), admitted);
    if coding.check(&first_bytes).is_err() || !file_type.matches(&first_bytes) {
        return Ok(false);
    }
    let client = admitted.pool_client();
    let verification = state.cache.verification().for_client(client);
    let found = verification
        .compare(hit, &admitted.required_digests())
        .await?;
    Ok(found == ObjectMatch::Same)
}
