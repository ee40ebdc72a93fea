//! What can be seen from outside of processes that claim one target.

use std::fs;
use std::path::PathBuf;

use super::{Gateway, eventually, sha256};

impl Gateway {
    /// The file of the claim on a target.
    pub fn claim_of(&self, url: &str) -> PathBuf {
        self.cache().join("locks").join(sha256(url.as_bytes()))
    }

    /// Waits until this process waits for the claim on a target that another holds.
    #[track_caller]
    pub fn await_at_claim(&self, url: &str) {
        let (claim, open) = (self.claim_of(url), format!("/proc/{}/fd", self.pid()));
        let is_claim = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|path| path == claim);
        eventually("the claim is waited for", || {
            fs::read_dir(&open).expect("the process runs").flatten().any(is_claim).then_some(())
        });
    }

    /// Asserts that exactly one of the processes has fetched it, and that the others have found it.
    #[track_caller]
    pub fn assert_one_fetched(gateways: &[&Self], url: &str) {
        let mut fetches: Vec<_> = gateways.iter().map(|gateway| gateway.await_fetch(url)).collect();
        fetches.sort_by_key(|fetch| fetch["attempts"].as_u64());
        let stored = fetches.pop().expect("there is a gateway");
        assert_eq!(stored["outcome"], "stored", "{stored}");
        for fetch in fetches {
            assert_eq!((fetch["outcome"].as_str(), fetch["attempts"].as_u64()), (Some("found"), Some(0)), "{fetch}");
        }
    }
}
