//! Tests through the real nginx with the shipped files.

mod client_certificates;
mod firewall;
mod herd;
mod hits;
mod limits;
pub mod requests;
mod three_gateways;
mod truncated_bodies;
mod trust;
mod trusted_nginx;
