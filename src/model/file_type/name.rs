//! Parts of paths and file names on which the file type depends.

/// Formats of forge archives, by the third segment of their path, with the suffix of such a file.
const FORGE_FORMATS: [(&str, &str); 4] = [
    ("tar.gz", ".tar.gz"),
    ("legacy.tar.gz", ".tar.gz"),
    ("zip", ".zip"),
    ("legacy.zip", ".zip"),
];

/// Segments of a path below which a forge serves files of a repository.
const RAW_SEGMENTS: [&str; 2] = ["raw", "plain"];

/// Longest suffix of a name that is not in the table, in bytes.
const MAX_SUFFIX_BYTES: usize = 10;

/// Names of checksum lists without a suffix: an algorithm and one of these.
const CHECKSUM_LIST_ENDINGS: [&str; 4] = ["sum", "sums", "sum.txt", "sums.txt"];
const CHECKSUM_ALGORITHMS: [&str; 8] = [
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "b2", "blake2b",
];

/// Returns the last segment of a path in lower case, without a trailing `/download`.
pub fn file_name(path: &str) -> String {
    let name = without_download(path).rsplit('/').next();
    name.unwrap_or_default().to_ascii_lowercase()
}

/// Removes the last segment `/download`, which some sites append to the URL of a file.
fn without_download(path: &str) -> &str {
    const DOWNLOAD: &str = "/download";
    match path.len().checked_sub(DOWNLOAD.len()) {
        Some(end)
            if path
                .get(end..)
                .is_some_and(|tail| tail.eq_ignore_ascii_case(DOWNLOAD)) =>
        {
            &path[..end]
        }
        _ => path,
    }
}

/// Returns the suffix that an archive of a forge would have:
/// `/<owner>/<repository>/tar.gz/<ref>`, `/legacy.tar.gz/`, `/zip/`, `/legacy.zip/`.
pub fn forge_archive_suffix(path: &str) -> Option<&'static str> {
    let mut segments = without_download(path).split('/').skip(3);
    let format = segments.next()?;
    segments.next().filter(|reference| !reference.is_empty())?;
    FORGE_FORMATS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(format))
        .map(|(_, suffix)| *suffix)
}

/// Returns whether a name has a suffix. A number is a part of a version.
pub fn has_suffix(name: &str) -> bool {
    let Some((stem, suffix)) = name.rsplit_once('.') else {
        return false;
    };
    !stem.is_empty()
        && suffix.len() <= MAX_SUFFIX_BYTES
        && suffix.starts_with(|c: char| c.is_ascii_alphabetic())
        && suffix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+'))
}

/// Returns whether a path names a file of a repository, which need not have a suffix.
pub fn is_raw_file(path: &str) -> bool {
    let mut folders = path.split('/').rev();
    let has_name = folders.next().is_some_and(|name| !name.is_empty());
    has_name && folders.any(|folder| RAW_SEGMENTS.contains(&folder))
}

/// Returns whether a name in lower case is that of a checksum list without a suffix.
pub fn is_checksum_list(name: &str) -> bool {
    CHECKSUM_ALGORITHMS.iter().any(|algorithm| {
        name.strip_prefix(algorithm)
            .is_some_and(|ending| CHECKSUM_LIST_ENDINGS.contains(&ending))
    })
}
