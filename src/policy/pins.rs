//! What targets must be, as an operator has written it into a file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::model::{DigestError, Key, Sha256, Target, TargetError};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a line cannot be used. None of the texts shows the URL, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {why}")]
pub struct PinsError {
    /// From 1 on.
    pub line: usize,
    pub why: PinError,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    #[error("a line is like sha256sum writes it: <64 hex digits>  <URL>")]
    Form,
    #[error("{0}")]
    Digest(#[from] DigestError),
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("line {0} says something else of the same URL")]
    Contradiction(usize),
}

/// The digests that a file states, by target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    by_key: HashMap<Key, (Sha256, usize)>,
}

impl Pins {
    /// Reads lines as `sha256sum` writes them, with a URL for the name. Empty ones and those that begin with # are passed
    /// over.
    ///
    /// # Errors
    /// [`PinsError`] for the first line that is wrong: half a file is worse than the one before.
    pub fn parse(text: &str) -> Result<Self, PinsError> {
        let mut pins = Self::default();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if !line.is_empty() && !line.starts_with('#') {
                pins.add(number, line).map_err(|why| PinsError { line: number, why })?;
            }
        }
        Ok(pins)
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), PinError> {
        let (hex, rest) = line.split_once([' ', '\t']).ok_or(PinError::Form)?;
        let rest = rest.trim_start();
        // The sign of binary mode.
        let target = Target::parse(rest.strip_prefix('*').unwrap_or(rest))?;
        let sha256: Sha256 = hex.parse()?;
        match self.by_key.entry(Key::of(&target)) {
            Entry::Vacant(vacant) => {
                vacant.insert((sha256, number));
                Ok(())
            }
            Entry::Occupied(other) if other.get().0 != sha256 => Err(PinError::Contradiction(other.get().1)),
            Entry::Occupied(_) => Ok(()),
        }
    }

    /// What a target must be.
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<Sha256> {
        // Nothing is hashed for those who have no such file.
        if self.by_key.is_empty() { None } else { self.by_key.get(&Key::of(target)).map(|(sha256, _)| *sha256) }
    }

    /// How many targets there are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// By which one sees that a file is another than before. Of one that is not there everything is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stamp {
    modified_at: Option<SystemTime>,
    size_bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { modified_at: metadata.modified().ok(), size_bytes: metadata.len(), inode: metadata.ino() }
    }
}

/// The file, and what of it was read last.
#[derive(Debug, Clone)]
pub struct PinsFile {
    path: PathBuf,
    stamp: Stamp,
    /// What the file was like at the last look, if it was not read then.
    unread: Option<Stamp>,
}

impl PinsFile {
    /// Reads the file; an empty path is no file.
    ///
    /// # Errors
    /// A line that names the key, the file, and its line where one is wrong.
    pub fn read(path: &Path) -> Result<(Self, Pins), String> {
        let mut file = Self { path: path.to_owned(), stamp: Stamp::default(), unread: None };
        let pins = if path.as_os_str().is_empty() { Pins::default() } else { file.read_again()? };
        Ok((file, pins))
    }

    /// What the file says, if it is not as it was when it was read last, well or not, and has been left alone since the last
    /// look: half of a file that is being written can look like a whole one.
    pub fn read_if_changed(&mut self) -> Option<Result<Pins, String>> {
        if self.path.as_os_str().is_empty() {
            return None;
        }
        let stamp = std::fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata)).unwrap_or_default();
        if stamp == self.stamp {
            self.unread = None;
            return None;
        }
        if self.unread.replace(stamp.clone()) != Some(stamp) {
            return None;
        }
        self.unread = None;
        Some(self.read_again())
    }

    fn read_again(&mut self) -> Result<Pins, String> {
        let complaint = |why: &dyn std::fmt::Display| format!("policy.pins_file: {}: {why}", self.path.display());
        self.stamp = Stamp::default();
        let (text, stamp) = read(&self.path).map_err(|why| complaint(&why))?;
        let pins = Pins::parse(&text).map_err(|why| format!("policy.pins_file: {}:{why}", self.path.display()));
        self.stamp = stamp;
        pins
    }
}

fn read(path: &Path) -> io::Result<(String, Stamp)> {
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok((text, stamp))
}
