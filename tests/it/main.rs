//! Integration tests of the real binary. Each folder covers one capability, each module one
//! feature, each test name states a behaviour, and all tests share one harness.

mod arch;
mod bucket;
mod checks;
mod cluster;
mod commands;
mod config;
mod disk;
mod dns;
mod fetch;
mod freshness;
mod ftp;
mod harness;
mod http;
mod integrity;
mod intercept;
mod limits;
mod mirror;
mod nginx;
mod notify;
mod operate;
mod origin;
mod pieces;
mod policy;
mod processes;
mod properties;
mod registry;
mod scrub;
mod specs;
