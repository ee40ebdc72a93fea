//! `Packages` and `Sources` of an apt archive: paragraphs with the paths and digests of files.

use super::{BadLine, digest, named};
use crate::cache::CatalogEntry;
use crate::catalog::query::FileName;
use crate::model::{ExpectedDigests, Target};

const NO_FIELD: &str = "the line must be like Field: value";
const NO_FILE: &str = "the line must be like <hex> <size> <name>";
const NO_SIZE: &str = "the size is no number";
const TOO_MANY: &str = "the source package has too many files";

/// Bound on the files of one source package, which are compared with each other.
const MAX_SOURCES: usize = 1000;

/// Files of one package, or of one source package.
#[derive(Default)]
struct Paragraph<'a> {
    /// Field of the last line, which further lines belong to.
    field: &'a str,
    package: &'a str,
    version: &'a str,
    architecture: &'a str,
    directory: &'a str,
    /// The file of a binary package.
    binary: ListedFile<'a>,
    /// The files of a source package.
    sources: Vec<ListedFile<'a>>,
}

#[derive(Default)]
struct ListedFile<'a> {
    /// Path below the archive, or the name below `Directory`.
    path: &'a str,
    size_bytes: Option<u64>,
    digests: ExpectedDigests,
}

/// Parses a list. `base` is the URL of the archive, to which the paths are relative. Without one,
/// the entries have no URLs.
///
/// # Errors
/// [`BadLine`].
pub fn parse_apt_list(text: &str, base: Option<&str>) -> Result<Vec<CatalogEntry>, BadLine> {
    let mut entries = Vec::new();
    let mut paragraph = Paragraph::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            std::mem::take(&mut paragraph).list(base, &mut entries);
            continue;
        }
        paragraph.add(line).map_err(|reason| BadLine {
            line: number + 1,
            reason,
        })?;
    }
    paragraph.list(base, &mut entries);
    Ok(entries)
}

impl<'a> Paragraph<'a> {
    fn add(&mut self, line: &'a str) -> Result<(), &'static str> {
        if line.starts_with([' ', '\t']) {
            return match checksums_of(self.field) {
                Some(algorithm) => self.add_source(algorithm, line),
                None => Ok(()),
            };
        }
        let (field, value) = line.split_once(':').ok_or(NO_FIELD)?;
        let value = value.trim();
        self.field = field;
        match field {
            "Package" => self.package = value,
            "Version" => self.version = value,
            "Architecture" => self.architecture = value,
            "Directory" => self.directory = value,
            "Filename" => self.binary.path = value,
            "Size" => self.binary.size_bytes = Some(value.parse().map_err(|_| NO_SIZE)?),
            "MD5sum" => self.binary.digests.extend(digest("md5", value)?),
            "SHA1" | "SHA256" | "SHA512" => self.binary.digests.extend(digest(field, value)?),
            _ => {}
        }
        Ok(())
    }

    /// Adds a digest of a file of a source package. Each file has a line for each algorithm.
    fn add_source(&mut self, algorithm: &str, line: &'a str) -> Result<(), &'static str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [hex, size, path] = words[..] else {
            return Err(NO_FILE);
        };
        let size_bytes = Some(size.parse().map_err(|_| NO_SIZE)?);
        let digest = digest(algorithm, hex)?;
        let mut known = self.sources.iter_mut();
        if let Some(file) = known.find(|file| file.path == path) {
            file.digests.extend(digest);
        } else if self.sources.len() == MAX_SOURCES {
            return Err(TOO_MANY);
        } else {
            self.sources.push(ListedFile {
                path,
                size_bytes,
                digests: digest.into_iter().collect(),
            });
        }
        Ok(())
    }

    /// Appends the entries of the paragraph.
    fn list(self, base: Option<&str>, entries: &mut Vec<CatalogEntry>) {
        let cached = self.cached_name();
        let directory = self.directory.trim_end_matches('/');
        let sources = self.sources.into_iter().map(|file| {
            let path = format!("{directory}/{}", file.path);
            (path, file)
        });
        let binary = (self.binary.path.to_owned(), self.binary);
        for (path, file) in sources.chain([binary]) {
            let path = path.trim_start_matches("./").trim_start_matches('/');
            let target = base.and_then(|base| Target::parse(&format!("{base}/{path}")).ok());
            if path.is_empty() || (target.is_none() && file.digests.is_empty()) {
                continue;
            }
            let own = path.rsplit('/').next().unwrap_or(path);
            let is_binary = own.rsplit('.').next() == Some("deb");
            let second = cached.as_deref().filter(|name| is_binary && *name != own);
            for name in [Some(own), second].into_iter().flatten() {
                let Some(name) = FileName::new(name) else {
                    continue;
                };
                entries.push(CatalogEntry {
                    target: target.clone(),
                    size_bytes: file.size_bytes,
                    ..named(&name, file.digests.clone())
                });
            }
        }
    }

    /// Returns the name under which a client of apt keeps the package, with the epoch that paths of
    /// an archive lack.
    fn cached_name(&self) -> Option<String> {
        let parts = [self.package, self.version, self.architecture];
        let [package, version, architecture] = parts.map(|part| part.replace(':', "%3a"));
        let is_whole = parts.iter().all(|part| !part.is_empty());
        is_whole.then(|| format!("{package}_{version}_{architecture}.deb"))
    }
}

/// Returns the algorithm of a field with a list of files.
fn checksums_of(field: &str) -> Option<&str> {
    match field {
        "Files" => Some("md5"),
        field => field.strip_prefix("Checksums-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://deb.example.org/debian";

    #[test]
    fn binary_package_has_names_of_archive_and_client() {
        let (sha256, md5) = ("ab".repeat(32), "cd".repeat(16));
        let text = format!(
            "Package: x\nVersion: 1:2.0-1\nArchitecture: amd64\nDescription: one\n two: three\n\
             Filename: ./pool/main/x/x_2.0-1_amd64.deb\nSize: 42\nMD5sum: {md5}\n\
             SHA256: {sha256}\n\nPackage: y\n"
        );
        let entries = parse_apt_list(&text, Some(BASE)).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["x_2.0-1_amd64.deb", "x_1%3a2.0-1_amd64.deb"]);
        for entry in &entries {
            let url = entry.target.as_ref().unwrap().as_str();
            assert_eq!(url, format!("{BASE}/pool/main/x/x_2.0-1_amd64.deb"));
            assert_eq!(entry.size_bytes, Some(42));
            let digests = entry.digests.to_string();
            assert!(
                digests.contains(&sha256) && digests.contains(&md5),
                "{digests}"
            );
        }
        let without = parse_apt_list(&text, None).unwrap();
        assert_eq!(without.len(), 2);
        assert!(without.iter().all(|entry| entry.target.is_none()));
    }

    #[test]
    fn source_package_lists_each_file_once() {
        let (sha256, md5) = ("ab".repeat(32), "cd".repeat(16));
        let text = format!(
            "Package: x\nVersion: 2.0-1\nArchitecture: any\nDirectory: pool/main/x/x\nFiles:\n \
             {md5} 7 x_2.0-1.dsc\n {md5} 9 x_2.0.orig.tar.xz\nChecksums-Sha256:\n \
             {sha256} 7 x_2.0-1.dsc\n {sha256} 9 x_2.0.orig.tar.xz\n"
        );
        let entries = parse_apt_list(&text, Some(BASE)).unwrap();
        assert_eq!(entries.len(), 2);
        let (dsc, tar) = (&entries[0], &entries[1]);
        assert_eq!(dsc.name, "x_2.0-1.dsc");
        assert_eq!(tar.size_bytes, Some(9));
        let url = tar.target.as_ref().unwrap().as_str();
        assert_eq!(url, format!("{BASE}/pool/main/x/x/x_2.0.orig.tar.xz"));
        assert!(tar.digests.to_string().contains(&sha256));
    }

    #[test]
    fn bad_line_of_apt_list_is_named() {
        for (text, line) in [
            ("Package: x\nnonsense\n", 2),
            ("Package: x\nSize: many\n", 2),
            ("Package: x\nSHA256: abc\n", 2),
            ("Package: x\n\nChecksums-Sha256:\n abc x\n", 4),
        ] {
            let bad = parse_apt_list(text, None).unwrap_err();
            assert_eq!(bad.line, line, "{text}");
        }
        let md5 = "ab".repeat(16);
        let files = (0..=MAX_SOURCES).map(|number| format!(" {md5} 1 {number}\n"));
        let text = format!("Files:\n{}", files.collect::<Vec<_>>().concat());
        let bad = parse_apt_list(&text, None).unwrap_err();
        assert_eq!((bad.line, bad.reason), (MAX_SOURCES + 2, TOO_MANY));
    }
}
