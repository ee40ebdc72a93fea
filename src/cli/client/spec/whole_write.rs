//! Replaces files by others, all or none as far as the file system allows.
//!
//! The main function is [`replace_files`].

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use rand::RngExt as _;

/// File that shall be replaced.
pub struct Replacement {
    /// Path without symbolic links: a link stays, and its file is replaced.
    pub path: PathBuf,
    /// Bytes that were read.
    pub old: Vec<u8>,
    pub new: Vec<u8>,
}

/// Error returned when a file cannot be replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no regular file")]
    NotAFile,
    #[error("it is read-only")]
    ReadOnly,
    #[error("its owner cannot be kept; run the command as the owner of the file")]
    Owner,
    #[error("it was changed meanwhile")]
    Changed,
    #[error("{0}, and these files stay changed: {1}")]
    NotUndone(Box<Self>, String),
}

/// Replaces files. All new files are written beside the old ones first, and then renamed. If a
/// file cannot be replaced, those before it get their old bytes again.
///
/// # Errors
/// The path that failed, and the reason. No file is changed, apart from
/// [`ReplaceError::NotUndone`].
pub fn replace_files(files: &[Replacement]) -> Result<(), (PathBuf, ReplaceError)> {
    let mut written: Vec<PathBuf> = Vec::new();
    for file in files {
        match write_beside(&file.path, &file.new) {
            Ok(new) => written.push(new),
            Err(error) => {
                remove(&written);
                return Err((file.path.clone(), error));
            }
        }
    }
    for (at, file) in files.iter().enumerate() {
        if let Err(error) = put_in_place(file, &written[at]) {
            remove(&written[at..]);
            let error = match undo(&files[..at]) {
                left if left.is_empty() => error,
                left => ReplaceError::NotUndone(Box::new(error), left.join(", ")),
            };
            return Err((file.path.clone(), error));
        }
    }
    Ok(())
}

/// Removes new files. The failure to be reported is that of the write.
fn remove(written: &[PathBuf]) {
    for new in written {
        drop(fs::remove_file(new));
    }
}

/// Renames a new file, unless the old one has other bytes than those that were read.
fn put_in_place(file: &Replacement, new: &Path) -> Result<(), ReplaceError> {
    if fs::read(&file.path)? != file.old {
        return Err(ReplaceError::Changed);
    }
    Ok(fs::rename(new, &file.path)?)
}

/// Writes the old bytes again. Returns the paths for which that failed.
fn undo(replaced: &[Replacement]) -> Vec<String> {
    let undo = |file: &Replacement| -> Result<(), ReplaceError> {
        let old = write_beside(&file.path, &file.old)?;
        Ok(fs::rename(old, &file.path)?)
    };
    let failed = replaced.iter().filter(|file| undo(file).is_err());
    failed.map(|file| file.path.display().to_string()).collect()
}

/// Writes a file with the owner and the permissions of the one that it shall replace.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf, ReplaceError> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(ReplaceError::NotAFile);
    }
    if metadata.permissions().readonly() {
        return Err(ReplaceError::ReadOnly);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let random: u32 = rand::rng().random();
    let new = path.with_file_name(format!(".{name}.{random:08x}"));
    let written = write_new(&new, bytes, &metadata);
    if written.is_err() {
        drop(fs::remove_file(&new));
    }
    written.map(|()| new)
}

fn write_new(new: &Path, bytes: &[u8], like: &fs::Metadata) -> Result<(), ReplaceError> {
    let mut file = fs::File::create_new(new)?;
    file.write_all(bytes)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        chown(new, Some(like.uid()), Some(like.gid())).map_err(|_| ReplaceError::Owner)?;
    }
    // Behind the change of the owner, which removes some permissions.
    file.set_permissions(like.permissions())?;
    Ok(file.sync_all()?)
}
