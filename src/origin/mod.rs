//! Asking the origin.
//!
//! One file a scheme; today that is [`http`]. An origin asks only for what policy has admitted, at every hop, and hands the
//! bytes on untouched. It knows nothing of flights, files or clients. Its main type is [`HttpOrigin`].

mod error;
mod http;
mod response;

pub use error::OriginError;
pub use http::{Config, HttpOrigin, Method, Request, Resume};
pub use response::{Body, Response};
