//! Requests of build systems below `/mirror/<dialect>/`, as each of them sends them.

mod catalog;
mod digests;
mod lists;
mod names;
mod routes;
mod stage;
mod uploads;

pub use stage::base32;
