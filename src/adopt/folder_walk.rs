//! The entries of a folder and its subfolders, opened by descriptor.
//!
//! Each step opens one name in an open folder and follows no symbolic link. Another user of the
//! folder cannot make the walk leave it by replacing a name. The walk must not know what happens
//! to a file. The main type is [`FolderWalk`].

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType as EntryType, Mode, OFlags, Stat, fstat, openat, statat};

use super::recorded_urls::read_recorded_urls;
use super::skipped::SkipReason;
use super::source_stamp::SourceStamp;

/// Bound on nested folders. Each level holds a descriptor and its names.
const MAX_DEPTH: usize = 64;

/// Suffix of the record beside a file of Conan, whose name is a digest.
const RECORD_SUFFIX: &str = ".json";

/// Number of hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// An open file of the folder.
#[derive(Debug)]
pub struct FoundFile {
    /// Path below the folder.
    pub path: PathBuf,
    pub file: Arc<File>,
    pub stamp: SourceStamp,
    /// User that owns the file.
    pub owner: u32,
    /// Permission bits.
    pub mode: u32,
    /// URLs of a record beside the file.
    pub recorded_urls: Vec<String>,
}

/// An entry of the folder.
#[derive(Debug)]
pub enum FoundEntry {
    File(FoundFile),
    Skipped(PathBuf, Option<SourceStamp>, SkipReason),
    Unreadable(PathBuf, Option<SourceStamp>, io::Error),
}

/// Files and folders that are not visited, by device and inode.
#[derive(Debug, Default, Clone)]
pub struct ExcludedFiles {
    pub lists: HashSet<(u64, u64)>,
    pub cache_folder: Option<(u64, u64)>,
}

/// Walk through a folder.
pub struct FolderWalk<'a, W, V> {
    pub excluded: &'a ExcludedFiles,
    /// Returns whether an entry is visited now. It has no stamp if it could not be examined.
    pub wants: W,
    /// Takes an entry. Returns false to end the walk.
    pub visit: V,
}

/// A folder on the way.
struct OpenFolder {
    descriptor: OwnedFd,
    /// Names of its entries, sorted.
    names: Vec<OsString>,
    /// Path below the folder of the walk.
    path: PathBuf,
    /// Number of folders above it.
    depth: usize,
}

/// `visit` has ended the walk.
struct Ended;

impl<W, V> FolderWalk<'_, W, V>
where
    W: FnMut(&Path, Option<SourceStamp>) -> bool,
    V: FnMut(FoundEntry) -> bool,
{
    /// Visits all entries, in the order of their names. Returns false if `visit` has ended the
    /// walk.
    ///
    /// # Errors
    /// The error of the system, if the folder itself cannot be opened.
    pub fn run(mut self, root: &Path) -> io::Result<bool> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder = rustix::fs::open(root, flags, Mode::empty())?;
        let names = names_in(&folder)?;
        let opened = OpenFolder {
            descriptor: folder,
            names,
            path: PathBuf::new(),
            depth: 0,
        };
        Ok(self.folder(&opened).is_ok())
    }

    fn folder(&mut self, folder: &OpenFolder) -> Result<(), Ended> {
        for name in &folder.names {
            let path = folder.path.join(name);
            let stat = match statat(&folder.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // It was removed meanwhile.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => {
                    self.unreadable(path, None, error.into())?;
                    continue;
                }
            };
            match EntryType::from_raw_mode(stat.st_mode) {
                EntryType::Directory => self.subfolder(folder, name, path, &stat)?,
                EntryType::RegularFile => self.file(folder, name, path, &stat)?,
                EntryType::Symlink => self.skip(path, &stat, SkipReason::SymbolicLink)?,
                _ => self.skip(path, &stat, SkipReason::SpecialFile)?,
            }
        }
        Ok(())
    }

    fn subfolder(
        &mut self,
        parent: &OpenFolder,
        name: &OsStr,
        path: PathBuf,
        stat: &Stat,
    ) -> Result<(), Ended> {
        let stamp = SourceStamp::from(stat);
        if self.excluded.cache_folder == Some((stamp.device, stamp.inode)) {
            return self.skip(path, stat, SkipReason::CacheFolder);
        }
        if let Some(reason) = name.to_str().and_then(SkipReason::of_folder_name) {
            return self.skip(path, stat, reason);
        }
        if parent.depth == MAX_DEPTH {
            return self.skip(path, stat, SkipReason::TooDeep);
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = openat(&parent.descriptor, name, flags, Mode::empty());
        let opened = opened.map_err(io::Error::from);
        let listed = opened.and_then(|folder| Ok((names_in(&folder)?, folder)));
        match listed {
            Ok((names, _)) if is_repository(&names) => {
                self.skip(path, stat, SkipReason::Repository)
            }
            Ok((names, descriptor)) => self.folder(&OpenFolder {
                descriptor,
                names,
                path,
                depth: parent.depth + 1,
            }),
            Err(error) => self.unreadable(path, Some(stamp), error),
        }
    }

    fn file(
        &mut self,
        parent: &OpenFolder,
        name: &OsStr,
        path: PathBuf,
        stat: &Stat,
    ) -> Result<(), Ended> {
        let (stamp, names) = (SourceStamp::from(stat), &parent.names);
        let of_name = name.to_str().and_then(SkipReason::of_file_name);
        let reason = if self.excluded.lists.contains(&(stamp.device, stamp.inode)) {
            Some(SkipReason::List)
        } else if is_record(names, name) {
            Some(SkipReason::RecordOfFile)
        } else if has_name(names, name, ".aria2") {
            Some(SkipReason::Unfinished)
        } else {
            of_name
        };
        if let Some(reason) = reason {
            return self.skip(path, stat, reason);
        }
        if !(self.wants)(&path, Some(stamp)) {
            return Ok(());
        }
        let entry = match open_file(&parent.descriptor, name) {
            Ok((file, stat)) => FoundEntry::File(FoundFile {
                path,
                file: Arc::new(file),
                stamp: SourceStamp::from(&stat),
                owner: stat.st_uid,
                mode: stat.st_mode & 0o7777,
                recorded_urls: recorded_urls(&parent.descriptor, names, name),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => FoundEntry::Unreadable(path, Some(stamp), error),
        };
        self.visit(entry)
    }

    fn skip(&mut self, path: PathBuf, stat: &Stat, reason: SkipReason) -> Result<(), Ended> {
        let stamp = Some(SourceStamp::from(stat));
        if !(self.wants)(&path, stamp) {
            return Ok(());
        }
        self.visit(FoundEntry::Skipped(path, stamp, reason))
    }

    fn unreadable(
        &mut self,
        path: PathBuf,
        stamp: Option<SourceStamp>,
        error: io::Error,
    ) -> Result<(), Ended> {
        if !(self.wants)(&path, stamp) {
            return Ok(());
        }
        self.visit(FoundEntry::Unreadable(path, stamp, error))
    }

    fn visit(&mut self, entry: FoundEntry) -> Result<(), Ended> {
        if (self.visit)(entry) {
            Ok(())
        } else {
            Err(Ended)
        }
    }
}

/// Returns the names in a folder, sorted.
fn names_in(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Opens a regular file. Opening a pipe does not wait for its other end.
fn open_file(folder: &OwnedFd, name: &OsStr) -> io::Result<(File, Stat)> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if EntryType::from_raw_mode(stat.st_mode) != EntryType::RegularFile {
        return Err(io::Error::other("it was replaced by another kind of file"));
    }
    Ok((file.into(), stat))
}

fn recorded_urls(folder: &OwnedFd, names: &[OsString], name: &OsStr) -> Vec<String> {
    if !is_sha256(name) || !has_name(names, name, RECORD_SUFFIX) {
        return Vec::new();
    }
    let mut record = name.to_owned();
    record.push(RECORD_SUFFIX);
    open_file(folder, &record).map_or_else(|_| Vec::new(), |(file, _)| read_recorded_urls(file))
}

/// Returns whether a file is the record of another file in the folder.
fn is_record(names: &[OsString], name: &OsStr) -> bool {
    let stem = name.as_bytes().strip_suffix(RECORD_SUFFIX.as_bytes());
    stem.map(OsStr::from_bytes)
        .is_some_and(|stem| is_sha256(stem) && has_name(names, stem, ""))
}

/// Returns whether the sorted names contain a name with this suffix.
fn has_name(names: &[OsString], name: &OsStr, suffix: &str) -> bool {
    let mut wanted = name.to_owned();
    wanted.push(suffix);
    names.binary_search(&wanted).is_ok()
}

fn is_sha256(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    bytes.len() == SHA256_DIGITS && bytes.iter().all(u8::is_ascii_hexdigit)
}

/// Returns whether a folder is a bare repository of git, as Buildroot keeps them.
fn is_repository(names: &[OsString]) -> bool {
    let mut marks = ["HEAD", "objects", "refs"].iter();
    marks.all(|mark| has_name(names, OsStr::new(mark), ""))
}
