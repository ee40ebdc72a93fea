//! The policy for one target, for operators: its explanation, and where its bytes are stored. The
//! main type is [`Explanation`].

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

    /// Returns the target under which `target` is stored: its https target by
    /// `proxy.upgrade_hosts`, and the canonical alias of that.
    #[must_use]
    pub fn cache_target(&self, target: &Target) -> Target {
        let rules = self.rules.load();
        let target = rules.upgrade(target).unwrap_or_else(|| target.clone());
        let alias = rules.effective(&target).canonical_alias();
        alias.unwrap_or(target)
    }

    /// Returns the targets under which the bytes of `target` may be stored, in the order in which
    /// they answer. Bytes that were stored before its host was upgraded have the http target.
    #[must_use]
    pub fn stored_targets(&self, target: &Target) -> Vec<Target> {
        let is_upgraded = self.rules.load().upgrade(target).is_some();
        let former = is_upgraded.then(|| target.clone());
        [self.cache_target(target)]
            .into_iter()
            .chain(former)
            .collect()
    }

    /// Returns the targets whose bytes a removal of `target` must reach: those of
    /// [`Policy::stored_targets`], and for an https target the http target that is stored as it.
    #[must_use]
    pub fn removed_targets(&self, target: &Target) -> Vec<Target> {
        let mut targets = self.stored_targets(target);
        targets.extend(self.rules.load().former(target));
        targets
    }
}
