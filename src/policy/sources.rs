//! Sources of a target: origin, mirrors, parents and archives.

use super::{Admitted, Approach, Policy, Refusal};
use crate::model::Target;

/// Kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The target itself.
    Origin,
    Mirror,
    /// Another Millpond gateway, which only serves stored objects.
    Parent,
    /// Location of files that were removed from their original location.
    Archive,
}

/// Source that a target may be fetched from. Only the policy module creates one.
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

    /// Returns the target to fetch from this source.
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
    /// Returns the sources of a target in the order in which they are tried, the origin first.
    ///
    /// Policy checks each source. Denied sources are left out.
    #[must_use]
    pub fn sources(&self, admitted: &Admitted, digest_expected: bool) -> Vec<Source> {
        let (rules, target) = (self.rules.load(), admitted.target());
        let mut sources = vec![Source { place: Place::Origin, admitted: admitted.clone() }];
        let mut add = |place, target: Target, judged: Result<(), Refusal>, approach: Approach| {
            if sources.iter().any(|source| *source.target() == target) {
                return;
            }
            match judged {
                Ok(()) => {
                    sources.push(Source { place, admitted: Admitted { target, approach, ..admitted.clone() } });
                }
                Err(refusal) => tracing::debug!(%target, %refusal, "source skipped: denied by policy"),
            }
        };
        let by_rule = rules.places_of(target);
        // A source is checked like a redirect to it.
        let judge = |to: &Target| self.admit_hop(admitted, to.clone(), digest_expected).map(drop);
        for mirror in by_rule.into_iter().flat_map(|rule| rule.mirrors_of(target)) {
            let (judged, approach) = (judge(&mirror), rules.approach_to(&mirror));
            add(Place::Mirror, mirror, judged, approach);
        }
        for parent in rules.parents() {
            let Some(asked) = parent.target_of(target) else { continue };
            // The operator chose scheme and port. Denied hosts and addresses still apply.
            let judged = rules.judge_denied_host(asked.host()).and_then(|()| rules.judge_address_of(&asked));
            let approach = Approach { access: parent.access.clone(), ..rules.approach_to(&asked) };
            add(Place::Parent, asked, judged, approach);
        }
        for archive in by_rule.into_iter().flat_map(|rule| rule.archives_of(target)) {
            let (judged, approach) = (judge(&archive), rules.approach_to(&archive));
            add(Place::Archive, archive, judged, approach);
        }
        sources
    }
}
