//! Limits on resources: requests, transfers and bandwidth of each client; connections, responses
//! and file descriptors of the process.
//!
//! This module knows no server, no rules and no cache. Its main types are `ClientLimits`, for each
//! client network, [`AdmissionControl`], for the process, and [`FairPool`], for what clients share.

mod admission;
mod bandwidth;
mod client;
mod config;
mod fd_budget;
mod idle_connections;
mod pool;
mod quota;
mod upstream;

pub use admission::{
    Admission, AdmissionControl, AdmissionLevels, AdmissionLimits, ConnectionPermit,
    DocumentPermit, ExcessConnection, ResponsePermit,
};
pub use bandwidth::Pacer;
pub(crate) use client::ClientLimits;
pub use client::{
    OverLimit, PendingTransfer, RequestCount, TooManyNewTargets, TransferKind, TransferPermit,
};
pub use config::LimitsConfig;
pub use fd_budget::{DialLimits, FdBudget, MAX_IN_FLIGHT, divide_descriptors};
pub use pool::{
    ClientShare, FairPool, HeldPermit, PoolClient, PoolExhausted, PoolLevel, PoolPermit,
    Readership, Reading,
};
pub use upstream::{
    PassThroughPermit, TunnelPermit, UpstreamBusy, UpstreamLevels, UpstreamLimits, UpstreamPermit,
};
