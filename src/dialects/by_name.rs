//! Dialects whose paths end with the name of the file: Alpine, Buildroot, crosstool-ng,
//! `EasyBuild`, FreeBSD, `OpenWrt` and Void.
//!
//! The folders before it are the release, the package or the folder of distfiles. A catalog that
//! knows the name needs none of them.

use super::{Dialect, Wanted};

/// Returns what a path asks for: `<file>` behind so many folders as the dialect has at most.
pub fn wanted(dialect: Dialect, segments: &[&str]) -> Wanted {
    let max_folders = match dialect {
        // `/v3.20/<file>`, `/<package>/<file>` and `/<package>-<version>/<file>`.
        Dialect::Alpine | Dialect::Buildroot | Dialect::CrosstoolNg | Dialect::Void => 1,
        // `/<first letter>/<Name>/<file>`
        Dialect::EasyBuild => 2,
        // `DIST_SUBDIR` has several folders at times.
        Dialect::FreeBsd => 4,
        // OpenWrt and the others know no folders.
        _ => 0,
    };
    match segments {
        [folders @ .., name] if folders.len() <= max_folders => Wanted::name(name),
        _ => Wanted::Nothing,
    }
}
