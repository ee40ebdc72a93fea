//! What operators do: pins, imports, removals and refreshes, and the token that allows them.
//!
//! This module knows no server: [`crate::http`] renders what it returns. It is no part of the
//! request path. Its main type is [`AdminService`].

mod service;
mod token;

pub use service::{AdminService, Upload};
pub use token::{AdminToken, Operator, check_token};
