//! Explanation of the policy for one target, for operators.

use super::classify::Classified;
use super::rules::MatchingRule;
use super::{Policy, PolicyDenied};
use crate::model::Target;

/// Policy for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Target under which the bytes are stored. Rules can map several targets to one.
    pub stored_as: Target,
    /// Class of [`Self::stored_as`].
    pub classified: Classified,
    /// All rules that match the requested target or [`Self::stored_as`], in order.
    pub rules: Vec<MatchingRule>,
    /// Reason why policy denies the target, if it does.
    pub denied: Option<PolicyDenied>,
}

impl Policy {
    /// Explains the policy for a target. Resolves no name and opens no connection.
    #[must_use]
    pub fn explain(&self, target: &Target) -> Explanation {
        let rules = self.rules.load();
        let stored_as = self.cache_target(target);
        Explanation {
            classified: rules.effective(&stored_as).classified(),
            rules: rules.matching(&[target, &stored_as]),
            denied: self.admit(target.clone()).err(),
            stored_as,
        }
    }

    /// Classifies the target under which `target` is stored.
    #[must_use]
    pub fn classify(&self, target: &Target) -> Classified {
        let stored_as = self.cache_target(target);
        self.rules.load().effective(&stored_as).classified()
    }
}
