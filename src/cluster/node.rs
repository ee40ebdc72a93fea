//! Facts that a node states about itself. The main type is [`NodeDocument`].

use serde::{Deserialize, Serialize};

/// Facts about this node that do not change while the process runs.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// Random number that is kept in the state folder.
    pub id: String,
    /// Random number of this process. Marks name the process that they are for.
    pub run: String,
    /// Name in `Via`.
    pub name: String,
    pub version: &'static str,
    /// Version of the layout of the cache folder.
    pub layout: u32,
    /// Size of the cache, `cache.max_size`.
    pub space_bytes: u64,
    /// Identity of the cache folder. Empty if it is unknown.
    pub folder: String,
    /// Identity of the bucket. Empty if there is none.
    pub bucket: String,
}

/// Facts that a node states at `GET /api/v1/node`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct NodeDocument {
    pub id: String,
    /// Random number of the process.
    pub run: String,
    pub name: String,
    pub version: String,
    pub layout: u32,
    pub space_bytes: u64,
    /// Identity of the cache folder, the same for all processes that use it. Empty if unknown.
    pub folder: String,
    /// Identity of the bucket, the same for all nodes that use it. Empty without one.
    pub bucket: String,
    pub ready: bool,
    /// Whether the node owns nothing any more, and serves what it has.
    pub draining: bool,
    /// Clock of the node, in milliseconds since 1970.
    pub clock_ms: u64,
    /// Value of `cluster.advertise`.
    pub advertise: Option<String>,
}

impl NodeIdentity {
    /// Returns the document at a time in milliseconds since 1970.
    #[must_use]
    pub fn document(
        &self,
        (ready, draining): (bool, bool),
        clock_ms: u64,
        advertise: Option<&str>,
    ) -> NodeDocument {
        NodeDocument {
            id: self.id.clone(),
            run: self.run.clone(),
            name: self.name.clone(),
            version: self.version.to_owned(),
            layout: self.layout,
            space_bytes: self.space_bytes,
            folder: self.folder.clone(),
            bucket: self.bucket.clone(),
            ready,
            draining,
            clock_ms,
            advertise: advertise.map(str::to_owned),
        }
    }
}
