//! The section `[s3]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::model::{HumanDuration, Secret, Size};

/// Longest validity of a signed URL, by SigV4.
const MAX_PRESIGN_TTL: HumanDuration = HumanDuration::from_secs(7 * 24 * 3600);

/// Smallest `max_unused`. Uses are recorded once a day, so a shorter time would remove objects that
/// are in use.
const MIN_MAX_UNUSED: HumanDuration = HumanDuration::from_secs(2 * 24 * 3600);

/// Largest body of one PUT request, with every supported store.
const MAX_PUT: Size = Size::gib(5);

/// `[s3]`. The bucket is enabled if `bucket` is set.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// URL of the store, without the name of the bucket.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    /// Prefix of all keys in the bucket.
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub secret_access_key_file: PathBuf,
    pub session_token: Secret,
    pub session_token_file: PathBuf,
    /// Sends the name of the bucket in the path instead of the host name, for stores without a host
    /// name for each bucket.
    pub path_style: bool,
    pub delivery: BucketDelivery,
    /// Validity of the signed URLs to which clients are redirected.
    pub presign_ttl: HumanDuration,
    /// Base URL of a public bucket. If set, clients are redirected to unsigned URLs below it.
    pub public_base_url: String,
    /// Size above which an object is uploaded in parts.
    pub multipart_threshold: Size,
    /// Minimum age before an object that no record names is removed.
    pub gc_grace: HumanDuration,
    /// Time without a request after which an object is removed. 0: never.
    pub max_unused: HumanDuration,
    /// Size above which the least recently used objects are removed. 0: no limit.
    pub max_size: Size,
}

/// How a client of the gateway endpoint gets an object that only the bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BucketDelivery {
    /// By a redirect to a URL in the bucket.
    Redirect,
    /// Through the gateway.
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
        }
    }
}

impl Config {
    /// Whether a bucket is configured.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Whether objects that records name are removed from the bucket.
    #[must_use]
    pub fn has_retention(&self) -> bool {
        !self.max_unused.0.is_zero() || self.max_size.bytes > 0
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A line that names the configuration key, if a value cannot be used.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_on() {
            return Ok(());
        }
        let endpoint = Url::parse(&self.endpoint).ok().filter(Url::has_host);
        let is_bare =
            |url: Url| url.path() == "/" && url.query().is_none() && url.username().is_empty();
        if !endpoint.is_some_and(|url| matches!(url.scheme(), "http" | "https") && is_bare(url)) {
            return Err("s3.endpoint must be a URL like \"https://obs.example.org\"".to_owned());
        }
        if self.access_key_id.is_empty() {
            return Err("s3.access_key_id is needed with s3.bucket".to_owned());
        }
        if self.secret_access_key.is_empty() && self.secret_access_key_file.as_os_str().is_empty() {
            return Err("s3.secret_access_key is needed with s3.bucket".to_owned());
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if self.prefix.starts_with('/')
            || self.prefix.contains("//")
            || !self.prefix.bytes().all(is_plain)
        {
            return Err(
                "s3.prefix must be like \"sources/\", without a slash at the beginning".to_owned(),
            );
        }
        let is_public =
            |url: Url| matches!(url.scheme(), "http" | "https") && url.query().is_none();
        if !self.public_base_url.is_empty()
            && !Url::parse(&self.public_base_url).is_ok_and(is_public)
        {
            return Err(
                "s3.public_base_url must be a URL like \"https://sources.example.org/\"".to_owned(),
            );
        }
        self.check_bounds()
    }

    fn check_bounds(&self) -> Result<(), String> {
        if self.presign_ttl.0.is_zero() || self.presign_ttl > MAX_PRESIGN_TTL {
            return Err("s3.presign_ttl must be greater than zero and at most 7days".to_owned());
        }
        if self.multipart_threshold.bytes == 0 || self.multipart_threshold > MAX_PUT {
            return Err(
                "s3.multipart_threshold must be greater than zero and at most 5GiB".to_owned(),
            );
        }
        if !self.max_unused.0.is_zero() && self.max_unused < MIN_MAX_UNUSED {
            return Err(
                "s3.max_unused must be at least 2days, because uses are recorded once a day"
                    .to_owned(),
            );
        }
        if self.gc_grace.0.is_zero() {
            return Err("s3.gc_grace must be greater than zero".to_owned());
        }
        Ok(())
    }
}
