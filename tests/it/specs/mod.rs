//! Tests of spec files and lock files.

mod lockfiles;
mod page;
pub mod spec_commands;
mod adoption;
mod faults;
mod tree;
