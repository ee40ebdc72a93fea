//! Shared state of an exchange, with one writer and many readers.
//!
//! The task sets the first answer once. A body that is stored is read through a [`BodyReader`], as
//! that of a fetch. This file must not know how the answer comes about. The main types are
//! [`ExchangeReader`] and [`ExchangeMap`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::request::ExchangeKey;
use crate::fetch::FetchError;
use crate::fetch::shared_body::{BodyReader, Head, SharedBody};
use crate::freshness::Observation;
use crate::model::ExpectedDigests;
use crate::origin::ReceivedResponse;

/// Bound on the remembered requests whose responses could not be shared.
const MAX_UNSHAREABLE: u64 = 10_000;

/// How long requests are sent one by one after a response that could not be shared.
const UNSHAREABLE_TTL: Duration = Duration::from_mins(1);

/// Bound on the remembered results of exchanges.
const MAX_RECENT: u64 = 1000;

/// How long the result of an exchange is remembered. A request that arrived before may still look
/// for the exchange.
const RECENT_TTL: Duration = Duration::from_secs(10);

/// Exchanges that requests can join.
pub struct ExchangeMap {
    by_key: HashMap<ExchangeKey, Arc<Exchange>>,
    recent: moka::sync::Cache<ExchangeKey, (Instant, Arc<Observation>)>,
    unshareable: moka::sync::Cache<ExchangeKey, ()>,
}

impl ExchangeMap {
    pub fn new() -> Self {
        Self {
            by_key: HashMap::new(),
            recent: moka::sync::Cache::builder()
                .max_capacity(MAX_RECENT)
                .time_to_live(RECENT_TTL)
                .build(),
            unshareable: moka::sync::Cache::builder()
                .max_capacity(MAX_UNSHAREABLE)
                .time_to_live(UNSHAREABLE_TTL)
                .build(),
        }
    }

    pub(super) fn get(&self, key: &ExchangeKey) -> Option<&Arc<Exchange>> {
        self.by_key.get(key)
    }

    pub(super) fn insert(&mut self, key: ExchangeKey, exchange: Arc<Exchange>) {
        self.by_key.insert(key, exchange);
    }

    /// Removes an exchange, unless another one has its key.
    pub(super) fn remove(&mut self, key: &ExchangeKey, exchange: &Arc<Exchange>) {
        if self
            .by_key
            .get(key)
            .is_some_and(|own| Arc::ptr_eq(own, exchange))
        {
            self.by_key.remove(key);
        }
    }

    /// Remembers the result of an exchange. It is current for requests that arrived before.
    pub(super) fn remember_current(&self, key: &ExchangeKey, observation: &Arc<Observation>) {
        let result = (Instant::now(), Arc::clone(observation));
        self.recent.insert(key.clone(), result);
    }

    /// Returns the result of an exchange that ended after the request arrived.
    pub(super) fn current(
        &self,
        key: &ExchangeKey,
        arrived_at: Instant,
    ) -> Option<Arc<Observation>> {
        let (ended_at, observation) = self.recent.get(key)?;
        (ended_at >= arrived_at).then_some(observation)
    }

    pub(super) fn was_unshareable(&self, key: &ExchangeKey) -> bool {
        self.unshareable.contains_key(key)
    }

    pub(super) fn remember_unshareable(&self, key: &ExchangeKey) {
        self.unshareable.insert(key.clone(), ());
    }
}

/// First answer of an exchange, as all its readers see it.
#[derive(Debug, Clone)]
pub(super) enum SharedAnswer {
    Awaited,
    Current(Arc<Observation>),
    Streaming(StreamingResponse),
    Unshareable,
    Failed(FetchError),
}

/// Response that is being stored.
#[derive(Debug, Clone)]
pub struct StreamingResponse {
    /// Head of the response. Its digest and length are not set yet.
    pub observation: Arc<Observation>,
    pub head: Arc<Head>,
}

/// First answer of an exchange, as one reader gets it.
#[derive(Debug)]
pub enum FirstAnswer {
    /// This stored response is valid now. Its body may be another than that of the stored response
    /// that the request had.
    Current(Arc<Observation>),
    /// Another response is being stored. The reader of the exchange reads its body.
    Streaming(StreamingResponse),
    /// The response is for this request only.
    PassOn(Box<ReceivedResponse>),
    /// The response was for another request only. This one must be sent by itself.
    SendAlone,
}

pub(super) struct Exchange {
    answer: watch::Sender<SharedAnswer>,
    pub(super) body: SharedBody,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            answer: watch::Sender::new(SharedAnswer::Awaited),
            body: SharedBody::new(),
        }
    }

    pub(super) fn first_reader(
        &self,
        response: oneshot::Receiver<ReceivedResponse>,
    ) -> ExchangeReader {
        ExchangeReader {
            answer: self.answer.subscribe(),
            body: self.body.first_reader(ExpectedDigests::nothing()),
            response: Some(response),
        }
    }

    /// # Errors
    /// [`FetchError::NoSpace`] if the disk has failed, because the body is no longer complete.
    pub(super) fn join(&self) -> Result<ExchangeReader, FetchError> {
        Ok(ExchangeReader {
            answer: self.answer.subscribe(),
            body: self.body.join(ExpectedDigests::nothing())?,
            response: None,
        })
    }

    /// Returns the reader of an exchange that has ended.
    pub(super) fn ended_reader(observation: Arc<Observation>) -> ExchangeReader {
        let exchange = Self::new();
        exchange.set_answer(SharedAnswer::Current(observation));
        ExchangeReader {
            answer: exchange.answer.subscribe(),
            body: exchange.body.first_reader(ExpectedDigests::nothing()),
            response: None,
        }
    }

    /// Sets the answer, unless it is set.
    pub(super) fn set_answer(&self, answer: SharedAnswer) {
        self.answer.send_if_modified(|current| {
            let is_awaited = matches!(current, SharedAnswer::Awaited);
            if is_awaited {
                *current = answer;
            }
            is_awaited
        });
    }
}

/// Reader of an exchange, for one request.
#[derive(Debug)]
pub struct ExchangeReader {
    answer: watch::Receiver<SharedAnswer>,
    body: BodyReader,
    /// Only the request that started the exchange gets a response that is not shared.
    response: Option<oneshot::Receiver<ReceivedResponse>>,
}

impl ExchangeReader {
    /// Whether another request started the exchange.
    #[must_use]
    pub fn is_collapsed(&self) -> bool {
        self.body.is_collapsed()
    }

    /// Waits for the head of the response.
    ///
    /// # Errors
    /// The error of the exchange: the origin is away, or the request failed otherwise.
    pub async fn first_answer(&mut self) -> Result<FirstAnswer, FetchError> {
        let is_set = |answer: &SharedAnswer| !matches!(answer, SharedAnswer::Awaited);
        let answer = match self.answer.wait_for(is_set).await {
            Ok(answer) => answer.clone(),
            // The task panicked.
            Err(_) => return Err(FetchError::StoreFailed),
        };
        match answer {
            SharedAnswer::Current(observation) => Ok(FirstAnswer::Current(observation)),
            SharedAnswer::Streaming(response) => {
                self.body.first_result().await?;
                Ok(FirstAnswer::Streaming(response))
            }
            SharedAnswer::Unshareable => match self.response.take() {
                Some(response) => match response.await {
                    Ok(response) => Ok(FirstAnswer::PassOn(Box::new(response))),
                    Err(_) => Ok(FirstAnswer::SendAlone),
                },
                None => Ok(FirstAnswer::SendAlone),
            },
            SharedAnswer::Failed(error) => Err(error),
            SharedAnswer::Awaited => Err(FetchError::StoreFailed),
        }
    }

    /// Returns the reader of the body.
    #[must_use]
    pub fn into_body(self) -> BodyReader {
        self.body
    }
}
