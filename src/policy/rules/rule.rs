//! One `[[rules]]` entry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::template::{Template, without_parameters};
use crate::model::{Scheme, Secret, Span, Target};
use crate::policy::access::Access;
use crate::policy::{Egress, HostPattern};

/// Maximum number of mirrors, and of archives, in one rule.
const MAX_PLACES: usize = 8;

/// Upper bound for concurrent fetches from one host. No host can serve more.
const MAX_PER_HOST: usize = 100_000;

/// Longest request interval. A longer one would lead to queues of hours.
const MAX_DELAY: Duration = Duration::from_mins(1);

/// Cacheability class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Immutable: once fetched and checked, the bytes stay the answer until an operator changes it.
    Frozen,
    /// Pass-through: streamed to the client, and not stored.
    Passed,
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Whether the first bytes are checked against the file type of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_kind: Option<bool>,
    /// Canonical URL under which matching targets are stored: `"https://{host}/{path}"`.
    pub same_as: String,
    /// Query parameters that select a server rather than a file.
    pub ignored_parameters: Vec<String>,
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
    /// Minimum interval between the starts of two requests to one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Proxy for these requests, `http://host:port`, or `none` to bypass the default proxy.
    pub egress_proxy: Secret,
}

/// Validated rule.
#[derive(Debug)]
pub struct CompiledRule {
    scheme: Option<Scheme>,
    host: Option<HostPattern>,
    pub rule: Rule,
    same_as: Option<Template>,
    mirrors: Vec<Template>,
    archives: Vec<Template>,
    pub access: Option<Arc<Access>>,
    pub egress: Option<Egress>,
}

impl CompiledRule {
    pub fn new(rule: Rule) -> Result<Self, String> {
        let host = match rule.host.as_str() {
            "" => None,
            text => Some(HostPattern::parse(text).map_err(|why| format!("rules.host: {why}"))?),
        };
        let scheme = match rule.scheme.as_str() {
            "" => None,
            text => Some(Scheme::parse(text).ok_or("rules.scheme must be http, https or ftp")?),
        };
        let access = Access::new("rules", &rule.headers, &rule.authorization, &rule.authorization_file)?;
        if access.is_some() && (host.is_none() || !matches!(scheme, Some(Scheme::Http | Scheme::Https))) {
            return Err("rules.headers and rules.authorization need a host, and the scheme http or https".to_owned());
        }
        let template = |key: &str, text: &str| Template::parse(text).map_err(|why| format!("rules.{key}: {why}"));
        let templates = |key: &str, texts: &[String]| -> Result<Vec<_>, String> {
            if texts.len() > MAX_PLACES {
                return Err(format!("rules.{key}: at most {MAX_PLACES} are allowed"));
            }
            texts.iter().map(|text| template(key, text)).collect()
        };
        let same_as = (!rule.same_as.is_empty()).then(|| template("same_as", &rule.same_as)).transpose()?;
        let (mirrors, archives) = (templates("mirrors", &rule.mirrors)?, templates("archives", &rule.archives)?);
        let is_mapped = same_as.is_some() || !mirrors.is_empty() || !archives.is_empty();
        // Otherwise `{path}` could begin in the middle of a path segment.
        if is_mapped && !rule.path_prefix.is_empty() && !rule.path_prefix.ends_with('/') {
            return Err("rules.path_prefix must end in / if the rule uses {path}".to_owned());
        }
        if rule.per_host.is_some_and(|count| !(1..=MAX_PER_HOST).contains(&count)) {
            return Err(format!("rules.per_host must be at least 1 and at most {MAX_PER_HOST}"));
        }
        if rule.delay.is_some_and(|delay| delay.0 > MAX_DELAY) {
            return Err("rules.delay must be at most 1m".to_owned());
        }
        let egress = Egress::parse(&rule.egress_proxy).map_err(|why| format!("rules.egress_proxy: {why}"))?;
        let access = access.map(Arc::new);
        let compiled = Self { scheme, host, rule, same_as, mirrors, archives, access, egress };
        if compiled.says_nothing() {
            return Err(format!("rules: the rule for host \"{}\" sets nothing", compiled.rule.host));
        }
        Ok(compiled)
    }

    fn says_nothing(&self) -> bool {
        let rule = &self.rule;
        let is_of_the_target = rule.class.is_some() || rule.judge_kind.is_some() || self.joins();
        let is_of_the_way = self.access.is_some() || self.egress.is_some();
        let is_of_manners = rule.per_host.is_some() || rule.delay.is_some();
        !is_of_the_target && !self.names_places() && !is_of_the_way && !is_of_manners
    }

    pub fn fits(&self, target: &Target) -> bool {
        self.scheme.is_none_or(|scheme| scheme == target.scheme())
            && self.host.as_ref().is_none_or(|host| host.matches(target.host()))
            && target.path().starts_with(&self.rule.path_prefix)
            && target.path().ends_with(&self.rule.path_suffix)
    }

    /// Returns whether the rule maps several targets to one canonical alias.
    pub fn joins(&self) -> bool {
        self.same_as.is_some() || !self.rule.ignored_parameters.is_empty()
    }

    pub fn names_places(&self) -> bool {
        !self.mirrors.is_empty() || !self.archives.is_empty()
    }

    /// Returns the canonical alias of a target.
    pub fn join(&self, target: &Target) -> Target {
        let plain = without_parameters(target, &self.rule.ignored_parameters);
        self.same_as.as_ref().and_then(|template| template.fill(&plain, &self.rule.path_prefix)).unwrap_or(plain)
    }

    pub fn mirrors_of(&self, target: &Target) -> impl Iterator<Item = Target> {
        self.mirrors.iter().filter_map(|template| template.fill(target, &self.rule.path_prefix))
    }

    pub fn archives_of(&self, target: &Target) -> impl Iterator<Item = Target> {
        self.archives.iter().filter_map(|template| template.fill(target, &self.rule.path_prefix))
    }
}
