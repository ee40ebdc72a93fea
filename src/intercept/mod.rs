//! Interception: ends the TLS of clients that open a `CONNECT` to a listed host.
//!
//! A certificate authority of its own signs a certificate for each host. Critical name constraints
//! limit that authority to the listed hosts, so that a stolen key opens no other one. The module
//! must not know HTTP, targets or the cache: it turns a connection into another one. Its main type
//! is [`Interceptor`].

mod authority;
mod config;
mod constraints;
mod create;
mod error;
mod handshake;
mod interceptor;
mod leaf;

pub use authority::{AuthorityFacts, CERTIFICATE_FILE, CertificateAuthority, KEY_FILE};
pub use config::Config;
pub use create::create_authority;
pub use error::{AuthorityError, HandshakeError, MintError};
pub use handshake::Intercepted;
pub use interceptor::Interceptor;
