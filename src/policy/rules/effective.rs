//! Settings of all rules that match one target.

use super::rule::CompiledRule;
use crate::model::{HumanDuration, Target};
use crate::policy::cacheability::{Class, classify};
use crate::policy::request_options::RequestOptions;

/// Settings that apply to one target. For each setting, the first matching rule that has it
/// decides. If no rule has it, the built-in default applies.
pub struct EffectiveRule<'a> {
    target: &'a Target,
    /// The target contains a secret. No rule makes such a target shareable.
    is_secret: bool,
    class: Option<Class>,
    check_file_type: Option<bool>,
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
            alias: None,
            alternates: None,
            options: RequestOptions::default(),
        };
        let mut interval: Option<HumanDuration> = None;
        for compiled in rules.iter().filter(|compiled| compiled.matches(target)) {
            let Self {
                class,
                check_file_type,
                alias,
                alternates,
                options,
                ..
            } = &mut effective;
            *class = class.or(compiled.rule.class);
            *check_file_type = check_file_type.or(compiled.rule.check_file_type);
            *alias = alias.or_else(|| compiled.has_alias().then_some(compiled));
            *alternates = alternates.or_else(|| compiled.has_alternates().then_some(compiled));
            if options.credentials.is_none() {
                options.credentials.clone_from(&compiled.credentials);
            }
            if options.egress.is_none() {
                options.egress.clone_from(&compiled.egress);
            }
            options.per_host = options.per_host.or(compiled.rule.per_host);
            interval = interval.or(compiled.rule.request_interval);
        }
        effective.options.request_interval =
            interval.map(|interval| interval.0).unwrap_or_default();
        effective
    }

    /// Returns the cacheability class.
    pub fn class(&self) -> Class {
        if self.is_secret {
            return Class::PassThrough;
        }
        self.class.unwrap_or_else(|| classify(self.target))
    }

    /// Returns whether the first bytes are checked against the file type of the name.
    pub fn checks_file_type(&self) -> bool {
        self.is_secret || self.check_file_type.unwrap_or(true)
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
