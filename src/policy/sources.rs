//! Where the bytes of a target may be had.

use super::{Admitted, Policy};
use crate::model::Target;

/// What a source is to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The target itself.
    Origin,
    Mirror,
    /// Where files are once they have left their place.
    Archive,
}

/// A place that may be asked for the bytes of a target. Only policy makes one.
#[derive(Debug, Clone)]
pub struct Source {
    place: Place,
    admitted: Admitted,
}

impl Source {
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// What is asked for there.
    #[must_use]
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    #[must_use]
    pub fn target(&self) -> &Target {
        self.admitted.target()
    }
}

impl Policy {
    /// The sources of a target in the order in which they are asked, its own origin first. Each is judged as a redirect to it
    /// would be; one that is refused is none.
    #[must_use]
    pub fn sources(&self, admitted: &Admitted, digest_expected: bool) -> Vec<Source> {
        let mut sources = vec![Source { place: Place::Origin, admitted: admitted.clone() }];
        let others = self.rules.load().places_of(admitted.target());
        for (place, target) in others {
            if sources.iter().any(|source| *source.target() == target) {
                continue;
            }
            match self.admit_hop(admitted, target, digest_expected) {
                Ok(admitted) => sources.push(Source { place, admitted }),
                Err(refusal) => tracing::debug!(target = %admitted.target(), %refusal, "a source is not asked"),
            }
        }
        sources
    }
}
