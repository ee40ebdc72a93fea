//! Table of all clients. Each has a text in `texts/`.

use super::setup::{ClientGroup, ClientSetup};

macro_rules! client {
    ($group:ident, $name:literal, $title:literal) => {
        ClientSetup {
            name: $name,
            title: $title,
            group: ClientGroup::$group,
            template: include_str!(concat!("texts/", $name, ".txt")),
        }
    };
}

/// All clients, by group and name.
pub const CLIENTS: [ClientSetup; 44] = [
    client!(Downloads, "aria2", "aria2"),
    client!(Downloads, "curl", "curl"),
    client!(Downloads, "git", "git"),
    client!(Downloads, "http-proxy", "Programs with http_proxy"),
    client!(Downloads, "wget", "GNU Wget"),
    client!(BuildSystems, "alpine", "abuild of Alpine"),
    client!(BuildSystems, "bazel", "Bazel"),
    client!(BuildSystems, "buildroot", "Buildroot"),
    client!(BuildSystems, "conan", "Conan 2"),
    client!(BuildSystems, "crosstool-ng", "crosstool-NG"),
    client!(BuildSystems, "easybuild", "EasyBuild"),
    client!(
        BuildSystems,
        "fedora",
        "Sources of dist-git (fedpkg, centpkg)"
    ),
    client!(BuildSystems, "freebsd", "Ports of FreeBSD"),
    client!(BuildSystems, "gentoo", "Portage of Gentoo"),
    client!(BuildSystems, "guix", "GNU Guix"),
    client!(BuildSystems, "homebrew", "Homebrew"),
    client!(BuildSystems, "makepkg", "makepkg of Arch Linux"),
    client!(BuildSystems, "meson", "Wraps of Meson"),
    client!(BuildSystems, "nix", "Nix"),
    client!(BuildSystems, "obs", "Open Build Service"),
    client!(BuildSystems, "opam", "opam"),
    client!(BuildSystems, "openwrt", "OpenWrt"),
    client!(BuildSystems, "rpm-spec", "Spec files of RPM packages"),
    client!(BuildSystems, "rpmbuild", "rpmbuild"),
    client!(BuildSystems, "spack", "Spack"),
    client!(BuildSystems, "vcpkg", "vcpkg"),
    client!(BuildSystems, "void", "xbps-src of Void Linux"),
    client!(BuildSystems, "yocto", "Yocto and OpenEmbedded"),
    client!(PackageManagers, "apt", "APT of Debian and Ubuntu"),
    client!(PackageManagers, "cargo", "Cargo"),
    client!(PackageManagers, "conda", "conda"),
    client!(PackageManagers, "cpan", "cpanm"),
    client!(PackageManagers, "cran", "R"),
    client!(PackageManagers, "dnf", "DNF and yum"),
    client!(PackageManagers, "gem", "RubyGems and Bundler"),
    client!(PackageManagers, "go", "Modules of Go"),
    client!(PackageManagers, "gradle", "Gradle"),
    client!(PackageManagers, "hackage", "cabal"),
    client!(PackageManagers, "maven", "Maven"),
    client!(PackageManagers, "npm", "npm, yarn and pnpm"),
    client!(PackageManagers, "pacman", "pacman of Arch Linux"),
    client!(PackageManagers, "pip", "pip"),
    client!(PackageManagers, "uv", "uv"),
    client!(PackageManagers, "zypper", "zypper"),
];
