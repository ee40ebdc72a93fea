//! Tests of alerts.

pub mod config;
pub mod incidents;
mod mail;
mod names;
mod template;
mod webhook;
