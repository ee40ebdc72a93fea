//! Filter of a list of stored targets. The main type is [`ListFilter`].

use std::time::SystemTime;

use crate::cache::ListedTarget;
use crate::policy::Class;

/// Conditions that a listed target must meet. An absent one is met by all.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Host in lower case.
    pub host: Option<String>,
    /// Beginning of the URL.
    pub prefix: Option<String>,
    pub class: Option<Class>,
    /// The first record is older than this.
    pub seen_before: Option<SystemTime>,
    /// The first record is not older than this.
    pub seen_since: Option<SystemTime>,
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
