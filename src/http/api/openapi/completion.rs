//! Parts of the description that all operations share: `HEAD`, errors and tokens.

use utoipa::Modify;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use super::pages::add_pages;
use crate::http::error_response::PROBLEM_JSON;

/// Adds the parts that all operations share.
pub struct Completion;

impl Modify for Completion {
    fn modify(&self, document: &mut OpenApi) {
        add_pages(document);
        for item in document.paths.paths.values_mut() {
            add_head(item);
            for operation in operations(item) {
                let errors = RefOr::T(error_response());
                operation
                    .responses
                    .responses
                    .insert("default".to_owned(), errors);
            }
        }
        let components = document.components.get_or_insert_default();
        let operator = "Token of gateway.admin_token. It may do everything.";
        components.add_security_scheme("operator", bearer(operator));
        let reader = "One of gateway.reader_tokens. It may read lists.";
        components.add_security_scheme("reader", bearer(reader));
    }
}

/// Adds `HEAD`, which has the response of `GET` without its body (RFC 9110, section 9.3.2).
fn add_head(item: &mut PathItem) {
    let Some(get) = item.get.as_ref().filter(|_| item.head.is_none()) else {
        return;
    };
    let mut head = get.clone();
    head.operation_id = head.operation_id.map(|id| format!("{id}Head"));
    for response in head.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
    item.head = Some(head);
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.head,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

fn error_response() -> Response {
    let problem = Ref::from_schema_name("Problem");
    let problem = ContentBuilder::new().schema(Some(problem)).build();
    ResponseBuilder::new()
        .description("An error: a problem document, or one line of text")
        .content(PROBLEM_JSON, problem)
        .content("text/plain", ContentBuilder::new().build())
        .build()
}

fn bearer(description: &str) -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(description));
    SecurityScheme::Http(scheme.build())
}
