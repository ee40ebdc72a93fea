//! Configuration section `[s3]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::endpoint::{is_endpoint, is_web};
use super::replica_config::BucketReplica;
use crate::model::{ConfigError, HumanDuration, Secret, Size};

/// Longest lifetime of a presigned URL (AWS Signature Version 4).
const MAX_PRESIGN_TTL: HumanDuration = HumanDuration::from_secs(7 * 24 * 3600);

/// Shortest `max_unused`. The bucket records the use of an object at most once a day.
const MIN_MAX_UNUSED: HumanDuration = HumanDuration::from_secs(2 * 24 * 3600);

/// Largest object that the S3 API accepts in one PUT request.
const MAX_PUT: Size = Size::gib(5);

/// Configuration section `[s3]`. If `bucket` is empty, Millpond uses no bucket.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// URL of the object store, without the bucket's name.
    pub endpoint: String,
    /// Region for request signatures. Empty: `us-east-1`.
    pub region: String,
    pub bucket: String,
    /// Prefix of all object keys in the bucket.
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub secret_access_key_file: PathBuf,
    pub session_token: Secret,
    pub session_token_file: PathBuf,
    /// Whether the bucket's name is in the path of a URL rather than in the host name.
    pub path_style: bool,
    pub delivery: BucketDelivery,
    /// Lifetime of the presigned URLs that clients are redirected to.
    pub presign_ttl: HumanDuration,
    /// Base URL of a bucket that is publicly readable. Clients are redirected below it, without a
    /// signature.
    pub public_base_url: String,
    /// Size above which an object is uploaded in parts.
    pub multipart_threshold: Size,
    /// Time after which an object without a record is removed.
    pub gc_grace: HumanDuration,
    /// Time without use after which an object is removed from the bucket. Zero: never.
    pub max_unused: HumanDuration,
    /// Size of the bucket above which the least recently used objects are removed. Zero: no limit.
    pub max_size: Size,
    /// Copies of the bucket at other sites, from which objects are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<BucketReplica>,
}

/// How a client of the gateway port receives an object that is only in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BucketDelivery {
    /// Redirect to the bucket.
    Redirect,
    /// Through Millpond.
    Relay,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: String::new(),
            bucket: String::new(),
            prefix: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            secret_access_key_file: PathBuf::new(),
            session_token: Secret::default(),
            session_token_file: PathBuf::new(),
            path_style: false,
            delivery: BucketDelivery::Redirect,
            presign_ttl: HumanDuration::from_secs(3600),
            public_base_url: String::new(),
            multipart_threshold: Size::mib(64),
            gc_grace: HumanDuration::from_secs(7 * 24 * 3600),
            max_unused: HumanDuration::from_secs(0),
            max_size: Size { bytes: 0 },
            replicas: Vec::new(),
        }
    }
}

impl Config {
    /// Returns whether Millpond uses a bucket.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Returns whether objects that have a record are ever removed from the bucket.
    #[must_use]
    pub fn has_retention(&self) -> bool {
        !self.max_unused.0.is_zero() || self.max_size.bytes > 0
    }

    /// Checks the section. Without a bucket, no other key is checked.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.is_on() {
            return Ok(());
        }
        self.check_access()?;
        self.check_urls()?;
        self.check_bounds()?;
        BucketReplica::check_all(&self.replicas)
    }

    fn check_access(&self) -> Result<(), ConfigError> {
        let has_file = !self.secret_access_key_file.as_os_str().is_empty();
        if self.access_key_id.is_empty() {
            return Err(invalid("access_key_id", "s3.bucket needs this key"));
        }
        if self.secret_access_key.is_empty() && !has_file {
            return Err(invalid("secret_access_key", "s3.bucket needs this key"));
        }
        Ok(())
    }

    fn check_urls(&self) -> Result<(), ConfigError> {
        if !Url::parse(&self.endpoint).is_ok_and(|url| is_endpoint(&url)) {
            let reason = "must be a URL like \"https://obs.example.org\"";
            return Err(invalid("endpoint", reason));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if self.prefix.starts_with('/')
            || self.prefix.contains("//")
            || !self.prefix.bytes().all(is_plain)
        {
            let reason = "must be like \"sources/\", without a slash at the beginning";
            return Err(invalid("prefix", reason));
        }
        let is_public = |url: Url| is_web(&url) && url.query().is_none();
        if !self.public_base_url.is_empty()
            && !Url::parse(&self.public_base_url).is_ok_and(is_public)
        {
            let reason = "must be a URL like \"https://sources.example.org/\"";
            return Err(invalid("public_base_url", reason));
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), ConfigError> {
        if self.presign_ttl.0.is_zero() || self.presign_ttl > MAX_PRESIGN_TTL {
            let reason = "must be greater than zero and at most 7days";
            return Err(invalid("presign_ttl", reason));
        }
        if self.multipart_threshold.bytes == 0 || self.multipart_threshold > MAX_PUT {
            let reason = "must be greater than zero and at most 5GiB";
            return Err(invalid("multipart_threshold", reason));
        }
        if !self.max_unused.0.is_zero() && self.max_unused < MIN_MAX_UNUSED {
            let reason = "must be at least 2days, because a use is recorded once a day";
            return Err(invalid("max_unused", reason));
        }
        if self.gc_grace.0.is_zero() {
            return Err(invalid("gc_grace", "must be greater than zero"));
        }
        Ok(())
    }
}

fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::new(format!("s3.{key}"), reason)
}
