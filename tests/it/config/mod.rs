//! Tests of the configuration.

mod config_bounds;
