//! Settings of all rules that match one target.

use std::time::Duration;

use super::rule::CompiledRule;
use crate::model::{HumanDuration, Target};
use crate::policy::classify::{Classified, RuleClass, classify};
use crate::policy::request_options::RequestOptions;

/// Settings that apply to one target. For each setting, the first matching rule that has it
/// decides. If no rule has it, the built-in default applies.
pub struct EffectiveRule<'a> {
    target: &'a Target,
    /// The target contains a secret. No rule makes such a target shareable.
    is_secret: bool,
    class: Option<RuleClass>,
    check_file_type: Option<bool>,
    min_age: Option<HumanDuration>,
    offline: Option<bool>,
    alias: Option<&'a CompiledRule>,
    alternates: Option<&'a CompiledRule>,
    options: RequestOptions,
}

impl<'a> EffectiveRule<'a> {
    pub fn new(rules: &'a [CompiledRule], target: &'a Target) -> Self {
        let mut effective = Self {
            target,
            is_secret: target.is_signed() || target.has_credentials(),
            class: None,
            check_file_type: None,
            min_age: None,
            offline: None,
            alias: None,
            alternates: None,
            options: RequestOptions::default(),
        };
        let mut interval: Option<HumanDuration> = None;
        for (number, compiled) in (1..).zip(rules) {
            if compiled.matches(target) {
                effective.add(number, compiled);
                interval = interval.or(compiled.rule.request_interval);
            }
        }
        effective.options.request_interval =
            interval.map(|interval| interval.0).unwrap_or_default();
        effective
    }

    /// Adds the settings of a matching rule that no earlier rule has.
    fn add(&mut self, number: usize, compiled: &'a CompiledRule) {
        let rule = &compiled.rule;
        self.class = self
            .class
            .or_else(|| rule.class.map(|class| RuleClass { class, number }));
        self.check_file_type = self.check_file_type.or(rule.check_file_type);
        self.min_age = self.min_age.or(rule.min_age);
        self.offline = self.offline.or(rule.offline);
        self.alias = self
            .alias
            .or_else(|| compiled.has_alias().then_some(compiled));
        self.alternates = self
            .alternates
            .or_else(|| compiled.has_alternates().then_some(compiled));
        let options = &mut self.options;
        if options.credentials.is_none() {
            options.credentials.clone_from(&compiled.credentials);
        }
        if options.egress.is_none() {
            options.egress.clone_from(&compiled.egress);
        }
        options.per_host = options.per_host.or(rule.per_host);
        options.segments = options.segments.or(rule.segments);
    }

    /// Returns the cacheability class, with the line that decided.
    pub fn classified(&self) -> Classified {
        classify(self.target, self.class)
    }

    /// Returns whether the first bytes are checked against the file type of the name.
    pub fn checks_file_type(&self) -> bool {
        self.is_secret || self.check_file_type.unwrap_or(true)
    }

    /// Returns the minimum age of a file by its `Last-Modified`. Zero: no minimum.
    pub fn min_age(&self) -> Duration {
        self.min_age.map(|age| age.0).unwrap_or_default()
    }

    /// Returns whether stored bytes are served without asking the origin.
    pub fn is_offline(&self) -> bool {
        !self.is_secret && self.offline.unwrap_or(false)
    }

    /// Returns the canonical alias under which the target is stored, if it differs.
    ///
    /// Aliases are resolved once, never as a chain.
    pub fn canonical_alias(&self) -> Option<Target> {
        let alias = self
            .alias
            .filter(|_| !self.is_secret)?
            .canonical_alias(self.target);
        (alias != *self.target && !alias.is_signed()).then_some(alias)
    }

    /// Returns the rule with the alternate sources of the target.
    pub fn alternate_sources(&self) -> Option<&'a CompiledRule> {
        self.alternates.filter(|_| !self.is_secret)
    }

    /// Returns the request options for the target's host.
    pub fn into_request_options(self) -> RequestOptions {
        self.options
    }
}
