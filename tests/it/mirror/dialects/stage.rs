//! A gateway that knows one file from a list, and its origin.

use std::time::{Duration, Instant};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use crate::harness::{Answer, Body, Gateway, Origin, Reply, archive, sha256};

/// Name of the file at its origin.
pub const NAME: &str = "hello-2.10.tar.gz";

/// Longest time in which a file without a known target is refused.
const MAX_REFUSAL: Duration = Duration::from_secs(2);

/// Digits of nix-base32, by value.
const NIX_BASE32: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A gateway, an origin with one file, and the digests of the file.
pub struct Stage {
    pub origin: Origin,
    pub gateway: Gateway,
    pub body: Body,
    pub path: String,
}

impl Stage {
    pub fn new() -> Self {
        Self::of(Reply::file)
    }

    /// Starts a stage whose origin answers with this reply.
    pub fn of(reply: impl Fn(&Body) -> Reply) -> Self {
        let origin = Origin::start();
        let body = archive(7, 300_000);
        let path = format!("/gnu/hello/{NAME}");
        origin.serve(&path, reply(&body));
        let gateway = Gateway::relaying(&origin);
        Self {
            origin,
            gateway,
            body,
            path,
        }
    }

    /// Imports a list with the URL of the file and all its digests.
    #[track_caller]
    pub fn import(&self) {
        for hex in [self.sha512(), sha256(&self.body), self.sha1(), self.md5()] {
            self.import_digest(&hex);
        }
    }

    #[track_caller]
    pub fn import_digest(&self, hex: &str) {
        let list = format!("{hex}  {}\n", self.origin.url(&self.path));
        let imported = self.gateway.operate("PUT", "/api/v1/catalog?format=sums");
        let imported = imported.body(list.as_bytes()).send().json();
        assert_eq!(imported["entries"], 1);
    }

    pub fn sha512(&self) -> String {
        hex::encode(Sha512::digest(&self.body))
    }

    pub fn sha256(&self) -> String {
        sha256(&self.body)
    }

    pub fn sha1(&self) -> String {
        hex::encode(Sha1::digest(&self.body))
    }

    pub fn md5(&self) -> String {
        hex::encode(Md5::digest(&self.body))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.gateway.request("GET", path).send()
    }

    /// Asserts one row of a dialect: a path of the file, and one of a file without a target.
    #[track_caller]
    pub fn assert_row(&self, path: &str, unknown: &str) {
        let before = self.origin.total();
        let began = Instant::now();
        self.get(unknown).assert_problem(404);
        assert!(began.elapsed() < MAX_REFUSAL, "{unknown} was refused late");
        assert_eq!(self.origin.total(), before, "{unknown} asked the origin");
        self.get(path).assert_body(200, &self.body);
        self.gateway.await_stored(&self.origin.url(&self.path));
        assert_eq!(self.origin.count(&self.path), 1, "{path}");
        self.assert_hit(path);
    }

    /// Asserts the responses to requests for the stored file.
    #[track_caller]
    pub fn assert_hit(&self, path: &str) {
        let hit = self.get(path);
        hit.assert_body(200, &self.body);
        hit.assert_cache(&["hit"]);
        assert_eq!(hit.wants("content-length"), self.body.len().to_string());
        let head = self.gateway.request("HEAD", path).send();
        head.assert_status(200);
        assert_eq!(head.wants("content-length"), self.body.len().to_string());
        let part = self.gateway.request("GET", path).range("bytes=1000-1999");
        part.send().assert_body(206, &self.body[1000..2000]);
        assert_eq!(self.origin.count(&self.path), 1, "{path}");
    }
}

/// Returns a digest in nix-base32.
pub fn base32(hex: &str) -> String {
    let bytes = hex::decode(hex).expect("it is hexadecimal");
    let digits = (bytes.len() * 8).div_ceil(5);
    let digit = |index: usize| {
        let (byte, shift) = (index * 5 / 8, index * 5 % 8);
        let next = bytes.get(byte + 1).copied().unwrap_or_default();
        let pair = u16::from(bytes[byte]) | u16::from(next) << 8;
        char::from(NIX_BASE32[usize::from((pair >> shift) & 31)])
    };
    (0..digits).rev().map(digit).collect()
}
