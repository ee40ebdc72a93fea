//! Finds the stored response that may answer a request of class `revalidate`.
//!
//! This file must not know whether the response is fresh. It extends [`Revalidation`].

use std::sync::Arc;

use super::digest_check::check_digests;
use super::request::Endpoint;
use super::revalidate::Revalidation;
use super::serve_observed::{Stored, StoredKind};
use crate::cache::{StoredBytes, TargetLookup};
use crate::freshness::{Completeness, Observation, Redirects};
use crate::model::{Key, Target};

impl Revalidation<'_> {
    /// Returns the stored response that the fields of the request select, if its body is stored.
    pub(super) async fn find_stored(&self) -> Option<Stored> {
        if let Some(stored) = self.find_stored_as(self.admitted.target()).await {
            return Some(stored);
        }
        let former = self.admitted.upgraded_from()?;
        self.find_stored_as(former).await
    }

    async fn find_stored_as(&self, target: &Target) -> Option<Stored> {
        let key = Key::new(target);
        let known = self.services.cache.observations().list_with_pin(key).await;
        let (known, is_pinned) = known
            .inspect_err(|error| tracing::warn!(%error, %key, "stored responses cannot be read"))
            .ok()?;
        if is_pinned
            && let Some(stored) = self.find_record_as(target).await
            && self.is_pinned(&stored).await
        {
            return Some(stored);
        }
        match known.into_iter().find(|one| self.is_selected(one)) {
            Some(observation) => self.open(observation, StoredKind::Observation).await,
            None => self.find_record_as(target).await,
        }
    }

    fn is_selected(&self, observation: &Observation) -> bool {
        let is_of_endpoint = match self.request.endpoint {
            // A client of the URL prefix wants a file.
            Endpoint::Gateway => !(300..400).contains(&observation.status),
            // A proxy passes redirects on. Relative links in the file would be wrong otherwise.
            Endpoint::Proxy => observation.redirects == Redirects::None,
        };
        is_of_endpoint
            && observation.completeness == Completeness::Confirmed
            && observation.vary.matches(&self.fields)
    }

    /// Returns what was stored as an immutable target, or by an operator.
    pub(super) async fn find_record(&self) -> Option<Stored> {
        self.find_record_as(self.admitted.target()).await
    }

    async fn find_record_as(&self, target: &Target) -> Option<Stored> {
        match self.services.cache.lookup(target).await {
            Ok(TargetLookup::Known(records)) => {
                let observation = Observation::from_record(records.active());
                let kind = if records.is_pinned() {
                    StoredKind::Pin
                } else {
                    StoredKind::Record
                };
                self.open(observation, kind).await
            }
            _ => None,
        }
    }

    async fn open(&self, observation: Observation, kind: StoredKind) -> Option<Stored> {
        let opened = self.services.cache.observations().open(&observation).await;
        let hit = opened
            .inspect_err(|error| tracing::warn!(%error, "stored response cannot be opened"))
            .ok()??;
        if !self.request.expected.is_empty() {
            let verification = self.services.verification(&self.request);
            let verified = verification.verify(&hit).await.ok()?;
            Some(verified).filter(|bytes| *bytes == StoredBytes::Intact)?;
        }
        Some(Stored {
            observation: Arc::new(observation),
            hit,
            kind,
        })
    }

    /// Whether a stored response has the digests that the client expects.
    pub(super) async fn is_expected(&self, stored: &Stored) -> bool {
        let expected = &self.request.expected;
        let verification = self.services.verification(&self.request);
        let checked = check_digests(verification, expected, &stored.hit).await;
        checked.is_ok_and(|bytes| bytes == StoredBytes::Intact)
    }
}
