//! Takes the files of a folder on this machine into the store: walks the folder, finds the URLs and
//! digests that lists state for each file, and stores the bytes that it hashed.
//!
//! A file without a URL gets a target of its own, so that it is found by name and by digest. The
//! parts of container images get the targets of a registry. This module never writes to the folder,
//! follows no symbolic link, and asks no origin. It must not know requests or the formats of lists.
//! Its main types are [`Adopter`], [`FolderScan`] and [`ImageAdopter`].

mod adopter;
mod error;
mod folder_walk;
mod image_adopter;
mod image_files;
mod image_roots;
mod known_sources;
mod open_writers;
mod own_target;
mod publish_target;
mod read_source;
mod recorded_urls;
mod report;
mod scan;
mod skipped;
mod source_stamp;
mod stage_source;
mod stop_flag;
mod tar_entries;
mod target_choice;
mod watch_memory;

pub use adopter::{AdoptMode, AdoptOptions, AdoptServices, Adopter};
pub use error::{AdoptError, FolderError};
pub use folder_walk::ExcludedFiles;
pub use image_adopter::ImageAdopter;
pub use image_files::{ImageFiles, ImageFilesError};
pub use image_roots::{ImageNaming, ImageRoot, ImageRootError, find_roots};
pub use known_sources::{KnownSource, KnownSources, TooManySources};
pub use report::{AdoptOutcome, FileReport, StoredHow};
pub use scan::{FolderScan, ScanEnd};
pub use skipped::SkipReason;
pub use source_stamp::SourceStamp;
pub use stop_flag::StopFlag;
pub use tar_entries::{ArchiveError, TarEntries, TarEntry, TarEntryKind};
pub use watch_memory::WatchMemory;
