//! Parent caches: other Millpond gateways, which may have an object that the origin lacks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::origin_credentials::OriginCredentials;
use crate::model::{ConfigError, Secret, Target};

/// Maximum number of parents. A fetch that fails asks all of them.
const MAX_PARENTS: usize = 8;

/// Configuration of one parent: `[[parents]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parent {
    /// URL of the parent's gateway port, as its clients use it: `"https://sources.example.org"`.
    pub url: String,
    /// Credentials for the parent, as header fields.
    pub headers: BTreeMap<String, Secret>,
    /// Value of `Authorization`, for a server in front of the parent.
    pub authorization: Secret,
    pub authorization_file: PathBuf,
}

/// Validated parent.
#[derive(Debug)]
pub struct CompiledParent {
    /// Has no trailing slash.
    url: String,
    pub credentials: Option<Arc<OriginCredentials>>,
}

impl CompiledParent {
    /// Compiles and checks the list of parents.
    pub fn compile_all(parents: &[Parent]) -> Result<Vec<Self>, ConfigError> {
        if parents.len() > MAX_PARENTS {
            let reason = format!("at most {MAX_PARENTS} are allowed");
            return Err(ConfigError::new("parents", reason));
        }
        parents.iter().map(Self::new).collect()
    }

    fn new(parent: &Parent) -> Result<Self, ConfigError> {
        let url = parent.url.trim_end_matches('/').to_owned();
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        if !is_web || url.contains(['?', '#']) || Target::parse(&url).is_err() {
            let reason = "must be like \"https://sources.example.org\"";
            return Err(ConfigError::new("parents.url", reason));
        }
        let credentials = OriginCredentials::new(
            "parents",
            &parent.headers,
            &parent.authorization,
            &parent.authorization_file,
        )?;
        Ok(Self {
            url,
            credentials: credentials.map(Arc::new),
        })
    }

    /// Returns the URL of a target at this parent. `None` if it is too long.
    pub fn target_of(&self, target: &Target) -> Option<Target> {
        Target::parse(&format!("{}/{}", self.url, target.as_str())).ok()
    }
}
