//! Answers from what is stored, on the disk or in the bucket.

use super::answer::{Answer, CacheStatus, Content, Representation, Source};
use super::ask::{Ask, Delivery, Door, Intent};
use super::select::{self, Selection};
use super::{Gateway, Problem};
use crate::cache::{self, BucketHit, FileHit, Hit};
use crate::model::{Algorithm, ByteRange, Digests, Expected, Record};

/// A smaller file is in memory already once it is opened, and costs less to send than to hand over, in bytes.
const MIN_ACCEL_BYTES: u64 = 16 * 1024;

impl Gateway {
    pub(super) async fn answer_from_disk(
        &self,
        ask: &Ask,
        hit: FileHit,
        status: CacheStatus,
    ) -> Result<Answer, Problem> {
        self.check(ask, &hit).await?;
        let representation = Representation::of_record(&hit.record);
        let selection = select::select(&ask.conditions, ask.range, &representation);
        let source = match self.location_for_nginx(ask, &hit, selection) {
            Some(location) => Source::ByNginx { location },
            None => Source::Hit(hit),
        };
        Ok(Answer::Content(Box::new(Content { representation, selection, source, status })))
    }

    /// Sends the client to the bucket where it can follow, and relays otherwise. `None` if the bucket does not give what it
    /// should have.
    pub(super) async fn answer_from_bucket(
        &self,
        ask: &Ask,
        hit: &BucketHit,
        status: CacheStatus,
    ) -> Result<Option<Answer>, Problem> {
        let digests = hit.record.known_digests();
        // A part cannot be compared with the digest of the whole on its way.
        let is_part = ask.range.is_some() && !ask.expected.is_empty();
        if is_part || needs_other_digests(&ask.expected, &digests) {
            return match self.cache.ensure_on_disk(Hit::InBucket(hit.clone())).await {
                Ok(hit) => self.answer_from_disk(ask, hit, status).await.map(Some),
                Err(error) => {
                    tracing::warn!(%error, "an object could not be brought back to compare its digest");
                    Ok(None)
                }
            };
        }
        compare(&ask.expected, &digests)?;
        if self.may_send_to_bucket(ask) {
            match hit.presigned_url().await {
                Ok(location) => return Ok(Some(Answer::ToBucket { location })),
                Err(error) => tracing::warn!(%error, "a client could not be sent to the bucket"),
            }
        }
        let representation = Representation::of_record(&hit.record);
        let selection = select::select(&ask.conditions, ask.range, &representation);
        let source = match wanted_range(ask, selection, &hit.record) {
            None => Source::Nothing,
            Some(range) => match hit.open(range).await {
                Ok(body) => Source::Bucket(Box::new(body)),
                Err(error) => {
                    tracing::warn!(%error, sha256 = %hit.record.sha256, "the bucket does not give what it should have");
                    return Ok(None);
                }
            },
        };
        Ok(Some(Answer::Content(Box::new(Content { representation, selection, source, status }))))
    }

    /// An address that was signed is good for GET alone, its answer knows no validator of ours, and what comes from there is not
    /// compared with what the client expects.
    fn may_send_to_bucket(&self, ask: &Ask) -> bool {
        ask.door == Door::Rewrite
            && ask.intent == Intent::Get
            && ask.conditions.are_none()
            && ask.expected.is_empty()
            // Another gateway that asks so wants to know what the bytes are.
            && !ask.only_if_cached
            && self.cache.bucket().is_some_and(|bucket| bucket.config().delivery == cache::Delivery::Redirect)
            && self.config.load().follows_redirects(&ask.user_agent)
    }

    /// The name under which our own nginx finds a hit, if nginx is to send it.
    fn location_for_nginx(&self, ask: &Ask, hit: &FileHit, selection: Selection) -> Option<String> {
        let config = self.config.load();
        let has_body = match selection {
            Selection::Whole => ask.range.is_none(),
            Selection::Part(_) => true,
            Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => false,
        };
        let is_for_nginx = ask.delivery == Delivery::ByNginx
            && ask.intent == Intent::Get
            && has_body
            && hit.size_bytes() >= MIN_ACCEL_BYTES
            && !config.accel_redirect.is_empty()
            && !self.policy.limits_bandwidth();
        is_for_nginx.then(|| format!("{}{}", config.accel_redirect, hit.object_name()))
    }

    /// Holds a hit against what the client expects of it.
    async fn check(&self, ask: &Ask, hit: &FileHit) -> Result<(), Problem> {
        let mut digests = hit.record.known_digests();
        for expected in ask.expected.iter() {
            let algorithm = expected.algorithm();
            if algorithm != Algorithm::Sha256 && !digests.others.contains_key(&algorithm) {
                let digest = self.cache.digest_of(hit, algorithm).await.map_err(|error| {
                    tracing::warn!(%error, "an object could not be read to compare its digest");
                    Problem::Unavailable
                })?;
                digests.others.insert(algorithm, digest.hex());
            }
        }
        compare(&ask.expected, &digests)
    }
}

fn compare(expected: &Expected, digests: &Digests) -> Result<(), Problem> {
    match digests.violated(expected) {
        Some(_) => Err(Problem::Mismatch { expected: expected.clone(), found: digests.sha256 }),
        None => Ok(()),
    }
}

/// Whether something is expected that only the bytes themselves can tell.
fn needs_other_digests(expected: &Expected, digests: &Digests) -> bool {
    let is_known = |algorithm| algorithm == Algorithm::Sha256 || digests.others.contains_key(&algorithm);
    expected.iter().any(|digest| !is_known(digest.algorithm()))
}

/// The bytes that an answer shows, if it shows any.
fn wanted_range(ask: &Ask, selection: Selection, record: &Record) -> Option<ByteRange> {
    match selection {
        _ if ask.intent != Intent::Get => None,
        Selection::Whole => record.size_bytes.checked_sub(1).map(|last| ByteRange { first: 0, last }),
        Selection::Part(part) => Some(part),
        Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => None,
    }
}
