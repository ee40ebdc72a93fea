//! Documents about an object: its facts and sources, for a client that may download it, and the
//! response with an entity tag.
//!
//! The main type is [`DescribedObject`].

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, X_CONTENT_TYPE_OPTIONS,
};

use super::request::ApiRequest;
use super::response::ApiResponse;
use crate::admin::{AdminError, Permission};
use crate::cluster::holders_of;
use crate::gateway::{
    ObjectDescription, Representation, RepresentationHead, Selection, describe_object, select,
};
use crate::http::login;
use crate::http::own_url::own_url;
use crate::http::page_body::in_pieces;
use crate::http::parse_request::read_conditions;
use crate::metalink::is_file_name;
use crate::model::{ExpectedDigests, Hasher, Sha256, StoredHeaders, Target};

/// A stored object, with the nodes that have it.
pub struct DescribedObject {
    pub facts: ObjectDescription,
    /// URLs of the object at the ready peers that have it.
    pub at_peers: Arc<Vec<String>>,
    /// URL of the object at this node.
    pub own_url: String,
}

impl DescribedObject {
    /// Reads the facts about an object.
    ///
    /// # Errors
    /// [`AdminError`] if the client may not download it, or it is not stored.
    pub async fn read(
        api_request: &ApiRequest<'_>,
        permission: Permission,
        sha256: Sha256,
    ) -> Result<Self, AdminError> {
        let (service, request) = (api_request.service, api_request.request);
        let client = api_request.origin.client;
        if let Permission::Public = permission {
            login::check(service, client, request.headers(), &[AUTHORIZATION]).await?;
        }
        let settings = service.settings.load();
        let may_have = |targets: &[Target]| settings.registries.may_have_object(targets, client);
        let facts = describe_object(&service.gateway, client, sha256, may_have).await?;
        let at_peers = holders_of(&service.cluster, sha256).await;
        let base = own_url(request, &settings);
        Ok(Self {
            facts,
            at_peers,
            own_url: format!("{base}/api/v1/objects/sha256/{sha256}"),
        })
    }

    /// Returns the name of the file.
    pub fn name(&self) -> String {
        let name = self.facts.name.clone();
        let name = name.filter(|name| is_file_name(name));
        name.unwrap_or_else(|| self.facts.sha256.to_string())
    }
}

/// Returns the response with a document, or with 304 if the client has it.
pub fn respond(document: Vec<u8>, media_type: &str, headers: &HeaderMap) -> ApiResponse {
    let (representation, selection) = select_document(&document, headers);
    let status = match selection {
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        _ => StatusCode::OK,
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, media_type))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"));
    if let Some(tag) = representation.etag() {
        response.insert_header((ETAG, tag));
    }
    ApiResponse::Stream(match status {
        StatusCode::OK => response.body(in_pieces(document)),
        _ => response.finish(),
    })
}

/// Evaluates the conditions of a request. The entity tag of the document is its digest.
fn select_document(document: &[u8], headers: &HeaderMap) -> (Representation, Selection) {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(document);
    let representation = Representation {
        length: Some(document.len() as u64),
        sha256: Some(hasher.finish().sha256),
        head: RepresentationHead::Stated(StoredHeaders::default()),
        age: None,
        attachment: None,
    };
    let selection = select(&read_conditions(headers), None, &representation);
    (representation, selection)
}
