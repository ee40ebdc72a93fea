//! Resources of the API: their paths, and their methods. The main type is [`Resource`].

use super::{jobs, objects, openapi};
use crate::admin::AdminError;
use crate::jobs::JobId;
use crate::model::Sha256;

/// Prefix of the paths that belong to the API.
pub const ROOT: &str = "/api/";

/// A resource of the API.
pub enum Resource {
    Objects,
    Object(Sha256),
    Metalink(Sha256),
    Torrent(Sha256),
    Targets,
    Pins,
    Refresh,
    Incidents,
    Stats,
    /// Facts that peers read.
    Node,
    /// Records that peers copy.
    NodeRecords,
    /// Pieces of an object that peers copy.
    NodePieces,
    /// Whether this node owns targets.
    Draining,
    Nodes,
    Images,
    Fetches,
    Jobs,
    Job(JobId),
    Events,
    Catalog,
    /// The description of the API.
    Description,
}

impl Resource {
    /// Parses the path of a request.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], or [`RequestError`](crate::gateway::RequestError) for an invalid
    /// digest.
    pub fn parse(path: &str) -> Result<Self, AdminError> {
        const UNKNOWN: AdminError = AdminError::NotFound("there is no such API resource");
        if path == openapi::PATH {
            return Ok(Self::Description);
        }
        let name = path
            .strip_prefix(ROOT)
            .and_then(|path| path.strip_prefix("v1/"))
            .ok_or(UNKNOWN)?;
        match name.trim_end_matches('/') {
            "objects" => Ok(Self::Objects),
            "targets" => Ok(Self::Targets),
            "pins" => Ok(Self::Pins),
            "refresh" => Ok(Self::Refresh),
            "incidents" => Ok(Self::Incidents),
            "stats" => Ok(Self::Stats),
            "node" => Ok(Self::Node),
            "node/records" => Ok(Self::NodeRecords),
            "node/pieces" => Ok(Self::NodePieces),
            "node/draining" => Ok(Self::Draining),
            "nodes" => Ok(Self::Nodes),
            "images" => Ok(Self::Images),
            "fetches" => Ok(Self::Fetches),
            "jobs" => Ok(Self::Jobs),
            "events" => Ok(Self::Events),
            "catalog" => Ok(Self::Catalog),
            name if let Some(id) = name.strip_prefix("jobs/") => {
                id.parse().map(Self::Job).map_err(|_| jobs::NO_SUCH_JOB)
            }
            name => {
                let object = name.strip_prefix("objects/sha256/").ok_or(UNKNOWN)?;
                match object.split_once('/') {
                    Some((hex, "metalink")) => Ok(Self::Metalink(objects::parse_digest(hex)?)),
                    Some((hex, "torrent")) => Ok(Self::Torrent(objects::parse_digest(hex)?)),
                    _ => Ok(Self::Object(objects::parse_digest(object)?)),
                }
            }
        }
    }

    /// Returns the allowed methods, as in `Allow`.
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Objects | Self::Pins | Self::Catalog => "GET, HEAD, PUT, DELETE",
            Self::Object(_) | Self::Job(_) => "GET, HEAD, DELETE",
            Self::Metalink(_)
            | Self::Torrent(_)
            | Self::Targets
            | Self::Incidents
            | Self::Stats
            | Self::Node
            | Self::NodePieces
            | Self::Nodes
            | Self::Images
            | Self::Fetches
            | Self::Events
            | Self::Description => "GET, HEAD",
            Self::Draining => "PUT, DELETE",
            Self::Refresh => "POST",
            Self::Jobs | Self::NodeRecords => "GET, HEAD, POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the path of a resource in the description, and the resource behind it. A new
    /// resource must get a place here.
    fn described(resource: &Resource) -> (&'static str, Option<Resource>) {
        let sha256 = Sha256::from_bytes([0; 32]);
        let job = || "0123456789abcdef".parse().unwrap();
        match resource {
            Resource::Objects => ("/api/v1/objects", Some(Resource::Object(sha256))),
            Resource::Object(_) => (
                "/api/v1/objects/sha256/{sha256}",
                Some(Resource::Metalink(sha256)),
            ),
            Resource::Metalink(_) => {
                let path = "/api/v1/objects/sha256/{sha256}/metalink";
                (path, Some(Resource::Torrent(sha256)))
            }
            Resource::Torrent(_) => {
                let path = "/api/v1/objects/sha256/{sha256}/torrent";
                (path, Some(Resource::Targets))
            }
            Resource::Targets => ("/api/v1/targets", Some(Resource::Pins)),
            Resource::Pins => ("/api/v1/pins", Some(Resource::Refresh)),
            Resource::Refresh => ("/api/v1/refresh", Some(Resource::Incidents)),
            Resource::Incidents => ("/api/v1/incidents", Some(Resource::Stats)),
            Resource::Stats => ("/api/v1/stats", Some(Resource::Node)),
            Resource::Node => ("/api/v1/node", Some(Resource::NodeRecords)),
            Resource::NodeRecords => ("/api/v1/node/records", Some(Resource::NodePieces)),
            Resource::NodePieces => ("/api/v1/node/pieces", Some(Resource::Draining)),
            Resource::Draining => ("/api/v1/node/draining", Some(Resource::Nodes)),
            Resource::Nodes => ("/api/v1/nodes", Some(Resource::Images)),
            Resource::Images => ("/api/v1/images", Some(Resource::Fetches)),
            Resource::Fetches => ("/api/v1/fetches", Some(Resource::Jobs)),
            Resource::Jobs => ("/api/v1/jobs", Some(Resource::Job(job()))),
            Resource::Job(_) => ("/api/v1/jobs/{id}", Some(Resource::Events)),
            Resource::Events => ("/api/v1/events", Some(Resource::Catalog)),
            Resource::Catalog => ("/api/v1/catalog", Some(Resource::Description)),
            Resource::Description => (openapi::PATH, None),
        }
    }

    #[test]
    fn each_resource_and_method_is_described() {
        let document: serde_json::Value = serde_json::from_str(openapi::document()).unwrap();
        let mut next = Some(Resource::Objects);
        while let Some(resource) = next {
            let (path, behind) = described(&resource);
            let item = document["paths"][path].as_object().expect(path);
            let found: BTreeSet<String> = item.keys().map(|name| name.to_uppercase()).collect();
            let known: BTreeSet<String> =
                resource.methods().split(", ").map(str::to_owned).collect();
            assert_eq!(found, known, "{path}");
            next = behind;
        }
    }
}
