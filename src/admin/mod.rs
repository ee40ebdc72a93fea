//! Operator service: pins, imports, removals, refreshes, evictions, and what jobs have stored, with
//! the tokens that authorize them.
//!
//! This module knows no HTTP server, and is not part of the request path. Its main type is
//! [`AdminService`].

mod catalog;
mod error;
mod import;
mod lists;
mod service;
mod storage_error;
mod target_work;
mod tier_work;
mod token;
mod wrong_tokens;

pub use catalog::CatalogAdmin;
pub use error::AdminError;
pub use import::{ImportUpload, KindCheck};
pub use lists::{FullList, ListStart};
pub use service::{AdminService, AdminServices};
pub use target_work::{EnsuredTarget, EvictedTarget};
pub use tier_work::TierCopier;
pub use token::{ListReader, Operator, Permission, Tokens, check_tokens};

pub use crate::cache::{CopyReport, Tier, TierPart};
