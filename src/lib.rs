//! Millpond: a caching gateway for upstream source tarballs.
//!
//! The rooms, and who may know whom, are described in `ARCHITECTURE.md`. Requests come in through
//! [`http`], go down [`gateway`]'s one path, and what has to be fetched takes [`fetch`]'s.

#![forbid(unsafe_code)]
// They panic where standard output or standard error cannot be written.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod app;
pub mod bucket;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dial;
mod disk;
pub mod dns;
pub mod fetch;
pub mod gateway;
pub mod health;
pub mod http;
pub mod limits;
pub mod logging;
pub mod maintenance;
pub mod migrate;
pub mod model;
pub mod notify;
pub mod origin;
pub mod passthrough;
pub mod policy;
pub mod scrub;
pub mod services;
