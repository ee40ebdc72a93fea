//! Values that several resources show, with their schemas.
//!
//! This file knows no resource.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Record, Sha256, Target};
use crate::policy::Class;

/// SHA-256 of an object, as 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(
    value_type = String,
    example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)]
pub struct ObjectDigest(Sha256);

impl From<Sha256> for ObjectDigest {
    fn from(sha256: Sha256) -> Self {
        Self(sha256)
    }
}

/// Time in UTC, as in RFC 3339.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T10:00:00.000Z")]
pub struct Moment(String);

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Self(humantime::format_rfc3339_millis(time).to_string())
    }
}

/// Cacheability class of a target.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClassName {
    Immutable,
    Revalidate,
    Pass,
}

impl From<Class> for ClassName {
    fn from(class: Class) -> Self {
        match class {
            Class::Immutable => Self::Immutable,
            Class::Revalidate => Self::Revalidate,
            Class::PassThrough => Self::Pass,
        }
    }
}

impl From<ClassName> for Class {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::Immutable => Self::Immutable,
            ClassName::Revalidate => Self::Revalidate,
            ClassName::Pass => Self::PassThrough,
        }
    }
}

/// Returns the URL of a target, without passwords and secret query values.
pub fn redacted_url(target: &Target) -> String {
    target.redacted()
}

/// Returns all known digests of a record, by algorithm.
pub fn digests(record: &Record) -> BTreeMap<String, String> {
    let others = record
        .digests
        .iter()
        .map(|(algorithm, hex)| (algorithm.as_str().to_owned(), hex.clone()));
    others
        .chain([("sha256".to_owned(), record.sha256.to_string())])
        .collect()
}
