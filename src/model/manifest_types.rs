//! Media types of the manifests of container images. The main function is [`accepted_types`].

use super::Target;

/// `Accept` of a request for a manifest. Registries answer 404 to a request that does not list the
/// type of the manifest. Schema 1 is missing: its digest is not that of its bytes.
pub const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// Returns `Accept` of a request of Millpond's own for a target.
#[must_use]
pub fn accepted_types(target: &Target) -> &'static str {
    let path = target.path();
    if path.starts_with("/v2/") && path.contains("/manifests/") {
        MANIFEST_TYPES
    } else {
        "*/*"
    }
}
