//! Filter of a list of targets. The main type is [`ListFilter`].

use std::time::SystemTime;

use utoipa::IntoParams;

use super::values::ClassName;
use crate::model::{Sha256, Target};
use crate::policy::Class;

/// Conditions that a listed target must meet. An absent one is met by all.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListFilter {
    /// Only targets of this host
    pub host: Option<String>,
    /// Only targets whose URL begins with this text
    pub prefix: Option<String>,
    /// Only targets whose file name contains this text
    pub name: Option<String>,
    /// Only targets with the bytes of this digest
    #[param(value_type = Option<String>, pattern = "^[0-9a-fA-F]{64}$")]
    pub sha256: Option<Sha256>,
    /// Only targets of this class
    #[param(value_type = Option<ClassName>)]
    pub class: Option<Class>,
    /// Only targets whose object is on the disk, or is not
    pub cached: Option<bool>,
    /// Only targets that are pinned, or are not
    pub pinned: Option<bool>,
    /// Only targets that are on record, or pinned, for more than this number of seconds
    #[param(rename = "older_than", value_type = Option<u64>, maximum = 3_155_760_000_u64)]
    pub seen_before: Option<SystemTime>,
    /// Only targets that are on record, or pinned, for no more than this number of seconds
    #[param(rename = "newer_than", value_type = Option<u64>, maximum = 3_155_760_000_u64)]
    pub seen_since: Option<SystemTime>,
}

/// Facts about a listed target that a filter compares.
#[derive(Debug, Clone, Copy)]
pub struct ListedFacts<'a> {
    pub target: &'a Target,
    /// The first one answers for the target.
    pub digests: &'a [Sha256],
    pub class: Class,
    /// Time of the record or of the pin.
    pub since: SystemTime,
    pub is_cached: bool,
    pub is_pinned: bool,
}

impl ListFilter {
    /// Whether a target meets all conditions.
    pub fn accepts(&self, facts: &ListedFacts<'_>) -> bool {
        let target = facts.target;
        let has_host = |host: &String| target.host() == host.as_str();
        let has_prefix = |prefix: &String| target.as_str().starts_with(prefix.as_str());
        let has_name = |name: &String| file_name(target).contains(name.as_str());
        self.host.as_ref().is_none_or(has_host)
            && self.prefix.as_ref().is_none_or(has_prefix)
            && self.name.as_ref().is_none_or(has_name)
            && self
                .sha256
                .is_none_or(|sha256| facts.digests.contains(&sha256))
            && self.class.is_none_or(|wanted| wanted == facts.class)
            && self.cached.is_none_or(|cached| cached == facts.is_cached)
            && self.pinned.is_none_or(|pinned| pinned == facts.is_pinned)
            && self.seen_before.is_none_or(|time| facts.since < time)
            && self.seen_since.is_none_or(|time| facts.since >= time)
    }
}

/// Returns the last segment of the path.
fn file_name(target: &Target) -> &str {
    let path = target.path();
    path.rsplit('/').next().unwrap_or(path)
}
