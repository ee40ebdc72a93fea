//! Checks of the folders of a configuration: space, inodes, permissions, and dates of files.
//!
//! The main function is [`check`].

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, StatVfs, access, statvfs};

use super::finding::Finding;
use crate::config::Config;
use crate::model::Size;

/// Folders below the cache folder that the service writes.
const CACHE_FOLDERS: [&str; 5] = ["objects", "records", "observations", "staging", "leases"];

/// Part of all inodes that `cache.min_free_inodes` is at most.
const MAX_INODE_SHARE: u64 = 20;

/// Mode with which the owner of a folder may list, write and enter it.
const OWNER_MODE: u32 = 0o700;

/// How far in the future the date of a file may be. File systems round dates.
const DATE_TOLERANCE: Duration = Duration::from_secs(5);

/// Checks the cache folder and the state folder.
pub fn check(config: &Config) -> Vec<Finding> {
    let dir = &config.cache.dir;
    if !dir.is_dir() {
        return vec![Finding::warning(
            "cache_folder",
            format!("cache.dir: there is no folder {}", dir.display()),
            "the service creates it at its first start",
        )];
    }
    let mut findings = Vec::new();
    match statvfs(dir) {
        Ok(file_system) => findings.extend(space_findings(config, &file_system)),
        Err(error) => findings.push(Finding::failed(
            "disk_space",
            format!("{}: {error}", dir.display()),
            "check the disk",
        )),
    }
    findings.push(permission_finding(config));
    findings.push(date_finding(dir));
    findings
}

fn space_findings(config: &Config, file_system: &StatVfs) -> Vec<Finding> {
    let bytes = |blocks: u64| Size {
        bytes: blocks.saturating_mul(file_system.f_frsize),
    };
    let (free, total) = (bytes(file_system.f_bavail), bytes(file_system.f_blocks));
    let whole_gib = |size: Size| format!("{} GiB", size.bytes >> 30);
    let max_size = config.cache.max_size;
    let space = if free < config.cache.min_free {
        Finding::failed(
            "disk_space",
            format!(
                "{} MiB are free, less than cache.min_free ({})",
                free.bytes >> 20,
                config.cache.min_free
            ),
            "free space, or lower cache.max_size",
        )
    } else if max_size > total {
        Finding::warning(
            "disk_space",
            format!("cache.max_size {max_size} is more than the disk has"),
            "lower cache.max_size, so that other programs keep their space",
        )
    } else {
        let text = format!("{} of {} are free", whole_gib(free), whole_gib(total));
        Finding::ok("disk_space", text)
    };
    // Some file systems have no fixed number of inodes, and state none.
    let inodes = (file_system.f_files > 0).then(|| {
        let text = format!("{} inodes are free", file_system.f_favail);
        let wanted = config.cache.min_free_inodes;
        if file_system.f_favail < wanted.min(file_system.f_files / MAX_INODE_SHARE) {
            let advice = "remove small files, or make a file system with more inodes";
            Finding::failed("inodes", text, advice)
        } else {
            Finding::ok("inodes", text)
        }
    });
    [Some(space), inodes].into_iter().flatten().collect()
}

/// Checks that this user and their owner may write the folders, and that all belong to one user.
fn permission_finding(config: &Config) -> Finding {
    let dir = &config.cache.dir;
    let below = CACHE_FOLDERS.iter().map(|name| dir.join(name));
    let folders = [dir.clone(), config.gateway.state_dir.clone()]
        .into_iter()
        .chain(below)
        .filter(|folder| folder.is_dir());
    let owner = std::fs::metadata(dir).map(|metadata| metadata.uid()).ok();
    for folder in folders {
        if let Err(error) = access(
            &folder,
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
        ) {
            return Finding::failed(
                "permissions",
                format!("{}: {error}", folder.display()),
                "run as the user of the service, or give the folder to that user",
            );
        }
        let metadata = std::fs::metadata(&folder).ok();
        // Root may write everything, and the service does not run as root.
        let mode = metadata.as_ref().map_or(0, std::fs::Metadata::mode);
        if mode & OWNER_MODE != OWNER_MODE {
            return Finding::failed(
                "permissions",
                format!("{} has mode {:03o}", folder.display(), mode & 0o777),
                "let its owner write it (chmod u+rwx)",
            );
        }
        let own = metadata.map(|metadata| metadata.uid());
        if own != owner {
            return Finding::failed(
                "permissions",
                format!(
                    "{} belongs to another user than cache.dir",
                    folder.display()
                ),
                "give all folders to the user of the service (chown -R)",
            );
        }
    }
    Finding::ok("permissions", "all folders can be written")
}

/// Compares the clock with the dates of the newest files.
fn date_finding(dir: &Path) -> Finding {
    let newest = ["index.sqlite", "index.sqlite-wal", "staging", "records"]
        .iter()
        .filter_map(|name| std::fs::metadata(dir.join(name)).ok()?.modified().ok())
        .max();
    let ahead = newest.and_then(|newest| newest.duration_since(SystemTime::now()).ok());
    match ahead {
        Some(ahead) if ahead > DATE_TOLERANCE => Finding::warning(
            "clock",
            format!("files of the cache are {} s in the future", ahead.as_secs()),
            "set the clock by a time service (NTP)",
        ),
        _ => Finding::ok("clock", "no file of the cache is in the future"),
    }
}
