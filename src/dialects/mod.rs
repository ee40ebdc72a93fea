//! Requests of build systems below `/mirror/<dialect>/`, by their own mirror settings.
//!
//! A dialect is the set of paths that one build system asks a mirror for. This module parses these
//! paths. It must not know HTTP, the cache or origins, and does no I/O. The main type is
//! [`MirrorPath`].

mod by_name;
mod conan;
mod form;
mod gentoo;
mod hashed;
mod homebrew;
mod lookaside;
mod spack;
mod wanted;
mod yocto;

use std::sync::LazyLock;

pub use form::read_form;
pub use lookaside::upload_check;
pub use wanted::Wanted;

/// Folder of the gateway port with a folder for each dialect.
const ROOT: &str = "/mirror";

/// A build system with a mirror setting of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Alpine,
    Buildroot,
    Centos,
    Conan,
    CrosstoolNg,
    EasyBuild,
    Fedora,
    FreeBsd,
    Gentoo,
    Guix,
    Homebrew,
    Nix,
    Opam,
    OpenWrt,
    Spack,
    Vcpkg,
    Void,
    Yocto,
}

impl Dialect {
    /// All dialects, in the order of their names.
    pub const ALL: [Self; 18] = [
        Self::Alpine,
        Self::Buildroot,
        Self::Centos,
        Self::Conan,
        Self::CrosstoolNg,
        Self::EasyBuild,
        Self::Fedora,
        Self::FreeBsd,
        Self::Gentoo,
        Self::Guix,
        Self::Homebrew,
        Self::Nix,
        Self::Opam,
        Self::OpenWrt,
        Self::Spack,
        Self::Vcpkg,
        Self::Void,
        Self::Yocto,
    ];

    /// Returns the name of the dialect in paths.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alpine => "alpine",
            Self::Buildroot => "buildroot",
            Self::Centos => "centos",
            Self::Conan => "conan",
            Self::CrosstoolNg => "crosstool-ng",
            Self::EasyBuild => "easybuild",
            Self::Fedora => "fedora",
            Self::FreeBsd => "freebsd",
            Self::Gentoo => "gentoo",
            Self::Guix => "guix",
            Self::Homebrew => "homebrew",
            Self::Nix => "nix",
            Self::Opam => "opam",
            Self::OpenWrt => "openwrt",
            Self::Spack => "spack",
            Self::Vcpkg => "vcpkg",
            Self::Void => "void",
            Self::Yocto => "yocto",
        }
    }

    /// Returns what an undecoded path and query behind the dialect ask for. Only Homebrew asks with
    /// a query, which is that of the file's URL.
    #[must_use]
    pub fn wanted(self, path_and_query: &str) -> Wanted {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match self {
            Self::Alpine
            | Self::Buildroot
            | Self::CrosstoolNg
            | Self::EasyBuild
            | Self::FreeBsd
            | Self::OpenWrt
            | Self::Void => by_name::wanted(self, &segments),
            Self::Centos | Self::Fedora => lookaside::wanted(&segments),
            Self::Conan => conan::wanted(&segments),
            Self::Gentoo => gentoo::wanted(&segments),
            Self::Guix => hashed::guix(&segments),
            Self::Homebrew => homebrew::wanted(path_and_query, &segments),
            Self::Nix => hashed::nix(&segments),
            Self::Opam => hashed::opam(&segments),
            Self::Spack => spack::wanted(&segments),
            Self::Vcpkg => hashed::vcpkg(&segments),
            Self::Yocto => yocto::wanted(&segments),
        }
    }
}

/// Path below `/mirror/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorPath<'a> {
    /// Files of a build system. The path and query begin behind the slash after the dialect, and
    /// are undecoded.
    Files(Dialect, &'a str),
    /// The path names no dialect.
    Unknown,
}

impl<'a> MirrorPath<'a> {
    /// Parses an undecoded path and query. Returns `None` if it is not below `/mirror/`.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        let rest = match rest.strip_prefix('/') {
            Some(rest) => rest,
            None if rest.is_empty() || rest.starts_with('?') => "",
            None => return None,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let dialect = Dialect::ALL
            .into_iter()
            .find(|dialect| dialect.name() == name);
        Some(dialect.map_or(Self::Unknown, |dialect| Self::Files(dialect, rest)))
    }
}

/// Returns the text for a path that names no dialect. It lists those that exist.
#[must_use]
pub fn unknown_dialect() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let names = Dialect::ALL.map(Dialect::name).join(", ");
        format!("the path names no dialect; use /mirror/<dialect>/ with one of: {names}")
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_folder() {
        for dialect in Dialect::ALL {
            let path = format!("/mirror/{}/a/b.tar.gz", dialect.name());
            let parsed = MirrorPath::parse(&path);
            assert_eq!(parsed, Some(MirrorPath::Files(dialect, "a/b.tar.gz")));
        }
    }

    #[test]
    fn other_paths_are_no_mirror() {
        for path in [
            "/",
            "/mirrors/x",
            "/mirror.example.org/x",
            "/https://h/mirror/x",
        ] {
            assert_eq!(MirrorPath::parse(path), None, "{path}");
        }
        for path in [
            "/mirror",
            "/mirror/",
            "/mirror/x",
            "/mirror//gentoo/x",
            "/mirror/Gentoo/x",
        ] {
            assert_eq!(MirrorPath::parse(path), Some(MirrorPath::Unknown), "{path}");
        }
    }

    #[test]
    fn query_is_no_part_of_names() {
        let parsed = MirrorPath::parse("/mirror/vcpkg?x=/y");
        assert_eq!(parsed, Some(MirrorPath::Files(Dialect::Vcpkg, "?x=/y")));
        let named = Dialect::OpenWrt.wanted("x-1.0.tar.gz?a=/b");
        assert_eq!(named, Wanted::name("x-1.0.tar.gz"));
        let url = Dialect::Homebrew.wanted("https://h/get?file=x");
        assert_eq!(url, Wanted::Url("/https://h/get?file=x".to_owned()));
    }

    #[test]
    fn names_are_sorted() {
        assert!(Dialect::ALL.map(Dialect::name).is_sorted());
    }
}
