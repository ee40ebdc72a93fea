//! Tests of build systems that use their own mirror setting.

pub mod dialects;
mod indexes;
mod render_config;
