#!/bin/bash
# Builds the packages of Millpond into target/packages.
#
#     scripts/package.sh                 the .deb and the .rpm, each with one for the debug sections
#     scripts/package.sh deb|rpm         one kind only
#     scripts/package.sh source          a source .rpm, which builds without a network: the sources,
#                                     those of all dependencies, and the spec file
#
# Variables: MILLPOND is an existing binary to be packaged, otherwise Cargo builds the release.
# PACKAGE_RELEASE is the revision of the package (1). FAST=yes compresses little, for tests.
# Needs dpkg-deb for the .deb, rpmbuild for the .rpm, binutils and Python 3. Root is not needed.
# The .rpm takes its files from the last commit, and the .deb from the checkout.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

case ${1:-all} in
    all) kinds=(deb rpm) ;;
    deb | rpm | source) kinds=("$1") ;;
    *) echo "usage: scripts/package.sh [deb|rpm|source]" >&2; exit 2 ;;
esac
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
release=${PACKAGE_RELEASE:-1}
packages=$target/packages
work=$(mktemp -d "$target/packaging.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$packages"
# All files of a package have the date of the sources, so that two builds yield the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

find_binary() {
    binary=${MILLPOND:-}
    if [ -z "$binary" ]; then
        cargo build --locked --release
        binary=$target/release/millpond
    fi
    binary=$(realpath "$binary")
}

# --- .deb ---

# Prints the packages of the shared libraries. The first release of Debian with this version of
# glibc can run the program.
libraries() {
    local library glibc
    glibc=$(objdump --dynamic-syms "$binary" | grep -o 'GLIBC_2[0-9.]*' | sort --version-sort | tail -n 1)
    echo "libc6 (>= ${glibc#GLIBC_})"
    for library in $(objdump --private-headers "$binary" | sed -n 's/^ *NEEDED *//p'); do
        case $library in
            libc.so.* | libm.so.* | ld-linux*) ;;
            libgcc_s.so.1) echo "libgcc-s1" ;;
            *) echo "no Debian package is known for $library" >&2; exit 1 ;;
        esac
    done
}

# Builds the package in the folder $1 with the control file $2.
deb() {
    local root=$1 control=$2 needs size
    needs=$(libraries | paste --serial --delimiters=, | sed 's/,/, /g')
    size=$(du --summarize --apparent-size --block-size=1024 "$root" | cut --fields=1)
    mkdir -p "$root/DEBIAN"
    sed -e "s|@VERSION@|$version-$release|" -e "s|@ARCHITECTURE@|$(dpkg --print-architecture)|" \
        -e "s|@SIZE@|$size|" -e "s|@LIBRARIES@|$needs|" "$control" >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f -exec md5sum {} +) | LC_ALL=C sort --key=2 >"$root/DEBIAN/md5sums"
    find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz ${FAST:+-z1} --build "$root" "$packages"
}

build_deb() {
    local root=$work/deb script
    packaging/stage.sh "$binary" "$root" deb
    mkdir -p "$root-debug/usr/lib" "$root/DEBIAN"
    mv "$root/usr/lib/debug" "$root-debug/usr/lib/debug"
    for script in postinst prerm postrm; do
        install --mode=755 packaging/debian/$script "$root/DEBIAN/$script"
    done
    (cd "$root" && find etc -type f -printf '/%p\n') | LC_ALL=C sort >"$root/DEBIAN/conffiles"
    deb "$root" packaging/debian/control
    deb "$root-debug" packaging/debian/control-dbgsym
}

# --- .rpm ---

pack_sources() {
    mkdir -p "$work/SOURCES"
    git archive --format=tar.gz --prefix="millpond-$version/" HEAD >"$work/SOURCES/millpond-$version.tar.gz"
}

# rpmbuild with folders of its own.
rpm_build() {
    rpmbuild --define "_topdir $work" --define "millpond_version $version" --define "millpond_release $release" \
        --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
        --define "_buildhost localhost" ${FAST:+--define "_binary_payload w1.gzdio"} \
        "$@" packaging/millpond.spec
}

build_rpm() {
    pack_sources
    rpm_build -bb --define "millpond_binary $binary"
    cp "$work"/RPMS/*/*.rpm "$packages"
}

build_source() {
    pack_sources
    mkdir "$work/vendor"
    cargo vendor --locked --versioned-dirs "$work/vendor/vendor" >"$work/vendor/vendor.toml"
    # The folder is that of the unpacked sources.
    sed -i 's|^directory = .*|directory = "vendor"|' "$work/vendor/vendor.toml"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        --directory="$work/vendor" vendor vendor.toml |
        xz --threads=0 ${FAST:+-0} >"$work/SOURCES/millpond-$version-vendor.tar.xz"
    # The compiler need not be a package, and nothing is compiled here.
    rpm_build -bs --nodeps
    cp "$work"/SRPMS/*.src.rpm "$packages"
}

case ${kinds[0]} in
    source) ;;
    *) find_binary ;;
esac
for kind in "${kinds[@]}"; do
    "build_$kind"
done
[ "${kinds[0]}" = source ] || packaging/sbom.py >"$packages/millpond-$version.cdx.json"
ls -l "$packages"
