//! Parent caches: other Millpond gateways, which may have an object that the origin lacks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::addresses::has_address_in;
use super::origin_credentials::OriginCredentials;
use crate::model::{ConfigError, Scheme, Secret, Target};

/// Maximum number of parents. A fetch that fails asks all of them.
const MAX_PARENTS: usize = 8;

/// Maximum number of networks in `near`. A site has a few.
const MAX_NETWORKS: usize = 64;

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
    /// Whether a parent over http is asked without a digest on record.
    pub trusted: bool,
    /// Networks of the parent's site. A node with an address in one asks it before the origin.
    pub near: Vec<IpNet>,
}

/// Validated parent.
#[derive(Debug)]
pub struct CompiledParent {
    /// Has no trailing slash.
    url: String,
    port: u16,
    trust: ParentTrust,
    is_near: bool,
    pub credentials: Option<Arc<OriginCredentials>>,
}

/// Condition for the use of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParentTrust {
    /// TLS or the operator vouches for what the parent sends.
    Always,
    /// The network could change the bytes and their stated digest alike.
    WithDigest,
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
        let target = Target::parse(&url).ok();
        let target = target.filter(|target| {
            let owner = Scheme::from_default_port(target.port());
            let is_web = target.scheme() != Scheme::Ftp && !url.contains(['?', '#']);
            is_web && owner.is_none_or(|owner| owner == target.scheme())
        });
        let target = target.ok_or_else(|| {
            let reason = if url.trim().is_empty() {
                "must not be blank, but like \"https://sources.example.org\""
            } else {
                "must be like \"https://sources.example.org\""
            };
            ConfigError::new("parents.url", reason)
        })?;
        if parent.near.len() > MAX_NETWORKS {
            let reason = format!("at most {MAX_NETWORKS} networks are allowed");
            return Err(ConfigError::new("parents.near", reason));
        }
        let credentials = OriginCredentials::new(
            "parents",
            &parent.headers,
            &parent.authorization,
            &parent.authorization_file,
        )?;
        Ok(Self {
            port: target.port(),
            trust: if target.scheme() == Scheme::Https || parent.trusted {
                ParentTrust::Always
            } else {
                ParentTrust::WithDigest
            },
            is_near: parent.near.iter().any(has_address_in),
            url,
            credentials: credentials.map(Arc::new),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether the parent is at the site of this node, and is asked before the origin.
    pub fn is_near(&self) -> bool {
        self.is_near
    }

    /// Returns whether the parent may be asked for a body. `digest_expected` says that its digest
    /// is on record.
    pub fn may_be_asked(&self, digest_expected: bool) -> bool {
        digest_expected || self.trust == ParentTrust::Always
    }

    /// Returns the URL of a target at this parent. `None` if it is too long.
    pub fn target_of(&self, target: &Target) -> Option<Target> {
        Target::parse(&format!("{}/{}", self.url, target.as_str())).ok()
    }
}
