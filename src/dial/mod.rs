//! Outgoing connections: resolve once, check every address, connect to a checked address.
//!
//! No other module connects to an origin. The module is independent of the protocol. A
//! [`Dialer`] looks up the addresses of a host ([`resolver`]), and races connections to those that
//! policy allows ([`race`]). Its main type is [`Dialer`].

mod answers;
mod builtin;
mod candidates;
mod config;
mod dialer;
mod error;
mod lookup_table;
mod race;
mod resolver;
mod system;

pub use config::{Config, ResolverKind};
pub use dialer::{Dialer, Reach};
pub use error::{DialError, LookupError, OwnShortage};
pub use lookup_table::Asker;
