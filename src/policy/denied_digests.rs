//! Digests that are not served, of `policy.deny_digests`. The main type is [`DeniedDigests`].

use std::collections::HashSet;

use super::denied::PolicyDenied;
use crate::model::{ConfigError, Digest, Digests};

/// Bound on the digests.
const MAX_DENIED: usize = 10_000;

/// Digests of files that are neither stored nor served.
#[derive(Debug, Default)]
pub struct DeniedDigests(HashSet<Digest>);

impl DeniedDigests {
    /// Parses the list of the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] for the first text that is no digest.
    pub fn parse(list: &[String]) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::new("policy.deny_digests", reason);
        if list.len() > MAX_DENIED {
            return Err(invalid(format!("at most {MAX_DENIED} are allowed")));
        }
        let parse = |text: &String| {
            Digest::parse_named(text).map_err(|error| invalid(format!("\"{text}\": {error}")))
        };
        Ok(Self(list.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// Checks digests that a request states or that bytes have.
    ///
    /// # Errors
    /// [`PolicyDenied::Digest`] for the first one that is denied.
    pub fn check<'a>(
        &self,
        digests: impl IntoIterator<Item = &'a Digest>,
    ) -> Result<(), PolicyDenied> {
        if self.0.is_empty() {
            return Ok(());
        }
        let denied = digests.into_iter().find(|digest| self.0.contains(digest));
        denied.map_or(Ok(()), |digest| Err(PolicyDenied::Digest(digest.clone())))
    }

    /// Checks the digests that were computed of a body.
    ///
    /// # Errors
    /// As [`DeniedDigests::check`].
    pub fn check_computed(&self, digests: &Digests) -> Result<(), PolicyDenied> {
        let has = |digest: &&Digest| digests.has(digest) == Some(true);
        let denied = self.0.iter().find(has);
        denied.map_or(Ok(()), |digest| Err(PolicyDenied::Digest(digest.clone())))
    }
}
