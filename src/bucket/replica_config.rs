//! Configuration of one replica of the bucket: `[[s3.replicas]]`.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

use super::endpoint::is_endpoint;
use crate::model::{ConfigError, Secret};
use crate::policy::has_address_in;

/// Maximum number of replicas. Each site has one at most.
pub const MAX_REPLICAS: usize = 16;

/// Maximum number of networks in `near`. A site has a few.
const MAX_NETWORKS: usize = 64;

/// Configuration of one replica. Millpond only reads from it, and only objects.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketReplica {
    /// URL of the object store, without the bucket's name.
    pub endpoint: String,
    /// Region for request signatures. Empty: that of the bucket.
    pub region: String,
    /// Empty: the name of the bucket.
    pub bucket: String,
    /// Empty: the key and the secret of the bucket.
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub secret_access_key_file: PathBuf,
    /// Networks of the replica's site. A node with an address in one reads there first.
    pub near: Vec<IpNet>,
}

impl BucketReplica {
    /// Checks the replicas of a bucket.
    pub(super) fn check_all(replicas: &[Self]) -> Result<(), ConfigError> {
        let invalid = |key: &str, reason: &str| ConfigError::new(format!("s3.{key}"), reason);
        if replicas.len() > MAX_REPLICAS {
            let reason = format!("at most {MAX_REPLICAS} are allowed");
            return Err(invalid("replicas", &reason));
        }
        for replica in replicas {
            if !Url::parse(&replica.endpoint).is_ok_and(|url| is_endpoint(&url)) {
                let reason = "must be a URL like \"https://obs.example.org\"";
                return Err(invalid("replicas.endpoint", reason));
            }
            let has_file = !replica.secret_access_key_file.as_os_str().is_empty();
            let has_secret = has_file || !replica.secret_access_key.is_empty();
            if has_secret == replica.access_key_id.is_empty() {
                let reason = "a replica has both a key and its secret, or neither";
                return Err(invalid("replicas.access_key_id", reason));
            }
            if replica.near.is_empty() || replica.near.len() > MAX_NETWORKS {
                let reason = format!("must have 1 to {MAX_NETWORKS} networks");
                return Err(invalid("replicas.near", &reason));
            }
        }
        Ok(())
    }

    /// Returns whether the replica is at the site of this node.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.near.iter().any(has_address_in)
    }
}
