//! Shared state of an exchange, with one writer and many readers.
//!
//! The task sets the first answer once. A body that is stored is read through a [`BodyReader`], as
//! that of a fetch. This file must not know how the answer comes about. The main type is
//! [`ExchangeReader`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{oneshot, watch};

use crate::cache::Cache;
use crate::fetch::FetchError;
use crate::fetch::body_reader::BodyReader;
use crate::fetch::fetch_progress::Head;
use crate::fetch::shared_body::SharedBody;
use crate::freshness::Observation;
use crate::limits::PoolClient;
use crate::model::ExpectedDigests;
use crate::origin::ReceivedResponse;

/// First answer of an exchange, as all its readers see it.
#[derive(Debug, Clone)]
pub(super) enum SharedAnswer {
    Awaited,
    Current(Arc<Observation>),
    /// As `Current`, but only the request that started the exchange may have the head.
    CurrentForFirst(Arc<Observation>),
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

/// Writer side of an exchange.
pub struct Exchange {
    answer: watch::Sender<SharedAnswer>,
    pub(super) body: SharedBody,
    /// Whether the target has changed since the request was sent.
    is_superseded: AtomicBool,
}

impl Exchange {
    pub(super) fn new(cache: Cache, beginner: PoolClient) -> Self {
        Self {
            answer: watch::Sender::new(SharedAnswer::Awaited),
            body: SharedBody::new(cache, beginner),
            is_superseded: AtomicBool::new(false),
        }
    }

    pub(super) fn supersede(&self) {
        self.is_superseded.store(true, Ordering::Release);
    }

    /// Whether the target has changed since the request was sent. Then the response may be older
    /// than the change, so that it must be validated before it answers again.
    pub(super) fn is_superseded(&self) -> bool {
        self.is_superseded.load(Ordering::Acquire)
    }

    pub(super) fn first_reader(
        &self,
        client: PoolClient,
        response: oneshot::Receiver<ReceivedResponse>,
    ) -> ExchangeReader {
        ExchangeReader {
            answer: self.answer.subscribe(),
            body: self.body.first_reader(client, ExpectedDigests::nothing()),
            response: Some(response),
        }
    }

    /// # Errors
    /// [`FetchError::NoSpace`] if the disk has failed, because the body is no longer complete.
    pub(super) fn join(&self, client: PoolClient) -> Result<ExchangeReader, FetchError> {
        Ok(ExchangeReader {
            answer: self.answer.subscribe(),
            body: self.body.join(client, ExpectedDigests::nothing())?,
            response: None,
        })
    }

    /// Returns the reader of an exchange that has ended.
    pub(super) fn ended_reader(cache: Cache, observation: Arc<Observation>) -> ExchangeReader {
        let client = PoolClient::Own;
        let exchange = Self::new(cache, client);
        exchange.set_answer(SharedAnswer::Current(observation));
        ExchangeReader {
            answer: exchange.answer.subscribe(),
            body: exchange
                .body
                .first_reader(client, ExpectedDigests::nothing()),
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
            SharedAnswer::CurrentForFirst(observation) => Ok(match self.response.take() {
                Some(_) => FirstAnswer::Current(observation),
                None => FirstAnswer::SendAlone,
            }),
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
