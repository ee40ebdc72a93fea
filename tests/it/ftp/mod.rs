//! Tests of FTP origins.

mod downloads;
mod faults;
mod tools;
