//! Operator service: pins, imports, removals and refreshes, and the tokens that authorize them.
//!
//! This module knows no HTTP server, and is not part of the request path. Its main type is
//! [`AdminService`].

mod error;
mod import;
mod overview;
mod service;
mod storage_error;
mod token;
mod wrong_tokens;

pub use error::AdminError;
pub use import::{ImportUpload, KindCheck};
pub use service::AdminService;
pub use token::{ListReader, Operator, Permission, Tokens, check_tokens};
