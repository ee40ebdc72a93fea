//! One row of the table of rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::template::{Template, without_parameters};
use crate::model::{Scheme, Secret, Span, Target};
use crate::policy::access::Access;
use crate::policy::{Egress, HostPattern};

/// How many other places one rule may name, of each sort.
const MAX_PLACES: usize = 8;

/// More at once than any host can bear.
const MAX_PER_HOST: usize = 100_000;

/// A longer pause would make a queue of hours.
const MAX_DELAY: Duration = Duration::from_mins(1);

/// How long the bytes of a target stay what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Once fetched and checked, the target means those bytes until an operator says otherwise.
    Frozen,
    /// Streamed to whoever asks, and not stored.
    Passed,
}

/// One `[[rules]]`. Of each matter the first rule decides that fits and speaks of it; where none does, what is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// `http`, `https` or `ftp`; empty: each.
    pub scheme: String,
    /// A host as in `allow_hosts`; empty: every host.
    pub host: String,
    /// The beginning of the path; empty: every path.
    pub path_prefix: String,
    /// The end of the path; empty: every path.
    pub path_suffix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Whether the first bytes are held against what the name promises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_kind: Option<bool>,
    /// Under which URL that is kept what is asked for here: `"https://{host}/{path}"`.
    pub same_as: String,
    /// Parameters of the query that choose a server, and not a file.
    pub ignored_parameters: Vec<String>,
    /// Where the same file lies, too: `"https://mirror.example.org/pub/{path}"`.
    pub mirrors: Vec<String>,
    /// Where a file is once it has left its place.
    pub archives: Vec<String>,
    /// Header fields that let us in there. They go to `host` by `scheme`, and behind a redirect to nobody else.
    pub headers: BTreeMap<String, Secret>,
    /// The value of `Authorization`.
    pub authorization: Secret,
    pub authorization_file: PathBuf,
    /// Fetches at once from one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_host: Option<usize>,
    /// Between the beginnings of two requests to one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// `http://host:port` of a proxy for these requests, or `none` to go without the usual one.
    pub egress_proxy: Secret,
}

/// A rule in the form in which it is applied.
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
            return Err(
                "rules.headers and rules.authorization need a host, and a scheme that is http or https".to_owned()
            );
        }
        let template = |key: &str, text: &str| Template::parse(text).map_err(|why| format!("rules.{key}: {why}"));
        let templates = |key: &str, texts: &[String]| -> Result<Vec<_>, String> {
            if texts.len() > MAX_PLACES {
                return Err(format!("rules.{key}: there may be at most {MAX_PLACES}"));
            }
            texts.iter().map(|text| template(key, text)).collect()
        };
        let same_as = (!rule.same_as.is_empty()).then(|| template("same_as", &rule.same_as)).transpose()?;
        let (mirrors, archives) = (templates("mirrors", &rule.mirrors)?, templates("archives", &rule.archives)?);
        let is_mapped = same_as.is_some() || !mirrors.is_empty() || !archives.is_empty();
        // Half a segment would be put where a whole one belongs.
        if is_mapped && !rule.path_prefix.is_empty() && !rule.path_prefix.ends_with('/') {
            return Err("rules.path_prefix: it must end in / where a {path} begins behind it".to_owned());
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
            return Err(format!("rules: the one for \"{}\" says nothing", compiled.rule.host));
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

    /// Whether it puts several targets under one name.
    pub fn joins(&self) -> bool {
        self.same_as.is_some() || !self.rule.ignored_parameters.is_empty()
    }

    pub fn names_places(&self) -> bool {
        !self.mirrors.is_empty() || !self.archives.is_empty()
    }

    /// The name under which a target is kept.
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
