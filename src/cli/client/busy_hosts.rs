//! The hosts of the files that a gateway has stored lately, from its events.
//!
//! The main type is [`BusyHosts`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use url::Url;

use super::api_client::ApiClient;
use super::table::text;
use crate::model::lock;

/// Time for which a stored file counts.
const WINDOW: Duration = Duration::from_mins(1);

/// Bound on the files that are kept. Beyond it, the oldest are forgotten.
const MAX_FILES: usize = 10_000;

/// Longest line of a gateway, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Files of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostShare {
    pub host: String,
    pub files: u64,
    pub bytes: u64,
}

/// Recently stored files.
#[derive(Debug, Default)]
pub struct BusyHosts {
    files: VecDeque<StoredFile>,
}

#[derive(Debug)]
struct StoredFile {
    at: SystemTime,
    host: String,
    bytes: u64,
}

impl BusyHosts {
    /// Adds an event of the gateway. Events of other kinds are ignored.
    pub fn add(&mut self, event: &Value) {
        let host = Url::parse(text(&event["url"])).ok();
        let host = host.and_then(|url| url.host_str().map(str::to_owned));
        let at = humantime::parse_rfc3339(text(&event["time"]));
        if let (Some("stored"), Some(host), Ok(at)) = (event["type"].as_str(), host, at) {
            let bytes = event["size_bytes"].as_u64().unwrap_or_default();
            self.files.push_back(StoredFile { at, host, bytes });
        }
        if self.files.len() > MAX_FILES {
            self.files.pop_front();
        }
    }

    /// Returns the hosts with most bytes in the last minute, at most `count`.
    pub fn busiest(&mut self, now: SystemTime, count: usize) -> Vec<HostShare> {
        self.files
            .retain(|file| now.duration_since(file.at).unwrap_or_default() < WINDOW);
        let mut hosts: HashMap<&str, (u64, u64)> = HashMap::new();
        for file in &self.files {
            let (files, bytes) = hosts.entry(&file.host).or_default();
            (*files, *bytes) = (*files + 1, *bytes + file.bytes);
        }
        let share = |(host, (files, bytes)): (&str, (u64, u64))| HostShare {
            host: host.to_owned(),
            files,
            bytes,
        };
        let mut shares: Vec<HostShare> = hosts.into_iter().map(share).collect();
        shares.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.host.cmp(&b.host)));
        shares.truncate(count);
        shares
    }
}

/// Follows the events of a gateway until they end. A view without hosts is better than none, so
/// that failures are ignored.
pub async fn follow_stored(api: Arc<ApiClient>, hosts: Arc<Mutex<BusyHosts>>) {
    let Ok(mut response) = api.lines("events", &[("follow", "true")]).await else {
        return;
    };
    let mut held = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        held.extend_from_slice(&chunk);
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            if let Ok(event) = serde_json::from_slice(&line) {
                lock(&hosts).add(&event);
            }
        }
        if held.len() > MAX_LINE_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn busiest_hosts_come_first() {
        let mut hosts = BusyHosts::default();
        let stored = |second: u32, host: &str, bytes: u64| {
            json!({
                "type": "stored",
                "time": format!("2030-01-01T00:00:{second:02}Z"),
                "url": format!("https://{host}/x-1.0.tar.gz"),
                "size_bytes": bytes,
            })
        };
        hosts.add(&stored(0, "old.example.org", 900));
        hosts.add(&stored(30, "a.example.org", 10));
        hosts.add(&stored(31, "b.example.org", 15));
        hosts.add(&stored(32, "a.example.org", 10));
        hosts.add(&json!({"type": "repaired", "urls": ["https://c.example.org/"]}));
        let now = humantime::parse_rfc3339("2030-01-01T00:01:10Z").unwrap();
        let share = |host: &str, files, bytes| HostShare {
            host: host.to_owned(),
            files,
            bytes,
        };
        let expected = [share("a.example.org", 2, 20), share("b.example.org", 1, 15)];
        assert_eq!(hosts.busiest(now, 5), expected);
        assert_eq!(hosts.busiest(now, 1), expected[..1]);
    }
}
