//! Pages beside the API that programs read: the description itself, health, version and metrics.

use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, PathItem};
use utoipa::openapi::{ContentBuilder, OpenApi, ResponseBuilder};

/// Path of the description.
pub const PATH: &str = "/openapi.json";

/// A page, as the description shows it.
struct PageEntry {
    path: &'static str,
    operation_id: &'static str,
    summary: &'static str,
    content_type: &'static str,
}

const PAGES: [PageEntry; 5] = [
    PageEntry {
        path: PATH,
        operation_id: "showApi",
        summary: "This description of the API",
        content_type: "application/json",
    },
    PageEntry {
        path: "/healthz",
        operation_id: "showHealth",
        summary: "Whether the process answers at all",
        content_type: "text/plain",
    },
    PageEntry {
        path: "/readyz",
        operation_id: "showReadiness",
        summary: "Whether this instance should get requests; 503 if not",
        content_type: "text/plain",
    },
    PageEntry {
        path: "/version",
        operation_id: "showVersion",
        summary: "The version",
        content_type: "text/plain",
    },
    PageEntry {
        path: "/metrics",
        operation_id: "showMetrics",
        summary: "Counters and gauges for Prometheus, for gateway.metrics_clients",
        content_type: "text/plain",
    },
];

/// Adds the pages.
pub fn add_pages(document: &mut OpenApi) {
    for page in PAGES {
        let item = PathItem::new(HttpMethod::Get, operation(&page));
        document.paths.paths.insert(page.path.to_owned(), item);
    }
}

fn operation(page: &PageEntry) -> Operation {
    let content = ContentBuilder::new().build();
    let response = ResponseBuilder::new()
        .description("The page")
        .content(page.content_type, content);
    OperationBuilder::new()
        .operation_id(Some(page.operation_id))
        .summary(Some(page.summary))
        .tag("stats")
        .response("200", response.build())
        .build()
}
