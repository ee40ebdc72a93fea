//! Millpond: a caching gateway for upstream source archives.
//!
//! `ARCHITECTURE.md` describes the modules and their dependencies. Requests enter through [`http`]
//! and go through [`gateway`], which decides about each of them. [`fetch`] downloads the bytes that
//! the [`cache`] does not have.

#![forbid(unsafe_code)]
// `println!` and `eprintln!` panic if standard output or standard error cannot be written.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod adopt;
pub mod app;
pub mod bucket;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod client_setup;
pub mod cluster;
pub mod config;
pub mod dial;
pub mod dialects;
mod disk;
pub mod dns;
pub mod events;
pub mod fetch;
pub mod freshness;
pub mod gateway;
pub mod health;
pub mod http;
pub mod indexes;
pub mod intercept;
pub mod jobs;
pub mod limits;
pub mod lockfile;
pub mod logging;
pub mod maintenance;
pub mod metalink;
pub mod metrics;
pub mod migrate;
pub mod model;
pub mod notify;
pub mod origin;
pub mod passthrough;
pub mod policy;
pub mod registry;
mod retry;
pub mod scrub;
pub mod services;
pub mod shared_index;
pub mod spec;
pub mod torrent;
pub mod ui;
pub mod users;
