//! Names of the indexes of package systems. An index keeps its name and gets new bytes.
//!
//! Systems whose indexes have no file name of their own (npm, the pages of PyPI, the sparse index
//! of cargo) have no row.

use std::fmt;

use super::version_marks::is_dated;
use Form::{Around, Folder, In, Name};

/// Package system, or another source of lists that keep their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct System(&'static str);

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Pattern of an index name, in lower case. One compression suffix may follow the name.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Exactly this name.
    Name(&'static str),
    /// Prefix and suffix of a name. Between them are one byte or more, without a dot or a date.
    Around(&'static str, &'static str),
    /// Folder, and the name in it.
    In(&'static str, &'static str),
    /// Every name in this folder that does not begin with a digest.
    Folder(&'static str),
}

/// Suffixes of compressed files. Containers (`.tar`, `.zip`, `.jar`) are part of a name.
const COMPRESSIONS: [&str; 11] = [
    ".gz", ".xz", ".bz2", ".zst", ".lzma", ".lz", ".lz4", ".zck", ".br", ".z", ".rz",
];

/// Hex digits of the shortest digest that may precede a name (MD5).
const MIN_DIGEST_HEX: usize = 32;

/// All index names, one row for each pattern.
const FORMS: &[(&str, Form)] = &[
    ("Android repositories", Around("addons_list-", ".xml")),
    ("Android repositories", Around("repository-", ".xml")),
    ("Android repositories", Around("repository2-", ".xml")),
    ("Android repositories", Around("sys-img-", ".xml")),
    ("Android repositories", Around("sys-img2-", ".xml")),
    ("apk", Name("apkindex.tar")),
    ("apk", Name("packages.adb")),
    ("apt", Around("cid-index-", ".json")),
    ("apt", Around("commands-", "")),
    ("apt", Around("components-", ".yml")),
    ("apt", Around("contents-", "")),
    ("apt", Around("pkglist.", "")),
    ("apt", Around("srclist.", "")),
    ("apt", Around("translation-", "")),
    ("apt", In("dep11", "icons-128x128.tar")),
    ("apt", In("dep11", "icons-128x128@2.tar")),
    ("apt", In("dep11", "icons-48x48.tar")),
    ("apt", In("dep11", "icons-48x48@2.tar")),
    ("apt", In("dep11", "icons-64x64.tar")),
    ("apt", In("dep11", "icons-64x64@2.tar")),
    ("apt", In("dep11", "icons.tar")),
    ("apt", Name("contents")),
    ("apt", Name("inrelease")),
    ("apt", Name("packages")),
    ("apt", Name("release")),
    ("apt", Name("sources")),
    ("AUR", Name("packages-meta-ext-v1.json")),
    ("AUR", Name("packages-meta-v1.json")),
    ("AUR", Name("pkgbase")),
    ("checksum lists", Name("b2sums")),
    ("checksum lists", Name("checksum")),
    ("checksum lists", Name("checksum.txt")),
    ("checksum lists", Name("checksums")),
    ("checksum lists", Name("checksums.txt")),
    ("checksum lists", Name("md5")),
    ("checksum lists", Name("md5sum")),
    ("checksum lists", Name("md5sum.txt")),
    ("checksum lists", Name("md5sums")),
    ("checksum lists", Name("md5sums.txt")),
    ("checksum lists", Name("sha1")),
    ("checksum lists", Name("sha1sum.txt")),
    ("checksum lists", Name("sha1sums")),
    ("checksum lists", Name("sha1sums.txt")),
    ("checksum lists", Name("sha256sum")),
    ("checksum lists", Name("sha256sum.txt")),
    ("checksum lists", Name("sha256sums")),
    ("checksum lists", Name("sha256sums.txt")),
    ("checksum lists", Name("sha512")),
    ("checksum lists", Name("sha512sum")),
    ("checksum lists", Name("sha512sum.txt")),
    ("checksum lists", Name("sha512sums")),
    ("checksum lists", Name("sha512sums.txt")),
    ("checksum lists", Name("shasums")),
    ("checksum lists", Name("shasums.txt")),
    ("checksum lists", Name("shasums256.txt")),
    ("checksum lists", Name("shasums512.txt")),
    ("Composer", Name("packages.json")),
    ("conda", Name("channeldata.json")),
    ("conda", Name("current_repodata.json")),
    ("conda", Name("patch_instructions.json")),
    ("conda", Name("repodata.json")),
    ("conda", Name("repodata_from_packages.json")),
    ("conda", Name("repodata_shards.msgpack")),
    ("conda", Name("run_exports.json")),
    ("CPAN", Around("recent-", ".json")),
    ("CPAN", Name("00whois.xml")),
    ("CPAN", Name("01mailrc.txt")),
    ("CPAN", Name("02authors.txt")),
    ("CPAN", Name("02packages.details.txt")),
    ("CPAN", Name("03modlist.data")),
    ("CPAN", Name("06perms.txt")),
    ("CPAN", Name("08pumpking.txt")),
    ("CPAN", Name("find-ls")),
    ("CRAN", In("meta", "archive.rds")),
    ("CRAN", In("meta", "current.rds")),
    ("CRAN", Name("packages.rds")),
    ("CTAN", Name("files.bydate")),
    ("CTAN", Name("files.byname")),
    ("CTAN", Name("files.last07days")),
    ("Cygwin", Name("setup")),
    ("Cygwin", Name("setup-x86.exe")),
    ("Cygwin", Name("setup-x86_64.exe")),
    ("Cygwin", Name("setup.exe")),
    ("Cygwin", Name("setup.ini")),
    ("ELPA", Name("archive-contents")),
    ("ELPA", Name("elpa-packages.eld")),
    ("eopkg", Name("eopkg-index.xml")),
    ("eopkg", Name("pisi-index.xml")),
    ("F-Droid", Name("entry.jar")),
    ("F-Droid", Name("entry.json")),
    ("F-Droid", Name("index-v1.jar")),
    ("F-Droid", Name("index-v1.json")),
    ("F-Droid", Name("index-v2.json")),
    ("F-Droid", Name("index.jar")),
    ("F-Droid", Name("index.xml")),
    ("F-Droid", Name("signer-index.jar")),
    ("FreeBSD", Around("index-", "")),
    ("FreeBSD", Name("data.pkg")),
    ("FreeBSD", Name("data.txz")),
    ("FreeBSD", Name("data.tzst")),
    ("FreeBSD", Name("digests.txz")),
    ("FreeBSD", Name("filesite.pkg")),
    ("FreeBSD", Name("filesite.txz")),
    ("FreeBSD", Name("meta.conf")),
    ("FreeBSD", Name("meta.pkg")),
    ("FreeBSD", Name("meta.txz")),
    ("FreeBSD", Name("packagesite.pkg")),
    ("FreeBSD", Name("packagesite.txz")),
    ("FreeBSD", Name("packagesite.tzst")),
    ("FreeBSD", Name("packagesite.yaml")),
    ("FreeBSD", Name("vuln.xml")),
    ("Gentoo", Name("manifest.files")),
    ("Go", In("@v", "list")),
    ("Go", Name("@latest")),
    ("Hackage", Name("00-index.tar")),
    ("Hackage", Name("01-index.tar")),
    ("Hackage", Name("mirrors.json")),
    ("Hackage", Name("root.json")),
    ("Hackage", Name("snapshot.json")),
    ("Hackage", Name("timestamp.json")),
    ("Helm", Name("index.yaml")),
    ("Homebrew", Name("cask.json")),
    ("Homebrew", Name("cask.jws.json")),
    ("Homebrew", Name("formula.json")),
    ("Homebrew", Name("formula.jws.json")),
    ("Julia", Name("registries")),
    ("Julia", Name("registries.eager")),
    ("LuaRocks", Around("manifest-5.", "")),
    ("LuaRocks", Around("manifest-5.", ".json")),
    ("LuaRocks", Around("manifest-5.", ".zip")),
    ("LuaRocks", Name("manifest.json")),
    ("LuaRocks", Name("manifest.zip")),
    ("Maven", Around("maven-metadata-", ".xml")),
    ("Maven", Name("archetype-catalog.xml")),
    ("Maven", Name("maven-metadata.xml")),
    ("Maven", Name("nexus-maven-repository-index")),
    ("Maven", Name("nexus-maven-repository-index.properties")),
    ("mirror listings", Name("fullfilelist")),
    ("mirror listings", Name("fullfiletimelist")),
    ("mirror listings", Name("ls-lr")),
    ("Nix channels", Around("", ".narinfo")),
    ("Nix channels", Name("nix-cache-info")),
    ("Nix channels", Name("nixexprs.tar")),
    ("Nix channels", Name("options.json")),
    ("Nix channels", Name("programs.sqlite")),
    ("Nix channels", Name("store-paths")),
    ("Node.js", In("dist", "index.json")),
    ("Node.js", In("dist", "index.tab")),
    ("NuGet", In("v3", "index.json")),
    ("opam", Name("index.tar")),
    ("opam", Name("urls.txt")),
    ("OpenBSD", Name("index.txt")),
    ("OpenBSD", Name("sha256")),
    ("opkg", Name("packages.manifest")),
    ("opkg", Name("packages.stamps")),
    ("opkg", Name("profiles.json")),
    ("ostree", Name("summary")),
    ("ostree", Name("summary.idx")),
    ("p2", Name("artifacts.jar")),
    ("p2", Name("artifacts.xml")),
    ("p2", Name("compositeartifacts.jar")),
    ("p2", Name("compositeartifacts.xml")),
    ("p2", Name("compositecontent.jar")),
    ("p2", Name("compositecontent.xml")),
    ("p2", Name("content.jar")),
    ("p2", Name("content.xml")),
    ("p2", Name("p2.index")),
    ("p2", Name("site.xml")),
    ("pacman", Around("", ".db")),
    ("pacman", Around("", ".db.tar")),
    ("pacman", Around("", ".files")),
    ("pacman", Around("", ".files.tar")),
    ("pkgsrc", Name("pkg-vulnerabilities")),
    ("pkgsrc", Name("pkg_summary")),
    ("pkgsrc", Name("pkgsrc.tar")),
    ("poldek", Name("packages.dir")),
    ("poldek", Name("packages.ndir")),
    ("registries of ids", Name("cacert.pem")),
    ("registries of ids", Name("effective_tld_names.dat")),
    ("registries of ids", Name("oui.txt")),
    ("registries of ids", Name("pci.ids")),
    ("registries of ids", Name("pnp.ids")),
    ("registries of ids", Name("public_suffix_list.dat")),
    ("registries of ids", Name("root.zone")),
    ("registries of ids", Name("usb.ids")),
    ("rpm-md", Folder("repodata")),
    ("rpm-md", Name("metalink")),
    ("rpm-md", Name("mirrorlist")),
    ("rpm-md", Name("repomd.xml")),
    ("RubyGems", Name("latest_specs.4.8")),
    ("RubyGems", Name("marshal.4.8")),
    ("RubyGems", Name("prerelease_specs.4.8")),
    ("RubyGems", Name("specs.4.8")),
    ("rustup", Around("channel-rust-", ".toml")),
    ("rustup", In("rustup", "release-stable.toml")),
    ("Slackware", Name("changelog.txt")),
    ("Slackware", Name("file_list")),
    ("Slackware", Name("filelist.txt")),
    ("Slackware", Name("manifest")),
    ("Slackware", Name("packages.txt")),
    ("TeX Live", Folder("tlnet/archive")),
    ("TeX Live", In("tlnet", "install-tl-unx.tar")),
    ("TeX Live", In("tlnet", "install-tl-windows.exe")),
    ("TeX Live", In("tlnet", "install-tl.zip")),
    ("TeX Live", Name("texlive.tlpdb")),
    ("urpmi", Folder("media_info")),
    ("xbps", Around("", "-repodata")),
    ("xbps", Around("", "-stagedata")),
    ("YaST", Folder("setup/descr")),
    ("YaST", Name("archives")),
    ("YaST", Name("content")),
    ("YaST", Name("directory.yast")),
];

/// Returns the system whose index has this name.
///
/// `folder` is the path before the name. Both are in lower case.
pub fn find_system(folder: &str, name: &str) -> Option<System> {
    if name.is_empty() {
        return None;
    }
    let plain = COMPRESSIONS
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    let row = FORMS.iter().find(|(_, form)| match *form {
        Name(index) => plain == index,
        Around(start, end) => is_around(plain, start, end),
        In(parent, index) => plain == index && ends_with_folder(folder, parent),
        Folder(parent) => ends_with_folder(folder, parent) && !begins_with_digest(name),
    });
    row.map(|(system, _)| System(system))
}

fn is_around(name: &str, start: &str, end: &str) -> bool {
    let middle = name
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end))
        .unwrap_or_default();
    !middle.is_empty() && !middle.contains('.') && !is_dated(middle)
}

fn ends_with_folder(path: &str, folder: &str) -> bool {
    path.strip_suffix(folder)
        .is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn begins_with_digest(name: &str) -> bool {
    name.bytes().take_while(u8::is_ascii_hexdigit).count() >= MIN_DIGEST_HEX
}
