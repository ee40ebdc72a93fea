//! The description of the API at `/openapi.json` (OpenAPI 3.1), made from the functions and types
//! of the resources.
//!
//! It serves no request. The main function is [`document`].

mod completion;
mod pages;

use std::sync::LazyLock;

use utoipa::OpenApi;

use super::{
    catalog, events, fetches, images, incidents, job_views, jobs, list_order, metalink, node,
    node_pieces, node_records, nodes, objects, pins, refresh, stats, targets, torrent,
};
use crate::http::error_response::Problem;
use completion::Completion;
pub use pages::PATH;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millpond",
        description = "The API of a Millpond gateway. Clients that read lists need a reader token \
            or the operator token, and clients that change something need the operator token. \
            Errors are problem documents (RFC 9457) if the request accepts JSON, and one line of \
            text otherwise. A query value is percent-encoded, and a plus sign is no space.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        objects::list,
        objects::import,
        objects::download,
        objects::remove,
        metalink::show,
        torrent::show,
        targets::find,
        targets::remove,
        catalog::search,
        catalog::import,
        catalog::remove,
        pins::list,
        pins::pin,
        pins::unpin,
        refresh::refresh,
        fetches::list,
        jobs::list,
        jobs::create,
        jobs::show,
        jobs::cancel,
        incidents::list,
        events::stream,
        stats::show,
        node::show,
        node_records::list,
        node_records::pull,
        node_pieces::show,
        node::start_draining,
        node::end_draining,
        nodes::list,
        images::list,
    ),
    // The schemas of parameters are not found by themselves.
    components(schemas(
        Problem,
        incidents::IncidentSort,
        job_views::JobSort,
        list_order::TargetSort,
        stats::GroupBy,
    )),
    modifiers(&Completion),
    tags(
        (name = "objects", description = "Stored bytes, by digest or by target"),
        (name = "targets", description = "URLs that Millpond has fetched"),
        (name = "pins", description = "Targets whose bytes an operator has fixed"),
        (name = "catalog", description = "Files by name and by digest"),
        (name = "images", description = "Container images whose tags are known"),
        (name = "fetches", description = "In-flight fetches"),
        (name = "jobs", description = "Lists of targets that are worked on in the background"),
        (name = "incidents", description = "Failures of hosts and of the gateway itself"),
        (name = "events", description = "Events as they happen"),
        (name = "stats", description = "State of this instance"),
        (name = "nodes", description = "Nodes of the cluster"),
    )
)]
struct ApiDescription;

/// Returns the document.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let document = ApiDescription::openapi().to_json();
        document.unwrap_or_else(|error| {
            tracing::error!(%error, "the description of the API was not rendered");
            "{}".to_owned()
        })
    });
    &DOCUMENT
}
