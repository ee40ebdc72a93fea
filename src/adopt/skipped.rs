//! Entries of a folder that are no sources: files of tools, and names of unfinished downloads.
//!
//! The main type is [`SkipReason`].

use std::fmt;

/// Suffixes of downloads that are not complete: of browsers, curl, aria2, Portage and Millpond.
const UNFINISHED_SUFFIXES: [&str; 9] = [
    ".part",
    ".partial",
    ".tmp",
    ".crdownload",
    ".download",
    ".aria2",
    ".__download__",
    ".dirty",
    ".incomplete",
];

/// Part of the name that Portage gives to a file with a wrong digest.
const PORTAGE_FAILURE: &str = "._checksum_failure_.";

/// Files of Portage, apt and Conan that are no sources.
const TOOL_FILES: [&str; 5] = ["layout.conf", "lock", "lost+found", "CACHEDIR.TAG", ".keep"];

/// Suffixes of lock files.
const LOCK_SUFFIXES: [&str; 2] = [".lock", ".__portage_lock__"];

/// Folder in which apt keeps unfinished downloads.
const APT_PARTIAL: &str = "partial";

/// Reason why an entry of the folder is not taken. It is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// A link may lead out of the folder.
    SymbolicLink,
    /// A device or a pipe may have no end.
    SpecialFile,
    Hidden,
    Unfinished,
    ToolFile,
    /// The file was read for its URLs and digests.
    List,
    Empty,
    CacheFolder,
    Repository,
    TooDeep,
    /// It belongs to another file, whose URLs it states.
    RecordOfFile,
}

impl SkipReason {
    /// Returns the reason in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SymbolicLink => "a symbolic link",
            Self::SpecialFile => "neither a file nor a folder",
            Self::Hidden => "a hidden name",
            Self::Unfinished => "the name of an unfinished download",
            Self::ToolFile => "a file of a tool",
            Self::List => "a list that was read for its URLs",
            Self::Empty => "an empty file",
            Self::CacheFolder => "the cache folder itself",
            Self::Repository => "a repository of a version control system",
            Self::TooDeep => "too many nested folders",
            Self::RecordOfFile => "the record of another file",
        }
    }

    /// Returns the reason to skip a file of this name.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let has_one = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        if has_one(&UNFINISHED_SUFFIXES) || name.contains(PORTAGE_FAILURE) {
            Some(Self::Unfinished)
        } else if has_one(&LOCK_SUFFIXES) || TOOL_FILES.contains(&name) {
            Some(Self::ToolFile)
        } else if name.starts_with('.') {
            Some(Self::Hidden)
        } else {
            None
        }
    }

    /// Returns the reason to skip a folder of this name.
    #[must_use]
    pub fn of_folder_name(name: &str) -> Option<Self> {
        if name == APT_PARTIAL {
            Some(Self::Unfinished)
        } else if TOOL_FILES.contains(&name) {
            Some(Self::ToolFile)
        } else if name.starts_with('.') {
            Some(Self::Hidden)
        } else {
            None
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tools_are_no_sources() {
        for (name, reason) in [
            ("x-1.0.tar.gz", None),
            ("x-1.0.tar.gz.sig", None),
            ("x-1.0.tar.gz.part", Some(SkipReason::Unfinished)),
            ("x.tar.gz.__download__", Some(SkipReason::Unfinished)),
            (
                "x.tar.gz._checksum_failure_.abc",
                Some(SkipReason::Unfinished),
            ),
            (".x.tar.gz.Ab3d", Some(SkipReason::Hidden)),
            ("lock", Some(SkipReason::ToolFile)),
            (".lock", Some(SkipReason::ToolFile)),
            (".x.tar.gz.__portage_lock__", Some(SkipReason::ToolFile)),
        ] {
            assert_eq!(SkipReason::of_file_name(name), reason, "{name}");
        }
    }
}
