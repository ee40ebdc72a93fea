//! What is told and listed of an incident.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::model::Cause;

/// Trouble of one kind with one host, or with this instance's disk.
#[derive(Debug, Clone, Serialize)]
pub struct Incident {
    pub id: String,
    #[serde(serialize_with = "as_word")]
    pub cause: Cause,
    pub severity: Severity,
    /// None where the trouble is this instance's own.
    pub host: Option<String>,
    pub state: State,
    /// How many fetches have come to it.
    pub count: u64,
    #[serde(serialize_with = "as_date")]
    pub first_seen: SystemTime,
    #[serde(serialize_with = "as_date")]
    pub last_seen: SystemTime,
    /// When the operator was told last.
    #[serde(serialize_with = "as_date_if_any")]
    pub alerted: Option<SystemTime>,
    #[serde(serialize_with = "as_date_if_any")]
    pub ended: Option<SystemTime>,
    /// Some of the targets, without secrets, the newest last.
    pub targets: Vec<String>,
    /// What the newest fetch came to.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Listed, and told to nobody.
    Notice,
    /// Told by all posts.
    Alert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Open,
    /// What went wrong goes right again.
    Recovered,
    /// Nothing was heard of it for so long that it is not known.
    Expired,
}

/// What is told to an operator.
#[derive(Debug, Clone)]
pub struct Note {
    pub occasion: Occasion,
    /// As it was at that moment.
    pub incident: Incident,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    Alert,
    Recovery,
}

impl Note {
    /// The moment that it tells of.
    pub fn time(&self) -> SystemTime {
        let Incident { alerted, ended, last_seen, .. } = self.incident;
        let time = match self.occasion {
            Occasion::Alert => alerted,
            Occasion::Recovery => ended,
        };
        time.unwrap_or(last_seen)
    }
}

impl Occasion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Recovery => "recovery",
        }
    }
}

impl Incident {
    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let what = match self.cause {
            Cause::Absent => "does not have what was asked for",
            Cause::Gone => "does not have any more what was kept here once",
            Cause::Status => "answers with an error",
            Cause::Silent => "does not answer, or breaks off",
            Cause::Slow => "is too slow",
            Cause::Wrong => "answers wrongly",
            Cause::Impostor => "sends something else than the name promises",
            Cause::Mismatch => "sends other bytes than a client expects",
            Cause::Changed => "sends other bytes than it did before",
            Cause::NoSpace => "there is no space to store what is fetched",
            Cause::StoreFailed => "what is fetched cannot be stored",
            Cause::Rotten => "what is kept on the disk is not what was stored",
            Cause::Bucket => "the bucket does not do as it is asked",
            Cause::Disk => "the disk of the cache fails",
        };
        match &self.host {
            Some(host) => format!("{host} {what}"),
            None => what.to_owned(),
        }
    }
}

/// The cause's name for machines.
pub fn word_of(cause: Cause) -> &'static str {
    match cause {
        Cause::Absent => "absent",
        Cause::Gone => "gone",
        Cause::Status => "status",
        Cause::Silent => "silent",
        Cause::Slow => "slow",
        Cause::Wrong => "wrong",
        Cause::Impostor => "impostor",
        Cause::Mismatch => "mismatch",
        Cause::Changed => "changed",
        Cause::NoSpace => "no_space",
        Cause::StoreFailed => "store_failed",
        Cause::Rotten => "rotten",
        Cause::Bucket => "bucket",
        Cause::Disk => "disk",
    }
}

/// RFC 3339, in UTC.
pub fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library hands over references")]
fn as_word<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word_of(*cause))
}

fn as_date<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date(*time))
}

#[expect(clippy::ref_option, reason = "the library hands over references")]
fn as_date_if_any<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(date).serialize(serializer)
}
