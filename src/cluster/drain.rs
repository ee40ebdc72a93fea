//! Whether this node is draining: it serves what it has, and owns nothing any more.
//!
//! The state is kept in a file of the state folder, so that it survives a restart. The main type is
//! [`DrainState`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// File in `gateway.state_dir` that is there while the node is draining.
const FILE: &str = "draining";

/// Whether this node is draining.
#[derive(Debug)]
pub struct DrainState {
    is_on: AtomicBool,
    /// `None` for a command, which owns nothing in any case.
    file: Option<PathBuf>,
}

impl DrainState {
    /// Reads the state from the state folder.
    #[must_use]
    pub fn load(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        Self {
            is_on: AtomicBool::new(file.exists()),
            file: Some(file),
        }
    }

    /// Returns the state of a process that is no node.
    #[must_use]
    pub fn off() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            file: None,
        }
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Changes the state, also for the next process. Blocks. Returns whether it was another one.
    ///
    /// # Errors
    /// The system's error if the file cannot be written. The state is unchanged then.
    pub fn set(&self, is_on: bool) -> io::Result<bool> {
        if let Some(file) = &self.file {
            if is_on {
                File::create(file)?.sync_all()?;
            } else if let Err(error) = fs::remove_file(file)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            if let Some(folder) = file.parent() {
                File::open(folder)?.sync_all()?;
            }
        }
        Ok(self.is_on.swap(is_on, Ordering::Relaxed) != is_on)
    }
}
