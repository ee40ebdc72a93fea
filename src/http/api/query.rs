//! The query parameters of a request to the API.
//!
//! The main type is [`Query`].

use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;

use super::list_filter::ListFilter;
use crate::gateway::RequestError;
use crate::model::{Key, Sha256, Target};
use crate::policy::Class;

/// Query parameters. Each call takes one parameter, and [`Query::finish`] rejects the rest.
pub struct Query<'a> {
    rest: Vec<(&'a str, String)>,
}

impl<'a> Query<'a> {
    /// Parses `name=value&name=value`, percent-encoded. A plus sign is no space, since URLs contain
    /// plus signs.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if a value is not UTF-8 or a name occurs twice.
    pub fn parse(text: &'a str) -> Result<Self, RequestError> {
        let mut rest: Vec<(&str, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value =
                value.map_err(|_| RequestError::BadRequest(format!("{name} is not UTF-8")))?;
            if rest.iter().any(|(other, _)| *other == name) {
                return Err(RequestError::BadRequest(format!("{name} occurs twice")));
            }
            rest.push((name, value.into_owned()));
        }
        Ok(Self { rest })
    }

    /// Removes and returns the value of a parameter.
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.rest.iter().position(|(other, _)| *other == name)?;
        Some(self.rest.swap_remove(at).1)
    }

    /// Takes a parameter without a form of its own.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.take(name)
    }

    /// Takes the required parameter `url`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is missing or no valid target.
    pub fn target(&mut self) -> Result<Target, RequestError> {
        let url = self.take("url").ok_or_else(|| {
            RequestError::BadRequest("add ?url=<a URL, percent-encoded>".to_owned())
        })?;
        Target::parse(&url).map_err(|error| RequestError::BadRequest(format!("url: {error}")))
    }

    /// Takes `sha256`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is no digest.
    pub fn sha256(&mut self) -> Result<Option<Sha256>, RequestError> {
        let parse = |hex: String| {
            hex.parse()
                .map_err(|error| RequestError::BadRequest(format!("sha256: {error}")))
        };
        self.take("sha256").map(parse).transpose()
    }

    /// Takes `name`, which is `true` or `false`. The default is `false`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it has another value.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, RequestError> {
        self.flag_or(name, false)
    }

    /// Takes `name`, which is `true` or `false`. Returns `default` if it is missing.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it has another value.
    pub fn flag_or(&mut self, name: &'static str, default: bool) -> Result<bool, RequestError> {
        let Some(text) = self.take(name) else {
            return Ok(default);
        };
        text.parse()
            .map_err(|_| RequestError::BadRequest(format!("{name} must be true or false")))
    }

    /// Takes the filters of a list: `host`, `prefix`, `class`, and `older_than` and `newer_than`,
    /// both in seconds before `now`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if one has no valid value.
    pub fn filter(&mut self, now: SystemTime) -> Result<ListFilter, RequestError> {
        let class = match self.take("class").as_deref() {
            None => None,
            Some("immutable") => Some(Class::Immutable),
            Some("revalidate") => Some(Class::Revalidate),
            Some("pass") => Some(Class::PassThrough),
            Some(_) => {
                return Err(RequestError::BadRequest(
                    "class must be immutable, revalidate or pass".to_owned(),
                ));
            }
        };
        Ok(ListFilter {
            host: self.take("host").map(|host| host.to_ascii_lowercase()),
            prefix: self.take("prefix"),
            class,
            seen_before: self.time_before("older_than", now)?,
            seen_since: self.time_before("newer_than", now)?,
        })
    }

    fn time_before(
        &mut self,
        name: &'static str,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, RequestError> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let seconds = text.parse().ok().map(Duration::from_secs);
        let time = seconds.and_then(|seconds| now.checked_sub(seconds));
        let invalid = || RequestError::BadRequest(format!("{name} must be a number of seconds"));
        time.map(Some).ok_or_else(invalid)
    }

    /// Takes `after`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is no key.
    pub fn after(&mut self) -> Result<Option<Key>, RequestError> {
        let parse = |hex: String| {
            hex.parse()
                .map_err(|_| RequestError::BadRequest("after must be a key".to_owned()))
        };
        self.take("after").map(parse).transpose()
    }

    /// Takes `limit`, which is from 1 to `max`. The default is `max`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it has another value.
    pub fn limit(&mut self, max: usize) -> Result<usize, RequestError> {
        let Some(text) = self.take("limit") else {
            return Ok(max);
        };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| {
            RequestError::BadRequest(format!("limit must be a number from 1 to {max}"))
        })
    }

    /// Ends the parsing. An unknown parameter is an error, since the client expects an effect.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] names a parameter that was not taken.
    pub fn finish(self) -> Result<(), RequestError> {
        match self.rest.first() {
            None => Ok(()),
            Some((name, _)) => Err(RequestError::BadRequest(format!(
                "{name} is no parameter of this request"
            ))),
        }
    }
}
