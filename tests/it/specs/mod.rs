//! Tests of spec files and lock files.

mod adoption;
mod faults;
mod lockfiles;
pub mod page;
pub mod spec_commands;
mod tree;
