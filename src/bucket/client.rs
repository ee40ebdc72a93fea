//! Sends requests of the SDK to one bucket, each with a timeout and through a circuit breaker.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::circuit::{BucketCircuit, Transition};
use super::config::Config;
use super::error::BucketError;
use super::keys::ObjectKeys;
use super::sdk;
use crate::metrics::{BucketCounts, BucketOperation, BucketResult};
use crate::model::{ConfigError, Event, EventSink};

/// Timeout for a request that transfers no object. A client may be waiting for its response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for a request to a replica. The bucket itself is asked then.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

/// The store that a client sends its requests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientRole {
    Bucket,
    /// A copy of the bucket, from which objects are read.
    Replica,
}

/// A request of the SDK that was not sent yet.
pub trait SdkRequest<T, E>: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send {}

impl<T, E, F> SdkRequest<T, E> for F where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send
{
}

/// Access to one bucket, for the operations of this module. Cheap to clone.
#[derive(Clone)]
pub struct BucketClient {
    inner: Arc<BucketClientInner>,
}

struct BucketClientInner {
    sdk: Client,
    config: Config,
    keys: ObjectKeys,
    /// Reads and writes fail independently of each other: a full bucket can still be read.
    read_circuit: BucketCircuit,
    write_circuit: BucketCircuit,
    counts: Arc<BucketCounts>,
    events: EventSink,
    role: ClientRole,
}

impl std::fmt::Debug for BucketClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketClient")
            .field("bucket", &self.bucket_name())
            .finish_non_exhaustive()
    }
}

impl BucketClient {
    /// Creates a client. Sends nothing. Fails with a line that names the key if a secret cannot be
    /// read.
    pub fn new(config: Config, events: EventSink) -> Result<Self, ConfigError> {
        Self::build(config, events, Arc::default(), ClientRole::Bucket)
    }

    /// Creates a client of a replica of this bucket, with its own configuration. Sends nothing.
    pub fn of_replica(&self, config: Config) -> Result<Self, ConfigError> {
        let (events, counts) = (self.inner.events.clone(), Arc::clone(&self.inner.counts));
        Self::build(config, events, counts, ClientRole::Replica)
    }

    fn build(
        config: Config,
        events: EventSink,
        counts: Arc<BucketCounts>,
        role: ClientRole,
    ) -> Result<Self, ConfigError> {
        let sdk = sdk::build_client(&config)?;
        let keys = ObjectKeys::new(&config.prefix);
        Ok(Self {
            inner: Arc::new(BucketClientInner {
                sdk,
                config,
                keys,
                read_circuit: BucketCircuit::default(),
                write_circuit: BucketCircuit::default(),
                counts,
                events,
                role,
            }),
        })
    }

    /// Builder of requests. Send them with [`BucketClient::read`] or [`BucketClient::write`].
    pub fn sdk(&self) -> &Client {
        &self.inner.sdk
    }

    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub fn keys(&self) -> &ObjectKeys {
        &self.inner.keys
    }

    /// Name of the bucket, which every request contains.
    pub fn bucket_name(&self) -> &str {
        &self.inner.config.bucket
    }

    /// Sends a request that reads, unless the circuit for reads is open. The future is boxed
    /// because requests of the SDK are large.
    pub fn read<'a, T, E>(
        &'a self,
        request: impl SdkRequest<T, E> + 'a,
    ) -> BoxFuture<'a, Result<T, BucketError>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let (operation, limit) = match self.inner.role {
            ClientRole::Bucket => (BucketOperation::Read, REQUEST_TIMEOUT),
            ClientRole::Replica => (BucketOperation::ReplicaRead, REPLICA_TIMEOUT),
        };
        Box::pin(self.send(operation, limit, request))
    }

    /// Sends a request that writes, unless the circuit for writes is open.
    pub fn write<'a, T, E>(
        &'a self,
        request_timeout: Duration,
        request: impl SdkRequest<T, E> + 'a,
    ) -> BoxFuture<'a, Result<T, BucketError>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        Box::pin(self.send(BucketOperation::Write, request_timeout, request))
    }

    /// Counts a body that ended early as a failed read.
    pub fn record_broken_body(&self, error: &BucketError) {
        let operation = BucketOperation::Read;
        self.record_outcome(operation, &Err::<(), _>(error.clone()));
    }

    /// Returns the error that opened a circuit, as long as one is open.
    pub fn last_error(&self) -> Option<String> {
        self.inner
            .read_circuit
            .last_error()
            .or_else(|| self.inner.write_circuit.last_error())
    }

    /// Whether requests of this kind fail, and none has succeeded since.
    pub fn is_failing(&self, operation: BucketOperation) -> bool {
        self.circuit(operation).last_error().is_some()
    }

    /// Counts of the requests up to now.
    pub fn counts(&self) -> &Arc<BucketCounts> {
        &self.inner.counts
    }

    fn circuit(&self, operation: BucketOperation) -> &BucketCircuit {
        match operation {
            BucketOperation::Read | BucketOperation::ReplicaRead => &self.inner.read_circuit,
            BucketOperation::Write => &self.inner.write_circuit,
        }
    }

    /// Returns the time until the circuit for writes lets a request through.
    pub fn write_cooldown(&self) -> Duration {
        self.inner.write_circuit.cooldown_remaining(Instant::now())
    }

    async fn send<T, E>(
        &self,
        operation: BucketOperation,
        request_timeout: Duration,
        request: impl SdkRequest<T, E>,
    ) -> Result<T, BucketError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let counts = self.inner.counts.at(operation);
        let acquired = self.circuit(operation).try_acquire(Instant::now());
        acquired.inspect_err(|_| counts.at(BucketResult::Paused).increment())?;
        let outcome = match timeout(request_timeout, request).await {
            Ok(outcome) => outcome.map_err(BucketError::from),
            Err(_) => Err(BucketError::Unavailable(format!(
                "no answer within {}",
                humantime::format_duration(request_timeout)
            ))),
        };
        let result = match &outcome {
            Ok(_) => BucketResult::Success,
            Err(BucketError::NotFound) => BucketResult::NotFound,
            Err(_) => BucketResult::Failed,
        };
        counts.at(result).increment();
        self.record_outcome(operation, &outcome);
        outcome
    }

    fn record_outcome<T>(&self, operation: BucketOperation, outcome: &Result<T, BucketError>) {
        let circuit = self.circuit(operation);
        if self.inner.role == ClientRole::Replica {
            if let Some(transition) = circuit.record(outcome, Instant::now()) {
                self.report_replica(transition);
            }
            return;
        }
        if let Err(error) = outcome
            && error.is_bucket_wide()
        {
            self.inner.events.emit(Event::BucketFailed {
                detail: error.to_string(),
            });
        }
        match circuit.record(outcome, Instant::now()) {
            Some(Transition::Opened(why)) => {
                tracing::warn!(
                    why,
                    "bucket failed; serving from disk and fetching misses from upstream"
                );
            }
            Some(Transition::Closed) => {
                tracing::info!("bucket recovered");
                if self.last_error().is_none() {
                    self.inner.events.emit(Event::BucketRecovered);
                }
            }
            None => {}
        }
    }

    /// Reports once that a replica failed, and once that it works again. No response fails for it.
    fn report_replica(&self, transition: Transition) {
        let replica = self.inner.config.endpoint.clone();
        let event = match transition {
            Transition::Opened(detail) => {
                tracing::warn!(replica, detail, "replica failed, reading from the bucket");
                Event::ReplicaFailed { replica, detail }
            }
            Transition::Closed => {
                tracing::info!(replica, "replica recovered");
                Event::ReplicaRecovered { replica }
            }
        };
        self.inner.events.emit(event);
    }
}
