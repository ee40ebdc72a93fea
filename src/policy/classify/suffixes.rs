//! File suffixes: which names have one, and names without them.

/// Suffixes of pages: the bytes are made for each request.
const PAGE_SUFFIXES: [&str; 22] = [
    "asp", "aspx", "cfm", "cgi", "fcgi", "htm", "html", "jsp", "jspx", "lua", "mhtml", "php",
    "php3", "php4", "php5", "php7", "php8", "phtml", "pl", "shtml", "xht", "xhtml",
];

/// Suffixes of archives and compressed files. One of them may follow another suffix.
const ARCHIVE_SUFFIXES: [&str; 29] = [
    "7z", "br", "bz", "bz2", "cpio", "gz", "jar", "lz", "lz4", "lzma", "lzo", "rar", "rz", "shar",
    "tar", "taz", "tbz", "tbz2", "tgz", "tlz", "txz", "tz2", "tzst", "xz", "z", "zck", "zip",
    "zst", "zstd",
];

/// Suffixes that begin with a digit. Any other text of this form is a part of a version.
const NUMBERED_SUFFIXES: [&str; 5] = ["3ds", "3gp", "3mf", "7z", "8xp"];

/// Words behind a dot that belong to a version, not to a format. Digits may follow.
const VERSION_WORDS: [&str; 16] = [
    "alpha", "beta", "dev", "el", "fc", "final", "ga", "p", "post", "pre", "r", "rc", "release",
    "rev", "sp", "v",
];

/// Version words that are a suffix if no digits follow.
const LETTER_SUFFIXES: [&str; 4] = ["el", "p", "r", "v"];

/// Longest suffix in bytes. The longest in use are such as `safetensors`.
const MAX_SUFFIX_BYTES: usize = 16;

/// Returns the suffix of a file name, without the dot. Suffixes of pages do not count.
///
/// `name` is in lower case. A name that is only a suffix is a hidden file and has none.
pub fn file_suffix(name: &str) -> Option<&str> {
    any_suffix(name).filter(|suffix| !PAGE_SUFFIXES.contains(suffix))
}

/// Returns whether the last segment of a path has the suffix of a page, such as `.html`.
pub fn is_page(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    any_suffix(&name.to_ascii_lowercase()).is_some_and(|suffix| PAGE_SUFFIXES.contains(&suffix))
}

fn any_suffix(name: &str) -> Option<&str> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let is_suffix = !stem.is_empty()
        && (1..=MAX_SUFFIX_BYTES).contains(&suffix.len())
        && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (suffix.starts_with(|c: char| c.is_ascii_alphabetic())
            || NUMBERED_SUFFIXES.contains(&suffix))
        // A clone URL of git names a repository.
        && suffix != "git"
        && !is_version_part(suffix);
    is_suffix.then_some(suffix)
}

fn is_version_part(suffix: &str) -> bool {
    let word = suffix.trim_end_matches(|c: char| c.is_ascii_digit());
    VERSION_WORDS.contains(&word) && !(word == suffix && LETTER_SUFFIXES.contains(&word))
}

/// Returns a name without its suffixes of archives, and without one other suffix in front of them.
pub fn without_suffixes(name: &str) -> &str {
    let bare = without_archive_suffixes(name);
    if bare.len() < name.len() {
        return bare;
    }
    match file_suffix(name) {
        Some(suffix) => &name[..name.len() - suffix.len() - 1],
        None => name,
    }
}

/// Returns a name without its suffixes of archives.
pub fn without_archive_suffixes(name: &str) -> &str {
    let mut bare = name;
    while let Some((shorter, suffix)) = bare.rsplit_once('.')
        && !shorter.is_empty()
        && ARCHIVE_SUFFIXES.contains(&suffix)
    {
        bare = shorter;
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_is_no_page_and_no_version() {
        for (name, suffix) in [
            ("x.tar.gz", Some("gz")),
            ("x-1.0.appimage", Some("appimage")),
            ("model.safetensors", Some("safetensors")),
            ("x.7z", Some("7z")),
            ("x.f90", Some("f90")),
            ("x.r", Some("r")),
            ("x-1.2.3", None),
            ("x-1.2.rc1", None),
            ("x-1.2.beta", None),
            ("x.v3", None),
            ("x-1.0.git", None),
            ("get.php", None),
            ("count.php3", None),
            ("index.html", None),
            (".gz", None),
            ("x.", None),
            ("x", None),
        ] {
            assert_eq!(file_suffix(name), suffix, "{name}");
        }
    }

    #[test]
    fn stem_keeps_version_behind_dot() {
        for (name, stem) in [
            ("x-1.2.tar.gz", "x-1.2"),
            ("x1.2.41.c", "x1.2.41"),
            ("x.jdk17.tar.gz", "x.jdk17"),
            ("x-2.v3.zip", "x-2.v3"),
            ("x-1.2.3", "x-1.2.3"),
            ("x", "x"),
        ] {
            assert_eq!(without_suffixes(name), stem, "{name}");
        }
    }
}
