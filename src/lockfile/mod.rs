//! Lock files, lists and software bills of materials: the files that they name, with URLs and
//! digests.
//!
//! Each format has a file of its own. A digest is stated only where the format has that of the file
//! itself. The module reads no file and knows no gateway. Its main function is [`parse_lockfile`].

mod base64_digest;
mod cargo;
mod detect;
mod error;
mod go;
mod listing;
mod names;
mod npm;
mod python;
mod registry;
mod sbom;
mod spdx;
mod srcinfo;
mod yarn;

pub use detect::{LockfileFormat, parse_lockfile};
pub use error::LockfileError;
pub use listing::{LockedFiles, LockfileNote};
pub use names::{NamedDigestLineError, named_digests};
pub use registry::{RegistryBase, RegistryBaseError, RegistryBases, RegistryKind};

#[cfg(test)]
mod tests;
