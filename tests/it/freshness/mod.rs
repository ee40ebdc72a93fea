//! Tests of classes and of freshness (RFC 9111).

mod classes;
mod evicted_observations;
mod late_responses;
mod observation_races;
pub mod package_clients;
mod revalidate;
mod revalidate_storage;
mod validators;
