//! Identity of a cache folder. The main function is [`folder_identity`].

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// File of the kernel with a random number of the running system.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns a text that is the same for all processes that use a folder of this machine, under
/// whatever path. Empty if it is unknown.
#[must_use]
pub fn folder_identity(folder: &Path) -> String {
    let (Ok(boot), Ok(metadata)) = (std::fs::read(BOOT_ID), std::fs::metadata(folder)) else {
        return String::new();
    };
    let mut hasher = Sha256::new();
    hasher.update(boot);
    hasher.update(metadata.dev().to_be_bytes());
    hasher.update(metadata.ino().to_be_bytes());
    hex::encode(&hasher.finalize()[..16])
}
