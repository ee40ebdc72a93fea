//! Dialects whose paths state a digest only: Guix, Nix, opam and vcpkg.

use super::Wanted;
use crate::model::{Algorithm, Digest};

/// Returns what a path of Nix asks for: `/<algorithm>/<digest>` in hexadecimal or nix-base32, and
/// `sha256-<base64>`, which may contain slashes.
pub fn nix(segments: &[&str]) -> Wanted {
    match segments {
        [algorithm, text] if let Ok(algorithm) = algorithm.parse() => {
            let digest = Digest::from_text(algorithm, text);
            Wanted::digest(digest.or_else(|| Digest::from_integrity(text)))
        }
        [.., _] => Wanted::digest(Digest::from_integrity(&segments.join("/"))),
        [] => Wanted::Nothing,
    }
}

/// Returns what a path of Guix asks for: `/file/<name>/<algorithm>/<digest>`, or the last two.
pub fn guix(segments: &[&str]) -> Wanted {
    match segments {
        ["file", name, algorithm, text] => {
            let algorithm: Option<Algorithm> = algorithm.parse().ok();
            let digest = algorithm.and_then(|algorithm| Digest::from_text(algorithm, text));
            Wanted::name_and_digest(name, digest)
        }
        [_, _] => nix(segments),
        _ => Wanted::Nothing,
    }
}

/// Returns what a path of opam asks for: `/<algorithm>/<two digits>/<hex>`.
pub fn opam(segments: &[&str]) -> Wanted {
    match segments {
        [algorithm, folder, hex] if folder.len() == 2 && hex.starts_with(folder) => {
            let algorithm: Option<Algorithm> = algorithm.parse().ok();
            Wanted::digest(algorithm.and_then(|algorithm| Digest::parse(algorithm, hex).ok()))
        }
        _ => Wanted::Nothing,
    }
}

/// Returns what a path of vcpkg asks for: `/<sha512>`.
pub fn vcpkg(segments: &[&str]) -> Wanted {
    match segments {
        [hex] => Wanted::digest(Digest::parse(Algorithm::Sha512, hex).ok()),
        _ => Wanted::Nothing,
    }
}
