//! Requests for files at a gateway, and the digests that their bytes must have.
//!
//! The main type is [`GatewayRequest`].

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::answer_head::{AnswerHead, CarriedPart, Route};
use super::api_client::{ApiClient, failure_of};
use super::failure::Failure;
use crate::cli::exit::FailureCode;
use crate::metalink::Metalink;
use crate::model::{Algorithm, Digests, Sha256, WantedFile};

/// Part of a file that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedPart<'a> {
    /// All bytes. The gateway never redirects a range request to the origin, even one for all.
    Whole,
    LastByte,
    /// All bytes, without a range. A client that follows redirects may be sent to the origin.
    NoRange,
    /// The bytes from `first` on, or the whole file if it has another entity tag.
    Rest {
        first: u64,
        etag: &'a str,
    },
}

/// Requests for one file.
#[derive(Clone, Copy)]
pub struct GatewayRequest<'a> {
    pub api: &'a ApiClient,
    pub file: &'a WantedFile,
    /// Additional header fields.
    pub headers: &'a HeaderMap,
}

impl GatewayRequest<'_> {
    /// Sends the request. A 416 is returned as a response for an empty file, and for the rest of a
    /// file.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn send(&self, part: RequestedPart<'_>) -> Result<Response, Failure> {
        let mut headers = self.headers.clone();
        let range = match part {
            RequestedPart::Whole => Some("bytes=0-".to_owned()),
            RequestedPart::LastByte => Some("bytes=-1".to_owned()),
            RequestedPart::NoRange => None,
            RequestedPart::Rest { first, etag } => {
                headers.insert(IF_RANGE, text_value(etag)?);
                Some(format!("bytes={first}-"))
            }
        };
        if let Some(range) = range {
            headers.insert(RANGE, text_value(&range)?);
        }
        self.add_expected(&mut headers)?;
        let response = self.api.get(self.file.url.as_str(), headers).await?;
        let is_rest = matches!(part, RequestedPart::Rest { .. });
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::RANGE_NOT_SATISFIABLE if is_rest => Ok(response),
            StatusCode::RANGE_NOT_SATISFIABLE
                if CarriedPart::of(&response) == (CarriedPart::Nothing { size_bytes: 0 }) =>
            {
                Ok(response)
            }
            _ => Err(failure_of(response).await),
        }
    }

    /// Has the gateway fetch the file for an operator, who must have a token.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn refresh(&self) -> Result<Value, Failure> {
        let mut headers = HeaderMap::new();
        self.add_expected(&mut headers)?;
        let parameters = [("url", self.file.url.as_str())];
        self.api.post("refresh", &parameters, headers).await
    }

    /// Adds the digests that the file must have.
    fn add_expected(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        for digest in self.file.expected.iter() {
            let name = format!("x-expected-{}", digest.algorithm().as_str());
            let name: HeaderName = name.parse().expect("algorithms have short names");
            headers.insert(name, text_value(&digest.hex())?);
        }
        Ok(())
    }

    /// Compares the digests of the received bytes with the expected ones, or else with those that
    /// the response or the active record states.
    ///
    /// # Errors
    /// [`Failure`] with both digests if the bytes are others.
    pub async fn check(&self, found: &Digests, head: &AnswerHead) -> Result<(), Failure> {
        self.check_expected(found)?;
        if !self.file.expected.is_empty() {
            return Ok(());
        }
        let known = match head.repr_sha256 {
            Some(sha256) => Some(sha256),
            None => self.recorded_answer(head).await?,
        };
        match known {
            Some(known) if known != found.sha256 => {
                Err(mismatch(&format!("sha256:{known}"), found.sha256))
            }
            _ => Ok(()),
        }
    }

    /// Compares the digests of the received bytes with the expected ones.
    ///
    /// # Errors
    /// [`Failure`] with both digests if the bytes are others.
    pub fn check_expected(&self, found: &Digests) -> Result<(), Failure> {
        match found.first_mismatch(&self.file.expected) {
            Some(digest) => Err(mismatch(&digest.to_string(), found.sha256)),
            None => Ok(()),
        }
    }

    /// Returns the sources and pieces of the file, if the gateway has the bytes that the file must
    /// have, and their pieces. A file whose bytes may change has none, unless they are stated.
    ///
    /// # Errors
    /// [`Failure`] if the gateway does not answer.
    pub async fn metalink(&self) -> Result<Option<Metalink>, Failure> {
        let sha256 = if let Some(sha256) = self.stated_sha256() {
            Some(sha256)
        } else {
            let history = self.history().await?;
            let fixed = history.filter(|history| history["class"] == "immutable");
            fixed.as_ref().and_then(recorded_sha256)
        };
        match sha256 {
            Some(sha256) => self.api.metalink(sha256).await,
            None => Ok(None),
        }
    }

    /// Returns the SHA-256 that the whole file must have, if it is known.
    ///
    /// # Errors
    /// [`Failure`] if the gateway does not answer.
    pub async fn known_sha256(&self) -> Result<Option<Sha256>, Failure> {
        match self.stated_sha256() {
            Some(sha256) => Ok(Some(sha256)),
            None => self.recorded_sha256().await,
        }
    }

    fn stated_sha256(&self) -> Option<Sha256> {
        let stated = self.file.expected.iter();
        stated
            .filter(|digest| digest.algorithm() == Algorithm::Sha256)
            .find_map(|digest| digest.hex().parse().ok())
    }

    async fn recorded_sha256(&self) -> Result<Option<Sha256>, Failure> {
        Ok(self.history().await?.as_ref().and_then(recorded_sha256))
    }

    /// Returns the SHA-256 of the active record, if the response must have its bytes. A response of
    /// the origin may have others, and any entity tag.
    async fn recorded_answer(&self, head: &AnswerHead) -> Result<Option<Sha256>, Failure> {
        let Some(history) = self.history().await? else {
            return Ok(None);
        };
        let is_answer = |recorded: &Sha256| match head.route {
            Route::PastCache => false,
            Route::Cache => history["class"] == "immutable" || head.etag == Some(recorded.etag()),
        };
        Ok(recorded_sha256(&history).filter(is_answer))
    }

    /// Returns what the gateway has on record of the file, or `None` if it has nothing.
    ///
    /// # Errors
    /// [`Failure`] if the gateway does not answer.
    pub async fn history(&self) -> Result<Option<Value>, Failure> {
        let parameters = [("url", self.file.url.as_str())];
        match self.api.call(Method::GET, "targets", &parameters).await {
            Ok(history) => Ok(Some(history)),
            Err(failure) if failure.code == FailureCode::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// Returns the record whose bytes are the answer for a target.
pub fn active_record(history: &Value) -> Option<&Value> {
    let mut records = history["records"].as_array()?.iter();
    records.find(|record| record["active"] == true)
}

/// Returns the SHA-256 of the active record.
fn recorded_sha256(history: &Value) -> Option<Sha256> {
    active_record(history)?["sha256"].as_str()?.parse().ok()
}

fn mismatch(expected: &str, found: Sha256) -> Failure {
    Failure::new(
        FailureCode::Corrupt,
        format!("digest mismatch: expected {expected}, received sha256:{found}"),
    )
}

fn text_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::failed("the gateway sent an entity tag that cannot be repeated"))
}
