//! The query of a request to the API.

use percent_encoding::percent_decode_str;

use crate::gateway::RequestError;
use crate::model::{Key, Sha256, Target};

/// The parameters of a query, each of which has to be taken.
pub struct Query<'a> {
    rest: Vec<(&'a str, String)>,
}

impl<'a> Query<'a> {
    /// Reads `name=value&name=value`, percent-encoded. A plus sign is one: URLs hold them.
    ///
    /// # Errors
    /// [`Problem::BadRequest`] for what is no text, or comes twice.
    pub fn parse(text: &'a str) -> Result<Self, RequestError> {
        let mut rest: Vec<(&str, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value =
                value.map_err(|_| RequestError::BadRequest(format!("{name} is no text")))?;
            if rest.iter().any(|(other, _)| *other == name) {
                return Err(RequestError::BadRequest(format!("{name} comes twice")));
            }
            rest.push((name, value.into_owned()));
        }
        Ok(Self { rest })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.rest.iter().position(|(other, _)| *other == name)?;
        Some(self.rest.swap_remove(at).1)
    }

    /// `url`, which must be there.
    pub fn target(&mut self) -> Result<Target, RequestError> {
        let url = self.take("url").ok_or_else(|| {
            RequestError::BadRequest("say ?url=<a URL, percent-encoded>".to_owned())
        })?;
        Target::parse(&url).map_err(|error| RequestError::BadRequest(format!("url: {error}")))
    }

    pub fn sha256(&mut self) -> Result<Option<Sha256>, RequestError> {
        let parse = |hex: String| {
            hex.parse()
                .map_err(|error| RequestError::BadRequest(format!("sha256: {error}")))
        };
        self.take("sha256").map(parse).transpose()
    }

    /// `accept`, true or false; false where it is not said.
    pub fn accept(&mut self) -> Result<bool, RequestError> {
        let Some(text) = self.take("accept") else {
            return Ok(false);
        };
        text.parse()
            .map_err(|_| RequestError::BadRequest("accept must be true or false".to_owned()))
    }

    pub fn after(&mut self) -> Result<Option<Key>, RequestError> {
        let parse = |hex: String| {
            hex.parse()
                .map_err(|_| RequestError::BadRequest("after must be a key".to_owned()))
        };
        self.take("after").map(parse).transpose()
    }

    /// `limit`, or the most that there may be.
    pub fn limit(&mut self, most: usize) -> Result<usize, RequestError> {
        let Some(text) = self.take("limit") else {
            return Ok(most);
        };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| {
            RequestError::BadRequest(format!("limit must be a number from 1 to {most}"))
        })
    }

    /// # Errors
    /// [`Problem::BadRequest`] names what nobody has taken: it may have been meant to matter.
    pub fn finish(self) -> Result<(), RequestError> {
        match self.rest.first() {
            None => Ok(()),
            Some((name, _)) => Err(RequestError::BadRequest(format!(
                "{name} is no parameter of this"
            ))),
        }
    }
}
