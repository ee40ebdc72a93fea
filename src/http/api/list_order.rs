//! Order and parts of a list of targets. The main type is [`ListPart`].

use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::admin::ListStart;
use crate::gateway::RequestError;
use crate::model::Key;

/// Order of a list of targets. A minus sign means descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum TargetSort {
    #[serde(rename = "url")]
    Url,
    #[serde(rename = "-url")]
    UrlDescending,
    #[serde(rename = "size")]
    Size,
    #[serde(rename = "-size")]
    SizeDescending,
    #[serde(rename = "first_seen")]
    FirstSeen,
    #[serde(rename = "-first_seen")]
    FirstSeenDescending,
    #[serde(rename = "last_used")]
    LastUsed,
    #[serde(rename = "-last_used")]
    LastUsedDescending,
}

/// Order and part of a list of targets.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListPart {
    /// Order, which is that of an internal key unless it is stated
    ///
    /// An order looks at all targets, and returns the totals with them.
    #[param(value_type = Option<TargetSort>)]
    pub sort: Option<TargetSort>,
    /// Only targets behind this place, which is `next` of the page before
    #[param(value_type = Option<String>)]
    pub after: Option<Place>,
    /// Number of targets on a page
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    pub limit: usize,
    /// Whether the page has the totals of all targets that meet the filters
    #[param(value_type = Option<bool>)]
    pub total: bool,
}

/// Place of a target in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    value: SortValue,
    key: Key,
}

/// Value that decides about a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    /// Only the key decides.
    Nothing,
    Number(u64),
    Text(String),
}

/// Values of a target, one of which decides about its place.
#[derive(Debug, Clone, Copy)]
pub struct SortFacts<'a> {
    pub key: Key,
    pub url: &'a str,
    pub size_bytes: u64,
    pub first_seen: SystemTime,
    pub last_used: Option<SystemTime>,
}

impl TargetSort {
    fn is_descending(self) -> bool {
        match self {
            Self::Url | Self::Size | Self::FirstSeen | Self::LastUsed => false,
            Self::UrlDescending
            | Self::SizeDescending
            | Self::FirstSeenDescending
            | Self::LastUsedDescending => true,
        }
    }
}

impl ListPart {
    /// Whether a list needs a look at all targets.
    pub fn is_full(&self) -> bool {
        self.total || self.sort.is_some()
    }

    /// Returns where a visit of the targets begins.
    pub fn start(&self) -> ListStart {
        if self.is_full() {
            return ListStart {
                after: None,
                first_step: usize::MAX,
            };
        }
        ListStart {
            after: self.after.as_ref().map(|place| place.key),
            // One more shows whether there is another page.
            first_step: self.limit + 1,
        }
    }

    /// Returns the place of a target.
    pub fn place_of(&self, facts: &SortFacts<'_>) -> Place {
        let value = match self.sort {
            None => SortValue::Nothing,
            Some(TargetSort::Url | TargetSort::UrlDescending) => {
                SortValue::Text(facts.url.to_owned())
            }
            Some(TargetSort::Size | TargetSort::SizeDescending) => {
                SortValue::Number(facts.size_bytes)
            }
            Some(TargetSort::FirstSeen | TargetSort::FirstSeenDescending) => {
                SortValue::Number(millis(facts.first_seen))
            }
            Some(TargetSort::LastUsed | TargetSort::LastUsedDescending) => {
                SortValue::Number(facts.last_used.map_or(0, millis))
            }
        };
        Place {
            value,
            key: facts.key,
        }
    }

    /// Returns the place of a key in the order of keys.
    pub fn place_of_key(key: Key) -> Place {
        Place {
            value: SortValue::Nothing,
            key,
        }
    }

    /// Whether a place is behind `after`.
    pub fn has_reached(&self, place: &Place) -> bool {
        match &self.after {
            None => true,
            Some(after) if self.is_descending() => place < after,
            Some(after) => place > after,
        }
    }

    pub fn is_descending(&self) -> bool {
        self.sort.is_some_and(TargetSort::is_descending)
    }
}

impl Place {
    /// Parses the text of a place in a list of this order.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is none.
    pub fn parse(text: &str, sort: Option<TargetSort>) -> Result<Self, RequestError> {
        Self::parse_parts(text, sort).ok_or_else(|| {
            RequestError::BadRequest("after must be next of a page in this order".to_owned())
        })
    }

    fn parse_parts(text: &str, sort: Option<TargetSort>) -> Option<Self> {
        let Some(sort) = sort else {
            let key = text.parse().ok()?;
            return Some(ListPart::place_of_key(key));
        };
        let (key, value) = text.split_once(':')?;
        let value = match sort {
            TargetSort::Url | TargetSort::UrlDescending => SortValue::Text(value.to_owned()),
            _ => SortValue::Number(value.parse().ok()?),
        };
        let key = key.parse().ok()?;
        Some(Self { value, key })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            SortValue::Nothing => write!(f, "{}", self.key),
            SortValue::Number(number) => write!(f, "{}:{number}", self.key),
            SortValue::Text(text) => write!(f, "{}:{text}", self.key),
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since_epoch.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
