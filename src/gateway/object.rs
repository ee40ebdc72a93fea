//! Stored bytes by their digest, whatever targets gave them.

use super::answer::{Answer, CacheStatus, Content, Representation, Source};
use super::{Conditions, Gateway, Problem, select};
use crate::model::{KeptHeaders, RangeSpec, Sha256};

#[derive(Debug)]
pub struct ObjectAsk {
    pub sha256: Sha256,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
}

impl Gateway {
    /// Answers a request for an object. There is nothing to be fetched: a digest names no origin.
    pub async fn answer_object(&self, ask: ObjectAsk) -> Answer {
        let object = match self.cache.admin().open_object(ask.sha256).await {
            Ok(Some(object)) => object,
            Ok(None) => return Answer::Problem(Problem::Unknown("no object of this digest is held")),
            Err(error) => {
                tracing::warn!(%error, "an object could not be opened");
                return Answer::Problem(Problem::Unavailable);
            }
        };
        let representation = Representation {
            length: Some(object.size_bytes),
            sha256: Some(object.sha256),
            headers: KeptHeaders::default(),
        };
        let selection = select::select(&ask.conditions, ask.range, &representation);
        let source = Source::Object(object);
        Answer::Content(Box::new(Content { representation, selection, source, status: CacheStatus::Hit }))
    }
}
