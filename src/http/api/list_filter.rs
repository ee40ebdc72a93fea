//! Filter and page of a list of stored targets. The main type is [`ListFilter`].

use std::time::SystemTime;

use utoipa::IntoParams;

use super::values::ClassName;
use crate::cache::ListedTarget;
use crate::model::Key;
use crate::policy::Class;

/// Conditions that a listed target must meet. An absent one is met by all.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListFilter {
    /// Only targets of this host
    pub host: Option<String>,
    /// Only targets whose URL begins with this text
    pub prefix: Option<String>,
    /// Only targets of this class
    #[param(value_type = Option<ClassName>)]
    pub class: Option<Class>,
    /// Only targets whose record is older than this number of seconds
    #[param(rename = "older_than", value_type = Option<u64>)]
    pub seen_before: Option<SystemTime>,
    /// Only targets whose record is not older than this number of seconds
    #[param(rename = "newer_than", value_type = Option<u64>)]
    pub seen_since: Option<SystemTime>,
}

/// Part of a list.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListPart {
    /// Only targets behind this key, which is `next` of the page before
    #[param(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub after: Option<Key>,
    /// Number of targets on a page
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    pub limit: usize,
}

impl ListFilter {
    /// Whether a target of this class meets all conditions.
    pub fn accepts(&self, listed: &ListedTarget, class: Class) -> bool {
        let record = &listed.record;
        let has_host = |host: &String| record.target.host() == host.as_str();
        let has_prefix = |prefix: &String| record.target.to_string().starts_with(prefix.as_str());
        self.host.as_ref().is_none_or(has_host)
            && self.prefix.as_ref().is_none_or(has_prefix)
            && self.class.is_none_or(|wanted| wanted == class)
            && self.seen_before.is_none_or(|time| record.first_seen < time)
            && self.seen_since.is_none_or(|time| record.first_seen >= time)
    }
}
