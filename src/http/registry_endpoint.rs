//! Requests below `/v2/`: manifests and blobs of container images (OCI distribution specification).
//!
//! The main function is [`serve`].

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::LogUri;
use super::client_info::{RequestOrigin, TargetForm};
use super::login::require_user;
use super::parse_request::{read_cache_request, reject_unreadable};
use super::registry_referrers::{ReferrerRequest, referrers_page};
use super::request_guard::RequestGuard;
use super::responder::Responder;
use super::state::HttpService;
use crate::gateway::{
    CacheRequest, ClientRedirects, Endpoint, FileDelivery, OriginError, RequestError, RequestMethod,
};
use crate::limits::{RequestCount, TransferKind};
use crate::metrics::RequestEndpoint;
use crate::model::{Digest, Target};
use crate::registry::{
    ContainerRegistry, ImageContent, ImageReader, ImageReference, ImageSource, ReferrerList,
    RegistryError, RegistryErrorCode, RegistryPath, RegistryResource, RepositoryName,
};

/// Version of the protocol, which clients look for.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const VERSION: HeaderValue = HeaderValue::from_static("registry/2.0");

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Error for a registry that does not give an image to this gateway. Clients go on to the next
/// registry after a 404 only.
const DENIED_BY_REGISTRY: RequestError = RequestError::NotFound(
    "the registry denies this gateway the request; the repository may be private or unknown",
);

/// A request below `/v2/`.
pub struct RegistryRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub path: RegistryPath<'a>,
}

/// The resource that a request is for.
enum ImagePart {
    Version,
    Content(Box<ContentRequest>),
    Referrers(Box<ReferrerRequest>),
}

/// Answer for a part.
enum ImageAnswer {
    Version,
    Content(Box<ImageContent>),
    Referrers(ReferrerList),
}

/// Request for a manifest or a blob.
struct ContentRequest {
    registry: Arc<ContainerRegistry>,
    name: RepositoryName,
    /// `None` for a tag.
    digest: Option<Digest>,
    request: CacheRequest,
}

/// Failure of a request, with the code of the unknown part of its path.
struct Refusal {
    error: RequestError,
    code: Option<RegistryErrorCode>,
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::PrivateImage => Some(RegistryErrorCode::Denied),
            _ => None,
        };
        Self { error, code }
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self {
            code: Some(error.code()),
            error: error.into(),
        }
    }
}

/// Returns the path of a request below `/v2/`, if it is one and there are registries.
pub fn registry_path<'a>(form: &'a TargetForm, service: &HttpService) -> Option<RegistryPath<'a>> {
    match form {
        TargetForm::Origin(text) if !service.settings.load().registries.is_empty() => {
            RegistryPath::parse(text)
        }
        TargetForm::Origin(_) | TargetForm::Absolute(_) => None,
    }
}

/// Serves a request below `/v2/`.
pub async fn serve(registry: RegistryRequest<'_>, guard: RequestGuard) -> HttpResponse {
    let (service, request, origin) = (registry.service, registry.request, registry.origin);
    let read = registry.read().await;
    let uri = match &read {
        Ok(ImagePart::Content(content)) => LogUri::Target(content.request.target.clone()),
        Ok(ImagePart::Referrers(list)) => LogUri::Target(list.target.clone()),
        Ok(ImagePart::Version) | Err(_) => Target::redact(origin.form.as_str()).into(),
    };
    let method = request.method().as_str();
    let log = service
        .begin_log(origin.client, RequestEndpoint::Registry, method, uri)
        .with_user_agent(request.headers());
    let got = match read {
        Ok(part) => part.get(service).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    let code = match &got {
        Err(refusal) => refusal.code,
        Ok(_) => None,
    };
    let code = code.unwrap_or_else(|| registry.path.unknown_code());
    let responder =
        Responder::new(request, service, Endpoint::Gateway, log, guard).for_registry(code);
    let mut response = match got {
        Ok(ImageAnswer::Version) => responder.send_page(version_page()),
        Ok(ImageAnswer::Content(content)) => {
            let ImageContent { download, digest } = *content;
            let mut response = responder.send_download(download);
            add_digest(&mut response, &digest);
            response
        }
        Ok(ImageAnswer::Referrers(list)) => responder.send_page(referrers_page(list)),
        Err(refusal) => responder.send_error(&refusal.error),
    };
    response.headers_mut().insert(API_VERSION, VERSION);
    response
}

impl ImagePart {
    async fn get(self, service: &HttpService) -> Result<ImageAnswer, RequestError> {
        Ok(match self {
            Self::Version => ImageAnswer::Version,
            Self::Content(request) => {
                let content = Box::pin(request.get(service)).await?;
                ImageAnswer::Content(Box::new(content))
            }
            Self::Referrers(request) => {
                let list = request.get(service).await;
                ImageAnswer::Referrers(list.map_err(as_registry_error)?)
            }
        })
    }
}

impl ContentRequest {
    async fn get(self, service: &HttpService) -> Result<ImageContent, RequestError> {
        let images = &service.images;
        let source = ImageSource {
            registry: &self.registry,
            name: &self.name,
            reader: ImageReader::Client(self.request.client),
        };
        let got = match self.digest {
            Some(digest) => Box::pin(images.content(&source, &self.request, digest)).await,
            None => Box::pin(images.tagged(&source, &self.request)).await,
        };
        got.map_err(as_registry_error)
    }
}

impl RegistryRequest<'_> {
    /// Checks the login of a request, and parses the request.
    async fn read(&self) -> Result<ImagePart, Refusal> {
        let (service, origin) = (self.service, self.origin);
        let login = require_user(service, self.request, origin, Endpoint::Gateway).await;
        login.map_err(as_registry_error)?;
        // A malformed request counts too, and a denied client learns nothing else. The steps of the
        // request do not count again.
        let kind = TransferKind::Download;
        service.gateway.admit_client(origin.client, kind)?;
        self.parse()
    }

    fn parse(&self) -> Result<ImagePart, Refusal> {
        reject_unreadable(self.request, self.service.name.as_str())?;
        let path = &self.path;
        let resource = path.resource.as_ref().map_err(|error| *error)?;
        let settings = self.service.settings.load();
        let namespace = path.namespace.as_deref();
        let resolve = |name| settings.registries.resolve(namespace, name);
        match resource {
            RegistryResource::Version => Ok(ImagePart::Version),
            RegistryResource::Blob { name, digest } => {
                let (registry, name) = resolve(name)?;
                let target = registry.blob(&name, digest)?;
                let request = self.cache_request(target, Some(digest))?;
                Ok(content(registry, name, Some(digest), request))
            }
            RegistryResource::Manifest { name, reference } => {
                let (registry, name) = resolve(name)?;
                let digest = match reference {
                    ImageReference::Digest(digest) => Some(digest),
                    ImageReference::Tag(_) => None,
                };
                let target = registry.manifest(&name, reference)?;
                let mut request = self.cache_request(target, digest)?;
                // nginx would drop the digest. A client that asks for the head wants the manifest
                // next, so that it is fetched.
                request.delivery = FileDelivery::Direct;
                request.method = RequestMethod::Get;
                Ok(content(registry, name, digest, request))
            }
            RegistryResource::Referrers { name, subject } => {
                let (registry, name) = resolve(name)?;
                let target = registry.referrers(&name, subject)?;
                let request = self.cache_request(target, None)?;
                Ok(ImagePart::Referrers(Box::new(ReferrerRequest {
                    registry,
                    name,
                    subject: subject.clone(),
                    artifact_type: path.artifact_type.as_deref().map(str::to_owned),
                    target: request.target,
                    client: request.client,
                    only_if_cached: request.only_if_cached,
                })))
            }
        }
    }

    fn cache_request(
        &self,
        target: Target,
        digest: Option<&Digest>,
    ) -> Result<CacheRequest, RequestError> {
        let expected = digest.cloned().into_iter().collect();
        let endpoint = Endpoint::Gateway;
        let read = read_cache_request(self.request, self.origin, endpoint, target, expected);
        let mut request = read?;
        // The registry would not accept the client without a token.
        request.redirects = ClientRedirects::Never;
        request.count = RequestCount::Counted;
        Ok(request)
    }
}

fn content(
    registry: Arc<ContainerRegistry>,
    name: RepositoryName,
    digest: Option<&Digest>,
    request: CacheRequest,
) -> ImagePart {
    ImagePart::Content(Box::new(ContentRequest {
        registry,
        name,
        digest: digest.cloned(),
        request,
    }))
}

/// Returns the error for a container client. No response asks for a login, since the client would
/// send that of another registry. Statuses of the registry must not end the client's search.
fn as_registry_error(error: RequestError) -> RequestError {
    match error {
        RequestError::LoginRequired | RequestError::WrongLogin => {
            RequestError::UnaskedLoginRequired
        }
        RequestError::Origin(OriginError::Status { status, .. }) if is_denial(status) => {
            DENIED_BY_REGISTRY
        }
        RequestError::Origin(OriginError::Status {
            status: 429,
            retry_after,
            ..
        }) => RequestError::RegistryLimit(retry_after),
        error => error,
    }
}

fn is_denial(status: u16) -> bool {
    matches!(status, 401 | 403)
}

/// Renders the answer to `/v2/`.
fn version_page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body("{}")
}

/// Adds the digest to a response that has the content, or its head.
fn add_digest(response: &mut HttpResponse, digest: &Digest) {
    let has_content = response.status().is_success() || response.status().as_u16() == 304;
    if let Ok(value) = HeaderValue::try_from(digest.to_string())
        && has_content
    {
        response.headers_mut().insert(CONTENT_DIGEST, value);
    }
}
