//! Description of a rule for operators. Its values are not secret.

/// Rule that matches a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchingRule {
    /// Number of the rule, from 1, in the order of the configuration.
    pub number: usize,
    /// Keys and values of its conditions.
    pub conditions: Vec<(&'static str, String)>,
    /// Keys of its settings. Values may be secret.
    pub settings: Vec<&'static str>,
}
