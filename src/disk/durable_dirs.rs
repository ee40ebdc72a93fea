//! Durable creation, listing and removal of directory entries in the cache folder.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;

/// The length of a key or digest in hexadecimal. DurableDirs of such names are many, and none is
/// remembered.
const DIGEST_CHARS: usize = 64;

/// Makes folders under one root.
pub struct DurableDirs {
    root: PathBuf,
    /// Those that are known to last: a few for each kind of thing that is kept.
    lasting: Mutex<HashSet<PathBuf>>,
}

impl DurableDirs {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            lasting: Mutex::default(),
        }
    }

    /// Makes a folder and what is missing above it. Whoever made them, all of them last afterwards:
    /// one that another has made a moment ago may not be synced yet.
    pub fn make(&self, folder: &Path) -> io::Result<()> {
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
        }
        for made in folder.ancestors().take_while(|above| *above != self.root) {
            let lasts = self
                .lasting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(made);
            if lasts {
                break;
            }
            sync(made.parent().expect("it lies under the root"))?;
        }
        // Only now: each of them lasts if all above it do.
        let is_one_of_few = |made: &&Path| {
            made.file_name()
                .is_some_and(|name| name.len() < DIGEST_CHARS)
        };
        let few = folder
            .ancestors()
            .take_while(|above| *above != self.root)
            .filter(is_one_of_few);
        self.lasting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(few.map(Path::to_owned));
        Ok(())
    }
}

/// Makes the root itself, as lasting as what it will hold.
pub fn make_root(root: &Path) -> io::Result<()> {
    let missing: Vec<_> = root
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.is_dir())
        .collect();
    fs::create_dir_all(root)?;
    for made in missing {
        match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => sync(above)?,
            _ => sync(Path::new("."))?,
        }
    }
    Ok(())
}

/// Returns the sorted names in a folder, empty if the folder does not exist. Names that are not
/// UTF-8 are converted lossily: Millpond creates no such names.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Removes a file. False if it was not there.
pub fn remove_if_there(file: &Path) -> io::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder last.
pub fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
