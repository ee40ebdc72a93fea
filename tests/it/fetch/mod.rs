//! Tests of fetches: one for all clients, resumed, from several sources, within limits of hosts.

mod body_ends;
mod circuit_breaker;
mod dials;
mod egress_loops;
mod exchange_limits;
mod fetch_list;
mod first_bytes;
pub mod herd;
mod in_flight;
mod levels;
mod lone_limits;
mod mixed_bodies;
mod names;
mod parents;
mod redirects;
mod request_options;
mod resume;
mod resume_changes;
pub mod resume_dates;
mod resume_refusals;
mod rule_credentials;
mod segments;
mod sources;
mod stale_connections;
mod tiny_chunks;
mod transfer_encoding;
mod truncated_bodies;
