//! Gentoo, by `GENTOO_MIRRORS`: `/distfiles/layout.conf`, then `/distfiles/<path>` (GLEP 75).
//!
//! The layout names three structures. Portage uses the first one that it knows.

use blake2::{Blake2b512, Digest as _};

use super::Wanted;
use crate::catalog::FileName;
use crate::model::{Algorithm, Digest};

/// Text of `layout.conf`.
const LAYOUT: &str =
    "[structure]\n0=filename-hash BLAKE2B 8\n1=content-hash SHA512 8:8:8\n2=flat\n";

/// Returns what a path asks for.
pub fn wanted(segments: &[&str]) -> Wanted {
    let ["distfiles", path @ ..] = segments else {
        return Wanted::Nothing;
    };
    match path {
        ["layout.conf"] => Wanted::Layout(LAYOUT),
        [name] => Wanted::name(name),
        [folder, name] if is_folder_of(folder, name) => Wanted::name(name),
        [one, two, three, hex] => {
            let is_begin = hex.starts_with(&[*one, *two, *three].concat());
            let folders = [one, two, three];
            let is_path = is_begin && folders.iter().all(|folder| is_byte(folder));
            Wanted::digest(
                Digest::parse(Algorithm::Sha512, hex)
                    .ok()
                    .filter(|_| is_path),
            )
        }
        _ => Wanted::Nothing,
    }
}

/// Returns whether a folder is named by the first eight bits of the BLAKE2B of a file name.
fn is_folder_of(folder: &str, segment: &str) -> bool {
    FileName::from_segment(segment).is_some_and(|name| {
        let digest = Blake2b512::digest(name.as_str());
        folder == hex::encode(&digest[..1])
    })
}

/// Returns whether a folder is named by eight bits in hexadecimal.
fn is_byte(folder: &str) -> bool {
    folder.len() == 2 && folder.bytes().all(|byte| byte.is_ascii_hexdigit())
}
