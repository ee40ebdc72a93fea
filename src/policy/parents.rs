//! Other gateways of this kind, which may have what the origin does not give.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::Access;
use crate::model::{Secret, Target};

/// How many there may be.
const MAX_PARENTS: usize = 8;

/// One `[[parents]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parent {
    /// Its gateway port, as its clients reach it: `"https://sources.example.org"`.
    pub url: String,
    /// Header fields that let us in there.
    pub headers: BTreeMap<String, Secret>,
    /// The value of `Authorization`, for a server in front of it.
    pub authorization: Secret,
    pub authorization_file: PathBuf,
}

/// A parent in the form in which it is asked.
#[derive(Debug)]
pub struct CompiledParent {
    /// Without a slash at its end.
    url: String,
    pub access: Option<Arc<Access>>,
}

impl CompiledParent {
    pub fn all(parents: &[Parent]) -> Result<Vec<Self>, String> {
        if parents.len() > MAX_PARENTS {
            return Err(format!("parents: there may be at most {MAX_PARENTS}"));
        }
        parents.iter().map(Self::new).collect()
    }

    fn new(parent: &Parent) -> Result<Self, String> {
        let url = parent.url.trim_end_matches('/').to_owned();
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        if !is_web || url.contains(['?', '#']) || Target::parse(&url).is_err() {
            return Err("parents.url must be like \"https://sources.example.org\"".to_owned());
        }
        let access = Access::new("parents", &parent.headers, &parent.authorization, &parent.authorization_file)?;
        Ok(Self { url, access: access.map(Arc::new) })
    }

    /// Where a target is asked for there. Nothing if that is too long.
    pub fn target_of(&self, target: &Target) -> Option<Target> {
        Target::parse(&format!("{}/{}", self.url, target.as_str())).ok()
    }
}
