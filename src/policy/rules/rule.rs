//! One `[[rules]]` entry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::template::{Template, without_parameters};
use crate::model::{HumanDuration, Scheme, Secret, Target};
use crate::policy::origin_credentials::OriginCredentials;
use crate::policy::{EgressRoute, HostPattern};

/// Maximum number of mirrors, and of archives, in one rule.
const MAX_ALTERNATES: usize = 8;

/// Upper bound for concurrent fetches from one host. No host can serve more.
const MAX_PER_HOST: usize = 100_000;

/// Longest request interval. A longer one would lead to queues of hours.
const MAX_REQUEST_INTERVAL: Duration = Duration::from_mins(1);

/// Cacheability class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Immutable: once fetched and checked, the bytes stay the answer until an operator changes it.
    Immutable,
    /// Pass-through: streamed to the client, and not stored.
    #[serde(rename = "pass")]
    PassThrough,
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
    pub check_file_type: Option<bool>,
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
    pub rule: Rule,
    canonical_url: Option<Template>,
    mirrors: Vec<Template>,
    archives: Vec<Template>,
    pub credentials: Option<Arc<OriginCredentials>>,
    pub egress: Option<EgressRoute>,
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
        let credentials = OriginCredentials::new(
            "rules",
            &rule.headers,
            &rule.authorization,
            &rule.authorization_file,
        )?;
        if credentials.is_some()
            && (host.is_none() || !matches!(scheme, Some(Scheme::Http | Scheme::Https)))
        {
            return Err(
                "rules.headers and rules.authorization need a host, and the scheme http or https"
                    .to_owned(),
            );
        }
        let template = |key: &str, text: &str| {
            Template::parse(text).map_err(|why| format!("rules.{key}: {why}"))
        };
        let templates = |key: &str, texts: &[String]| -> Result<Vec<_>, String> {
            if texts.len() > MAX_ALTERNATES {
                return Err(format!("rules.{key}: at most {MAX_ALTERNATES} are allowed"));
            }
            texts.iter().map(|text| template(key, text)).collect()
        };
        let canonical_url = (!rule.canonical_url.is_empty())
            .then(|| template("canonical_url", &rule.canonical_url))
            .transpose()?;
        let (mirrors, archives) = (
            templates("mirrors", &rule.mirrors)?,
            templates("archives", &rule.archives)?,
        );
        let is_mapped = canonical_url.is_some() || !mirrors.is_empty() || !archives.is_empty();
        // Otherwise `{path}` could begin in the middle of a path segment.
        if is_mapped && !rule.path_prefix.is_empty() && !rule.path_prefix.ends_with('/') {
            return Err("rules.path_prefix must end in / if the rule uses {path}".to_owned());
        }
        if rule
            .per_host
            .is_some_and(|count| !(1..=MAX_PER_HOST).contains(&count))
        {
            return Err(format!(
                "rules.per_host must be at least 1 and at most {MAX_PER_HOST}"
            ));
        }
        if rule
            .request_interval
            .is_some_and(|interval| interval.0 > MAX_REQUEST_INTERVAL)
        {
            return Err("rules.request_interval must be at most 1m".to_owned());
        }
        let egress = EgressRoute::parse(&rule.egress_proxy)
            .map_err(|why| format!("rules.egress_proxy: {why}"))?;
        let credentials = credentials.map(Arc::new);
        let compiled = Self {
            scheme,
            host,
            rule,
            canonical_url,
            mirrors,
            archives,
            credentials,
            egress,
        };
        if compiled.has_no_effect() {
            return Err(format!(
                "rules: the rule for host \"{}\" sets nothing",
                compiled.rule.host
            ));
        }
        Ok(compiled)
    }

    fn has_no_effect(&self) -> bool {
        let rule = &self.rule;
        let changes_target =
            rule.class.is_some() || rule.check_file_type.is_some() || self.has_alias();
        let changes_route = self.credentials.is_some() || self.egress.is_some();
        let paces_requests = rule.per_host.is_some() || rule.request_interval.is_some();
        !changes_target && !self.has_alternates() && !changes_route && !paces_requests
    }

    pub fn matches(&self, target: &Target) -> bool {
        self.scheme.is_none_or(|scheme| scheme == target.scheme())
            && self
                .host
                .as_ref()
                .is_none_or(|host| host.matches(target.host()))
            && target.path().starts_with(&self.rule.path_prefix)
            && target.path().ends_with(&self.rule.path_suffix)
    }

    /// Returns whether the rule maps several targets to one canonical alias.
    pub fn has_alias(&self) -> bool {
        self.canonical_url.is_some() || !self.rule.ignored_query_parameters.is_empty()
    }

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

    pub fn mirrors_of(&self, target: &Target) -> impl Iterator<Item = Target> {
        self.mirrors
            .iter()
            .filter_map(|template| template.expand(target, &self.rule.path_prefix))
    }

    pub fn archives_of(&self, target: &Target) -> impl Iterator<Item = Target> {
        self.archives
            .iter()
            .filter_map(|template| template.expand(target, &self.rule.path_prefix))
    }
}
