//! Replaces files by others, all or none as far as the file system allows.
//!
//! The main function is [`replace_files`].

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rand::RngExt as _;

/// Replaces files. All new files are written beside the old ones first, and then renamed.
///
/// # Errors
/// The path that failed. No file is changed if a new one cannot be written.
pub fn replace_files(files: &[(PathBuf, Vec<u8>)]) -> Result<(), (PathBuf, io::Error)> {
    let mut written: Vec<PathBuf> = Vec::new();
    for (path, bytes) in files {
        match write_beside(path, bytes) {
            Ok(new) => written.push(new),
            Err(error) => {
                for new in written {
                    // The failure to be reported is that of the write.
                    drop(fs::remove_file(new));
                }
                return Err((path.clone(), error));
            }
        }
    }
    for ((path, _), new) in files.iter().zip(written) {
        fs::rename(new, path).map_err(|error| (path.clone(), error))?;
    }
    Ok(())
}

/// Writes a file with the permissions of the one that it shall replace.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    // A link stays a link: its file is replaced.
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    if metadata.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let random: u32 = rand::rng().random();
    let new = path.with_file_name(format!(".{name}.{random:08x}"));
    let written = write_new(&new, bytes, metadata.permissions());
    if written.is_err() {
        drop(fs::remove_file(&new));
    }
    written.map(|()| new)
}

fn write_new(new: &Path, bytes: &[u8], permissions: fs::Permissions) -> io::Result<()> {
    let mut file = fs::File::create_new(new)?;
    file.write_all(bytes)?;
    file.set_permissions(permissions)?;
    file.sync_all()
}
