//! Inspection of the leases that several processes hold on one target.

use std::fs;
use std::path::PathBuf;

use super::{Gateway, eventually, sha256};

impl Gateway {
    /// Returns the path of a target's lease file.
    pub fn lease_of(&self, url: &str) -> PathBuf {
        self.cache().join("leases").join(sha256(url.as_bytes()))
    }

    /// Waits until this process has opened the lease file of a target that another process holds.
    #[track_caller]
    pub fn await_at_lease(&self, url: &str) {
        let (lease, open) = (self.lease_of(url), format!("/proc/{}/fd", self.pid()));
        let is_lease =
            |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|path| path == lease);
        eventually("the process waits for the lease", || {
            fs::read_dir(&open)
                .expect("the process runs")
                .flatten()
                .any(is_lease)
                .then_some(())
        });
    }

    /// Asserts that exactly one process fetched the target and that the others found it stored.
    #[track_caller]
    pub fn assert_one_fetched(gateways: &[&Self], url: &str) {
        let mut fetches: Vec<_> = gateways
            .iter()
            .map(|gateway| gateway.await_fetch(url))
            .collect();
        fetches.sort_by_key(|fetch| fetch["attempts"].as_u64());
        let stored = fetches.pop().expect("there is a gateway");
        assert_eq!(stored["outcome"], "stored", "{stored}");
        for fetch in fetches {
            assert_eq!(
                (fetch["outcome"].as_str(), fetch["attempts"].as_u64()),
                (Some("already_stored"), Some(0)),
                "{fetch}"
            );
        }
    }
}
