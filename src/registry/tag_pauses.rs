//! Registries and tags that are not asked for a while after a failure, and the meaning of failures.
//!
//! The main type is [`TagPauses`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::source::ImageSource;
use crate::gateway::{OriginError, RequestError};
use crate::model::{Target, lock};

/// Time after a failure for which a registry is not asked for tags that are known, and for the tag
/// of the failure.
const AWAY_PAUSE: Duration = Duration::from_secs(10);

/// Bound on the registries and tags that are not asked.
const MAX_PAUSES: usize = 1000;

/// The base URLs of registries, and the tags, that are not asked until a time.
#[derive(Debug, Default)]
pub struct TagPauses(Mutex<HashMap<String, Instant>>);

impl TagPauses {
    /// Notes that a registry has failed for a tag. An error status counts for this tag only.
    pub fn add(&self, source: &ImageSource<'_>, target: &Target, error: &RequestError) {
        if is_deleted(error) || !is_away(error) || is_limit(error) {
            return;
        }
        let is_of_tag = match error {
            RequestError::Origin(OriginError::Status { .. }) => true,
            RequestError::Origin(_) | RequestError::SilentRegistry => false,
            _ => true,
        };
        let base = (!is_of_tag).then(|| source.registry.base());
        let until = Instant::now() + AWAY_PAUSE;
        let mut paused = lock(&self.0);
        if paused.len() >= MAX_PAUSES {
            paused.clear();
        }
        let names = base.into_iter().chain([target.as_str()]);
        paused.extend(names.map(|name| (name.to_owned(), until)));
    }

    /// Whether a tag is not asked for now. One that is not known is asked for although its registry
    /// has failed for another tag.
    pub fn has(&self, source: &ImageSource<'_>, target: &Target, is_known: bool) -> bool {
        let mut paused = lock(&self.0);
        paused.retain(|_, until| *until > Instant::now());
        let is_registry_paused = || paused.contains_key(source.registry.base());
        paused.contains_key(target.as_str()) || is_known && is_registry_paused()
    }
}

/// Whether a registry says that it has no such tag for this gateway.
pub fn is_deleted(error: &RequestError) -> bool {
    match error {
        RequestError::Origin(OriginError::Status { status, .. }) => {
            matches!(status, 401 | 403 | 404 | 410)
        }
        RequestError::NotFound(_) | RequestError::PrivateImage => true,
        _ => false,
    }
}

/// Whether a registry has given no answer that can be used.
pub fn is_away(error: &RequestError) -> bool {
    let is_status = matches!(error, RequestError::Origin(OriginError::Status { .. }));
    is_status || error.is_away()
}

/// Whether a registry limits requests. Its limits say until when.
fn is_limit(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::RegistryLimit(_)
            | RequestError::Origin(OriginError::Status { status: 429, .. })
    )
}
