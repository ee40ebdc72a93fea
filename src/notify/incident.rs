//! Incidents as listed by the API, and notifications about them.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::model::Cause;

/// Failures of one cause at one host, or at this instance itself.
#[derive(Debug, Clone, Serialize)]
pub struct Incident {
    /// 16 hexadecimal digits.
    pub id: String,
    #[serde(serialize_with = "as_cause_name")]
    pub cause: Cause,
    pub severity: Severity,
    /// `None` if this instance itself fails.
    pub host: Option<String>,
    pub state: IncidentState,
    /// Number of failures.
    pub count: u64,
    #[serde(serialize_with = "as_date")]
    pub first_seen: SystemTime,
    #[serde(serialize_with = "as_date")]
    pub last_seen: SystemTime,
    /// Time of the last alert.
    #[serde(serialize_with = "as_date_if_any")]
    pub alerted: Option<SystemTime>,
    #[serde(serialize_with = "as_date_if_any")]
    pub ended: Option<SystemTime>,
    /// Some of the targets, without secrets, newest last.
    pub targets: Vec<String>,
    /// Error text of the newest failure.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Listed only.
    Notice,
    /// Listed, and sent through all notification channels.
    Alert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    Open,
    /// The failure is over.
    Recovered,
    /// There was no event for so long that the outcome is unknown.
    Expired,
}

/// Notification for an operator.
#[derive(Debug, Clone)]
pub struct Notification {
    pub kind: NotificationKind,
    /// State of the incident when the notification was created.
    pub incident: Incident,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationKind {
    Alert,
    Recovery,
}

impl Notification {
    /// Returns the time of the alert or of the recovery.
    pub fn time(&self) -> SystemTime {
        let Incident {
            alerted,
            ended,
            last_seen,
            ..
        } = self.incident;
        let time = match self.kind {
            NotificationKind::Alert => alerted,
            NotificationKind::Recovery => ended,
        };
        time.unwrap_or(last_seen)
    }
}

impl Severity {
    /// Returns the severity of a cause. A mistake in a client's request is only listed.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        match cause {
            Cause::NotFound | Cause::UnknownHost | Cause::ClientDigest => Self::Notice,
            Cause::RemovedUpstream
            | Cause::UpstreamError
            | Cause::Unreachable
            | Cause::Timeout
            | Cause::InvalidResponse
            | Cause::WrongFileType
            | Cause::ChecksumMismatch
            | Cause::ContentChanged
            | Cause::NoSpace
            | Cause::StoreFailed
            | Cause::Corruption
            | Cause::Bucket
            | Cause::Disk => Self::Alert,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Alert => "alert",
        }
    }
}

impl NotificationKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Recovery => "recovery",
        }
    }
}

impl Incident {
    /// Returns a one-line summary for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let failure = match self.cause {
            Cause::NotFound => "does not have the requested file",
            Cause::RemovedUpstream => "no longer has a file that was stored before",
            Cause::UpstreamError => "returns an error",
            Cause::UnknownHost => "has no address",
            Cause::Unreachable => "is unreachable or closes the connection early",
            Cause::Timeout => "is too slow",
            Cause::InvalidResponse => "sends invalid responses",
            Cause::WrongFileType => "sends a file of the wrong type",
            Cause::ChecksumMismatch => "sends bytes that do not match the expected digest",
            Cause::ClientDigest => "does not send the bytes that a client expects",
            Cause::ContentChanged => "sends other bytes than before",
            Cause::NoSpace => "no space to store fetched files",
            Cause::StoreFailed => "fetched files cannot be stored",
            Cause::Corruption => "stored objects are corrupt",
            Cause::Bucket => "the bucket is failing",
            Cause::Disk => "the cache disk is failing",
        };
        match &self.host {
            Some(host) => format!("{host} {failure}"),
            None => failure.to_owned(),
        }
    }
}

/// Returns the time since `then`, or zero if the clock was set back. Waits then take longer.
pub fn elapsed(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// Formats a time as RFC 3339, in UTC.
pub fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn as_cause_name<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cause.as_str())
}

fn as_date<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date(*time))
}

#[expect(clippy::ref_option, reason = "serde passes references")]
fn as_date_if_any<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(date).serialize(serializer)
}
