//! Limits on what clients and this process may use: rates, transfers and bandwidth of a client,
//! connections, responses and file descriptors of the process.
//!
//! This module knows no server, no rules and no cache: who a client is, and what it asks for, is
//! not its business. Its main types are `Limits`, of one client, and [`AdmissionControl`], of the
//! process as a whole.

mod admission;
mod bandwidth;
mod client;
mod client_net;
mod fd_budget;

pub use admission::{AdmissionControl, AdmissionLimits};
pub use bandwidth::Pacer;
pub(crate) use client::Limits;
pub use client::{LimitsConfig, OverLimit, TransferKind, TransferPermit};
pub use fd_budget::{FdBudget, MAX_IN_FLIGHT, divide_descriptors};
