//! The targets that there are records of, page by page, in the order of their keys.

use super::layout::Layout;
use super::{DiskError, durable_dirs, records};
use crate::model::{Key, Record};

/// A target with the record that answers for it.
#[derive(Debug, Clone)]
pub struct ListedTarget {
    pub key: Key,
    pub record: Record,
    pub is_cached: bool,
    pub is_pinned: bool,
}

/// Up to `limit` targets whose key lies behind `after`. One that is removed meanwhile is left out.
pub fn list(
    layout: &Layout,
    after: Option<Key>,
    limit: usize,
) -> Result<Vec<ListedTarget>, DiskError> {
    let mut listed = Vec::new();
    let begin = after.map(|key| key.to_string()).unwrap_or_default();
    let mut parts = durable_dirs::names_in(&layout.records())?;
    // Those of one folder begin with its name.
    parts.retain(|name| is_of_ours(name) && name.as_str() >= begin.get(..2).unwrap_or_default());
    for folder in parts {
        for name in durable_dirs::names_in(&layout.records().join(&folder))? {
            let Some(key) = name.parse::<Key>().ok().filter(|_| name > begin) else {
                continue;
            };
            if listed.len() == limit {
                return Ok(listed);
            }
            listed.extend(look_at(layout, key)?);
        }
    }
    Ok(listed)
}

fn look_at(layout: &Layout, key: Key) -> Result<Option<ListedTarget>, DiskError> {
    Ok(records::known(layout, key)?.map(|records| ListedTarget {
        key,
        record: records.active().as_ref().clone(),
        is_cached: records.is_cached(),
        is_pinned: records.is_pinned(),
    }))
}

/// The folder of keys that begin with these two digits.
fn is_of_ours(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
