//! One `[[rules]]` entry.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pattern::{PathPattern, QueryPattern};
use super::template::{Template, without_parameters};
use crate::model::{ConfigError, HumanDuration, Scheme, Secret, Target};
use crate::policy::cacheability::Class;
use crate::policy::hosts::HostPattern;
use crate::policy::origin_credentials::OriginCredentials;
use crate::policy::request_options::{EgressRoute, MAX_SEGMENTS};

/// Maximum number of mirrors, and of archives, in one rule.
const MAX_ALTERNATES: usize = 8;

/// Upper bound for concurrent fetches from one host. No host can serve more.
const MAX_PER_HOST: usize = 100_000;

/// Longest request interval. A longer one would lead to queues of hours.
const MAX_REQUEST_INTERVAL: Duration = Duration::from_mins(1);

/// Longest minimum age. A longer one would keep out every file of active projects.
const MAX_MIN_AGE: Duration = Duration::from_hours(365 * 24);

/// Configuration of one rule: `[[rules]]`.
///
/// For each setting, the first matching rule that has it decides. If no rule has it, the built-in
/// default applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// `http`, `https` or `ftp`. Empty: any scheme.
    pub scheme: String,
    /// Host pattern as in `allow_hosts`. Empty: any host.
    pub host: String,
    /// Prefix of the path. Empty: any path.
    pub path_prefix: String,
    /// Suffix of the path. Empty: any path.
    pub path_suffix: String,
    /// Pattern of the whole path, in which one `*` is one segment. Empty: any path.
    pub path: String,
    /// Pattern of parameters of the query, in which `*` is any text. Empty: any query, or none.
    pub query: String,
    /// Cacheability class of matching targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Whether the first bytes are checked against the file type of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_file_type: Option<bool>,
    /// Minimum age of a file by its `Last-Modified`. A younger file is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<HumanDuration>,
    /// Whether stored bytes are served without asking the origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offline: Option<bool>,
    /// Canonical URL under which matching targets are stored: `"https://{host}/{path}"`.
    pub canonical_url: String,
    /// Query parameters that select a server rather than a file.
    pub ignored_query_parameters: Vec<String>,
    /// Other locations of the same file: `"https://mirror.example.org/pub/{path}"`.
    pub mirrors: Vec<String>,
    /// Locations of files that were removed from their original location.
    pub archives: Vec<String>,
    /// Credentials, as header fields. They are sent to `host` over `scheme` only, never to another
    /// host after a redirect.
    pub headers: BTreeMap<String, Secret>,
    /// Value of `Authorization`.
    pub authorization: Secret,
    pub authorization_file: PathBuf,
    /// Maximum number of concurrent fetches from one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_host: Option<usize>,
    /// Maximum number of connections that bring ranges of one body at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<usize>,
    /// Minimum interval between the starts of two requests to one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_interval: Option<HumanDuration>,
    /// Proxy for these requests, `http://host:port`, or `none` to bypass the default proxy.
    pub egress_proxy: Secret,
}

/// Validated rule.
#[derive(Debug)]
pub struct CompiledRule {
    scheme: Option<Scheme>,
    host: Option<HostPattern>,
    path: Option<PathPattern>,
    query: Option<QueryPattern>,
    pub rule: Rule,
    canonical_url: Option<Template>,
    mirrors: Vec<Template>,
    archives: Vec<Template>,
    pub credentials: Option<Arc<OriginCredentials>>,
    pub egress: Option<EgressRoute>,
}

impl CompiledRule {
    /// Compiles and checks a rule.
    pub fn new(rule: Rule) -> Result<Self, ConfigError> {
        let compiled = Self {
            scheme: parse_scheme(&rule.scheme)?,
            host: parse_host(&rule.host)?,
            path: (!rule.path.is_empty())
                .then(|| PathPattern::parse(&rule.path))
                .transpose()
                .map_err(|error| invalid("path", &error))?,
            query: (!rule.query.is_empty())
                .then(|| QueryPattern::parse(&rule.query))
                .transpose()
                .map_err(|error| invalid("query", &error))?,
            canonical_url: (!rule.canonical_url.is_empty())
                .then(|| template("canonical_url", &rule.canonical_url))
                .transpose()?,
            mirrors: templates("mirrors", &rule.mirrors)?,
            archives: templates("archives", &rule.archives)?,
            credentials: OriginCredentials::new(
                "rules",
                &rule.headers,
                &rule.authorization,
                &rule.authorization_file,
            )?
            .map(Arc::new),
            egress: EgressRoute::parse(&rule.egress_proxy)
                .map_err(|error| invalid("egress_proxy", &error))?,
            rule,
        };
        compiled.check()?;
        Ok(compiled)
    }

    /// Checks bounds, and settings that depend on each other.
    fn check(&self) -> Result<(), ConfigError> {
        let rule = &self.rule;
        let is_web = matches!(self.scheme, Some(Scheme::Http | Scheme::Https));
        if self.credentials.is_some() && (self.host.is_none() || !is_web) {
            let reason = "rules with credentials need a host, and the scheme http or https";
            return Err(invalid("headers", &reason));
        }
        // Otherwise `{path}` could begin in the middle of a path segment.
        let uses_path = self.canonical_url.is_some() || self.has_alternates();
        if uses_path && !rule.path_prefix.is_empty() && !rule.path_prefix.ends_with('/') {
            let reason = "must end in / if the rule uses {path}";
            return Err(invalid("path_prefix", &reason));
        }
        if rule
            .per_host
            .is_some_and(|count| !(1..=MAX_PER_HOST).contains(&count))
        {
            let reason = format!("must be at least 1 and at most {MAX_PER_HOST}");
            return Err(invalid("per_host", &reason));
        }
        if rule
            .segments
            .is_some_and(|count| !(1..=MAX_SEGMENTS).contains(&count))
        {
            let reason = format!("must be at least 1 and at most {MAX_SEGMENTS}");
            return Err(invalid("segments", &reason));
        }
        if rule
            .request_interval
            .is_some_and(|interval| interval.0 > MAX_REQUEST_INTERVAL)
        {
            return Err(invalid("request_interval", &"must be at most 1m"));
        }
        if rule.min_age.is_some_and(|age| age.0 > MAX_MIN_AGE) {
            return Err(invalid("min_age", &"must be at most 365days"));
        }
        if self.settings().is_empty() {
            let reason = format!("the rule for host \"{}\" sets nothing", rule.host);
            return Err(ConfigError::new("rules", reason));
        }
        Ok(())
    }

    /// Returns the keys of the conditions that the rule has, with their values.
    pub fn conditions(&self) -> Vec<(&'static str, String)> {
        let rule = &self.rule;
        [
            ("scheme", &rule.scheme),
            ("host", &rule.host),
            ("path_prefix", &rule.path_prefix),
            ("path_suffix", &rule.path_suffix),
            ("path", &rule.path),
            ("query", &rule.query),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key, value.clone()))
        .collect()
    }

    /// Returns the keys of the settings that the rule has.
    pub fn settings(&self) -> Vec<&'static str> {
        let rule = &self.rule;
        [
            ("class", rule.class.is_some()),
            ("check_file_type", rule.check_file_type.is_some()),
            ("min_age", rule.min_age.is_some()),
            ("offline", rule.offline.is_some()),
            ("canonical_url", self.canonical_url.is_some()),
            (
                "ignored_query_parameters",
                !rule.ignored_query_parameters.is_empty(),
            ),
            ("mirrors", !self.mirrors.is_empty()),
            ("archives", !self.archives.is_empty()),
            ("headers", self.credentials.is_some()),
            ("per_host", rule.per_host.is_some()),
            ("segments", rule.segments.is_some()),
            ("request_interval", rule.request_interval.is_some()),
            ("egress_proxy", self.egress.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, is_set)| is_set.then_some(key))
        .collect()
    }

    /// Returns whether the rule applies to a target.
    pub fn matches(&self, target: &Target) -> bool {
        self.scheme.is_none_or(|scheme| scheme == target.scheme())
            && self
                .host
                .as_ref()
                .is_none_or(|host| host.matches(target.host()))
            && target.path().starts_with(&self.rule.path_prefix)
            && target.path().ends_with(&self.rule.path_suffix)
            && self
                .path
                .as_ref()
                .is_none_or(|path| path.matches(target.path()))
            && self
                .query
                .as_ref()
                .is_none_or(|query| query.matches(target.url().query()))
    }

    /// Returns whether the rule maps several targets to one canonical alias.
    pub fn has_alias(&self) -> bool {
        self.canonical_url.is_some() || !self.rule.ignored_query_parameters.is_empty()
    }

    /// Returns whether the rule has mirrors or archives.
    pub fn has_alternates(&self) -> bool {
        !self.mirrors.is_empty() || !self.archives.is_empty()
    }

    /// Returns the canonical alias of a target.
    pub fn canonical_alias(&self, target: &Target) -> Target {
        let plain = without_parameters(target, &self.rule.ignored_query_parameters);
        self.canonical_url
            .as_ref()
            .and_then(|template| template.expand(&plain, &self.rule.path_prefix))
            .unwrap_or(plain)
    }

    /// Returns the URLs of a target at the mirrors, in order.
    pub fn mirrors_of(&self, target: &Target) -> impl Iterator<Item = Target> {
        self.mirrors
            .iter()
            .filter_map(|template| template.expand(target, &self.rule.path_prefix))
    }

    /// Returns the URLs of a target at the archives, in order.
    pub fn archives_of(&self, target: &Target) -> impl Iterator<Item = Target> {
        self.archives
            .iter()
            .filter_map(|template| template.expand(target, &self.rule.path_prefix))
    }
}

fn parse_scheme(text: &str) -> Result<Option<Scheme>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let scheme = Scheme::parse(text);
    scheme
        .map(Some)
        .ok_or_else(|| invalid("scheme", &"must be http, https or ftp"))
}

fn parse_host(text: &str) -> Result<Option<HostPattern>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    HostPattern::parse(text)
        .map(Some)
        .map_err(|error| invalid("host", &error))
}

fn template(key: &str, text: &str) -> Result<Template, ConfigError> {
    Template::parse(text).map_err(|error| invalid(key, &error))
}

fn templates(key: &str, texts: &[String]) -> Result<Vec<Template>, ConfigError> {
    if texts.len() > MAX_ALTERNATES {
        let reason = format!("at most {MAX_ALTERNATES} are allowed");
        return Err(invalid(key, &reason));
    }
    texts.iter().map(|text| template(key, text)).collect()
}

fn invalid(key: &str, reason: &dyn Display) -> ConfigError {
    ConfigError::new(format!("rules.{key}"), reason)
}
