//! The bucket: an S3-compatible store behind the disk, which several instances may share.
//!
//! It is asked with bounded waits, and left alone for a while once it fails. What it is used for
//! the rest of the store decides: this folder knows no disk. Its main type is [`Bucket`].

mod circuit;
mod client;
mod config;
mod download;
mod error;
mod gc;
mod keys;
mod pins;
mod upload;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use futures_util::future::BoxFuture;
use sha2::Digest as _;
use tokio::time::timeout;

pub use config::{Config, Delivery};
pub use download::BucketBody;
pub use error::BucketError;
pub use gc::{GcMode, GcReport};
pub use keys::{pin_of, record_of, sha256_of};
pub use upload::{Upload, UploadResult};

use crate::model::{Event, EventSink, Key, MAX_RECORD_BYTES, Record, Sha256};
use circuit::{CircuitBreaker, Transition};
use keys::ObjectKeys;

/// How long a request may take that moves no object. A client may be waiting for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How many keys one listing gives at most, by the protocol.
const MAX_LISTED: i32 = 1000;

/// How many records of one target are read.
const MAX_RECORDS: i32 = 64;

/// A request of the SDK on its way.
trait Request<T, E>: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send {}

impl<T, E, F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send> Request<T, E> for F {}

/// One bucket, or the part of it under a prefix. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    config: Config,
    keys: ObjectKeys,
    reading: CircuitBreaker,
    writing: CircuitBreaker,
    events: EventSink,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Something in the bucket.
#[derive(Debug, Clone)]
pub struct ListedKey {
    pub name: String,
    pub size_bytes: u64,
    pub modified_at: SystemTime,
}

struct ListPage {
    listed: Vec<ListedKey>,
    is_truncated: bool,
}

/// What the bucket says of one object.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    pub size_bytes: u64,
    pub modified_at: SystemTime,
    pub etag: String,
}

/// What is under a prefix, a page at a time.
pub struct Listing {
    bucket: Bucket,
    prefix: String,
    after: String,
    is_done: bool,
}

impl Bucket {
    /// # Errors
    /// A line that keys the key, where a secret cannot be read.
    pub fn new(config: Config, events: EventSink) -> Result<Self, String> {
        let client = client::client(&config)?;
        let keys = ObjectKeys::new(&config.prefix);
        let (reading, writing) = (CircuitBreaker::default(), CircuitBreaker::default());
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                config,
                keys,
                reading,
                writing,
                events,
            }),
        })
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// By which this bucket is told from another one, in a short word.
    #[must_use]
    pub fn id(&self) -> String {
        let Config {
            endpoint, bucket, ..
        } = &self.shared.config;
        let endpoint = endpoint.trim_end_matches('/');
        let whole = format!("{endpoint}\n{bucket}\n{}", self.shared.keys.objects());
        hex::encode(&sha2::Sha256::digest(whole)[..8])
    }

    /// The records of a target.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn records_of(&self, key: Key) -> Result<Vec<Record>, BucketError> {
        let page = self
            .page(&self.keys().records_of(key), "", MAX_RECORDS)
            .await?;
        let mut records = Vec::new();
        for sha256 in page
            .listed
            .iter()
            .filter_map(|listed| Some(record_of(&listed.name)?.1))
        {
            records.extend(self.record(key, sha256).await?);
        }
        Ok(records)
    }

    /// One record. `None` if it cannot be read, or is of another target.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn record(&self, key: Key, sha256: Sha256) -> Result<Option<Record>, BucketError> {
        let request = self
            .client()
            .get_object()
            .bucket(self.name())
            .key(self.keys().record(key, sha256));
        let output = match self.read(request.send()).await {
            Err(BucketError::NotFound) => return Ok(None),
            output => output?,
        };
        let mut body = output.body;
        let mut bytes = Vec::new();
        let whole = async {
            while let Some(piece) = body
                .try_next()
                .await
                .map_err(|error| BucketError::Unavailable(error.to_string()))?
            {
                bytes.extend_from_slice(&piece);
                if bytes.len() > MAX_RECORD_BYTES {
                    break;
                }
            }
            Ok::<_, BucketError>(())
        };
        let silent = || BucketError::Unavailable("it fell silent".to_owned());
        timeout(REQUEST_TIMEOUT, whole)
            .await
            .map_err(|_| silent())??;
        match Record::parse(&bytes) {
            Ok(record) if record.key() == key && record.sha256 == sha256 => Ok(Some(record)),
            _ => {
                tracing::warn!(%key, %sha256, "a record in the bucket is damaged and is passed over");
                Ok(None)
            }
        }
    }

    /// Objects from this digest on, in their order: as many as one request gives.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn objects_from(&self, sha256: Sha256) -> Result<Vec<ListedKey>, BucketError> {
        // A listing begins behind what it is told, and a name's own beginning stands before it.
        let mut after = self.keys().object(sha256);
        after.pop();
        Ok(self
            .page(&self.keys().objects(), &after, MAX_LISTED)
            .await?
            .listed)
    }

    /// What the bucket says of an object. `None` if it has none.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn head_object(&self, sha256: Sha256) -> Result<Option<ObjectInfo>, BucketError> {
        self.head_key(&self.keys().object(sha256)).await
    }

    async fn head_key(&self, name: &str) -> Result<Option<ObjectInfo>, BucketError> {
        match self
            .read(
                self.client()
                    .head_object()
                    .bucket(self.name())
                    .key(name)
                    .send(),
            )
            .await
        {
            Ok(output) => Ok(Some(ObjectInfo {
                size_bytes: size(output.content_length()),
                modified_at: time(output.last_modified()),
                etag: output
                    .e_tag()
                    .unwrap_or_default()
                    .trim_matches('"')
                    .to_owned(),
            })),
            Err(BucketError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects, or records, or uses, or pins.
    #[must_use]
    pub fn list(&self, prefix: String) -> Listing {
        Listing {
            bucket: self.clone(),
            prefix,
            after: String::new(),
            is_done: false,
        }
    }

    /// Removes something. If it is gone already, that is as well.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn remove(&self, name: &str) -> Result<(), BucketError> {
        match self
            .write(
                REQUEST_TIMEOUT,
                self.client()
                    .delete_object()
                    .bucket(self.name())
                    .key(name)
                    .send(),
            )
            .await
        {
            Ok(_) | Err(BucketError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where a client gets an object, for a while or, from a public bucket, for good. Nobody is
    /// asked for that.
    ///
    /// # Errors
    /// [`BucketError::Refused`] if the address cannot be signed.
    pub async fn presigned_url(&self, record: &Record) -> Result<String, BucketError> {
        let name = self.keys().object(record.sha256);
        let base = self.shared.config.public_base_url.trim_end_matches('/');
        if !base.is_empty() {
            return Ok(format!("{base}/{name}"));
        }
        let refused =
            |error: &dyn std::fmt::Display| BucketError::Refused(format!("cannot sign: {error}"));
        let config = PresigningConfig::expires_in(self.shared.config.presign_ttl.0)
            .map_err(|error| refused(&error))?;
        let request = self
            .client()
            .get_object()
            .bucket(self.name())
            .key(name)
            .response_content_disposition(upload::disposition(record))
            .response_content_type(upload::content_type(record));
        let signed = request
            .presigned(config)
            .await
            .map_err(|error| refused(&error))?;
        Ok(signed.uri().to_owned())
    }

    /// Asks the bucket for the least that it can give.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn probe(&self) -> Result<(), BucketError> {
        self.page(&self.keys().objects(), "", 1).await.map(drop)
    }

    /// What is wrong with the bucket, if anything is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared
            .reading
            .last_error()
            .or_else(|| self.shared.writing.last_error())
    }

    /// Whether reading from it has failed, and nobody has succeeded since.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared.reading.last_error().is_some()
    }

    /// How long nothing will be written to it.
    #[must_use]
    pub fn write_cooldown(&self) -> Duration {
        self.shared.writing.cooldown_remaining(Instant::now())
    }

    #[must_use]
    pub fn keys(&self) -> &ObjectKeys {
        &self.shared.keys
    }

    async fn page(&self, prefix: &str, after: &str, count: i32) -> Result<ListPage, BucketError> {
        // The older form of the request: not every store knows the newer one.
        let request = self
            .client()
            .list_objects()
            .bucket(self.name())
            .prefix(prefix)
            .max_keys(count);
        let request = if after.is_empty() {
            request
        } else {
            request.marker(after)
        };
        let output = self.read(request.send()).await?;
        let listed = output.contents().iter().filter_map(|object| {
            let name = object.key()?.to_owned();
            Some(ListedKey {
                name,
                size_bytes: size(object.size()),
                modified_at: time(object.last_modified()),
            })
        });
        Ok(ListPage {
            listed: listed.collect(),
            is_truncated: output.is_truncated() == Some(true),
        })
    }

    /// Takes note of a body that did not come to its end.
    fn record_broken_body(&self, error: &BucketError) {
        self.record_outcome(&self.shared.reading, &Err::<(), _>(error.clone()));
    }

    /// Reads, if the bucket is in a state to be asked. Requests of the SDK are large, so that they
    /// are put aside.
    fn read<'a, T, E>(
        &'a self,
        request: impl Request<T, E> + 'a,
    ) -> BoxFuture<'a, Result<T, BucketError>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        Box::pin(self.ask(&self.shared.reading, REQUEST_TIMEOUT, request))
    }

    /// Writes, if the bucket is in a state to be asked.
    fn write<'a, T, E>(
        &'a self,
        wait: Duration,
        request: impl Request<T, E> + 'a,
    ) -> BoxFuture<'a, Result<T, BucketError>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        Box::pin(self.ask(&self.shared.writing, wait, request))
    }

    async fn ask<T, E>(
        &self,
        health: &CircuitBreaker,
        wait: Duration,
        request: impl Request<T, E>,
    ) -> Result<T, BucketError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        health.try_acquire(Instant::now())?;
        let outcome = match timeout(wait, request).await {
            Ok(outcome) => outcome.map_err(BucketError::from),
            Err(_) => Err(BucketError::Unavailable(format!(
                "no answer within {}",
                humantime::format_duration(wait)
            ))),
        };
        self.record_outcome(health, &outcome);
        outcome
    }

    fn record_outcome<T>(&self, health: &CircuitBreaker, outcome: &Result<T, BucketError>) {
        if let Err(error) = outcome
            && error.is_bucket_wide()
        {
            self.shared.events.emit(Event::BucketFailed {
                detail: error.to_string(),
            });
        }
        match health.record(outcome, Instant::now()) {
            Some(Transition::Opened(why)) => {
                tracing::warn!(
                    why,
                    "the bucket is in trouble; what the disk has is served on"
                );
            }
            Some(Transition::Closed) => {
                tracing::info!("the bucket is back");
                if self.trouble().is_none() {
                    self.shared.events.emit(Event::BucketRecovered);
                }
            }
            None => {}
        }
    }

    fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Without which no request is whole.
    fn name(&self) -> &str {
        &self.shared.config.bucket
    }
}

impl Listing {
    /// The next keys, or `None` once all were given.
    ///
    /// # Errors
    /// [`BucketError`]; the listing can be gone on with.
    pub async fn next(&mut self) -> Result<Option<Vec<ListedKey>>, BucketError> {
        if self.is_done {
            return Ok(None);
        }
        let ListPage {
            listed,
            is_truncated,
        } = self
            .bucket
            .page(&self.prefix, &self.after, MAX_LISTED)
            .await?;
        let next = listed.last().map(|last| last.name.clone());
        // Whoever removes what a listing does not show must not take the half for the whole.
        match next {
            _ if !is_truncated => self.is_done = true,
            Some(next) if next > self.after => self.after = next,
            _ => {
                return Err(BucketError::Unavailable(
                    "a listing does not come to its end".to_owned(),
                ));
            }
        }
        Ok(Some(listed))
    }
}

fn size(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

fn time(time: Option<&aws_sdk_s3::primitives::DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
