//! The query parameters of a request to the API.
//!
//! The main type is [`Query`].

use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;
use serde::de::value::{Error as ChoiceError, StringDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

use super::list_filter::ListFilter;
use super::list_order::{ListPart, Place};
use super::values::ClassName;
use crate::gateway::RequestError;
use crate::model::{Sha256, Target};

/// Largest number of a parameter: that of `int64` in OpenAPI.
const MAX_NUMBER: u64 = i64::MAX.cast_unsigned();

/// Largest age in a filter: a hundred years.
const MAX_AGE_SECONDS: u64 = 3_155_760_000;

/// Filters, order and part of a list of targets.
#[derive(Debug, Clone)]
pub struct ListQuery {
    pub filter: ListFilter,
    pub part: ListPart,
}

/// Characters of an unknown name or value that an error repeats.
const MAX_SHOWN_CHARS: usize = 64;

/// Returns the beginning of a name, for an error.
fn beginning(name: &str) -> &str {
    let end = name.char_indices().nth(MAX_SHOWN_CHARS);
    &name[..end.map_or(name.len(), |(end, _)| end)]
}

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
            let refuse = |why| RequestError::BadRequest(format!("{} {why}", beginning(name)));
            let value = value.map_err(|_| refuse("is not UTF-8"))?;
            if rest.iter().any(|(other, _)| *other == name) {
                return Err(refuse("occurs twice"));
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

    /// Takes `name`, which is `true` or `false`, if it is there.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it has another value.
    fn flag_if_any(&mut self, name: &'static str) -> Result<Option<bool>, RequestError> {
        let is_there = self.rest.iter().any(|(other, _)| *other == name);
        is_there.then(|| self.flag(name)).transpose()
    }

    /// Takes filters, order and part of a list of targets. Ages are those at `now`, and a page has
    /// at most `max` targets.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if a parameter has no valid value.
    pub fn list(&mut self, max: usize, now: SystemTime) -> Result<ListQuery, RequestError> {
        let sort = self.choice("sort")?;
        let after = self.take("after");
        let after = after.map(|text| Place::parse(&text, sort)).transpose()?;
        let part = ListPart {
            sort,
            after,
            limit: self.limit(max)?,
            total: self.flag("total")?,
        };
        let class: Option<ClassName> = self.choice("class")?;
        let filter = ListFilter {
            host: self.host()?,
            prefix: self.text("prefix")?,
            name: self.text("name")?,
            sha256: self.sha256()?,
            class: class.map(Into::into),
            cached: self.flag_if_any("cached")?,
            pinned: self.flag_if_any("pinned")?,
            seen_before: self.time_before("older_than", now)?,
            seen_since: self.time_before("newer_than", now)?,
        };
        Ok(ListQuery { filter, part })
    }

    /// Whether the parameter `url` is there.
    #[must_use]
    pub fn has_url(&self) -> bool {
        self.rest.iter().any(|(name, _)| *name == "url")
    }

    /// Takes `host`, and returns it in lower case.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is empty.
    pub fn host(&mut self) -> Result<Option<String>, RequestError> {
        let host = self.text("host")?;
        Ok(host.map(|host| host.to_ascii_lowercase()))
    }

    /// Takes `name`, which is a text.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is empty.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, RequestError> {
        match self.take(name) {
            Some(text) if text.is_empty() => {
                Err(RequestError::BadRequest(format!("{name} is empty")))
            }
            text => Ok(text),
        }
    }

    /// Takes `name`, which is one of the names of `T`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] with these names if it is none of them.
    pub fn choice<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, RequestError> {
        let parse = |text: String| {
            // Names are shorter, and the error repeats the text.
            let text = beginning(&text).to_owned();
            let text: StringDeserializer<ChoiceError> = text.into_deserializer();
            T::deserialize(text)
                .map_err(|error| RequestError::BadRequest(format!("{name}: {error}")))
        };
        self.take(name).map(parse).transpose()
    }

    /// Takes `name`, which is a whole number.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is none.
    pub fn number(&mut self, name: &'static str) -> Result<Option<u64>, RequestError> {
        let parse = |text: String| {
            whole_number(&text)
                .filter(|number| *number <= MAX_NUMBER)
                .ok_or_else(|| RequestError::BadRequest(format!("{name} must be a whole number")))
        };
        self.take(name).map(parse).transpose()
    }

    /// Takes `name`, which is an age in seconds, and returns the time so long before `now`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it is no age.
    pub fn time_before(
        &mut self,
        name: &'static str,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, RequestError> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let seconds = whole_number(&text).filter(|seconds| *seconds <= MAX_AGE_SECONDS);
        let time = seconds.and_then(|seconds| now.checked_sub(Duration::from_secs(seconds)));
        let invalid = || {
            RequestError::BadRequest(format!(
                "{name} must be a number of seconds, at most {MAX_AGE_SECONDS}"
            ))
        };
        time.map(Some).ok_or_else(invalid)
    }

    /// Takes `limit`, which is from 1 to `max`. The default is `max`.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if it has another value.
    pub fn limit(&mut self, max: usize) -> Result<usize, RequestError> {
        let Some(text) = self.take("limit") else {
            return Ok(max);
        };
        let limit = whole_number(&text).and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=max).contains(limit));
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
                "{} is no parameter of this request",
                beginning(name)
            ))),
        }
    }
}

/// Parses a number of digits alone.
fn whole_number(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}
