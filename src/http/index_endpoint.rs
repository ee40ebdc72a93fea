//! Requests below `/mirror/pypi/`, `/mirror/npm/` and `/mirror/cargo/`: indexes of registries, and
//! the files behind their rewritten links.
//!
//! The main function is [`serve`].

use actix_web::http::header::{ACCEPT, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::LogUri;
use super::client_info::{RequestOrigin, TargetForm};
use super::index_response::IndexRewriting;
use super::login::require_user;
use super::own_url::own_url;
use super::parse_request::{read_cache_request, reject_unreadable, single};
use super::request_guard::RequestGuard;
use super::responder::Responder;
use super::state::HttpService;
use crate::gateway::{
    CacheRequest, ClientRedirects, Conditions, Endpoint, FileDelivery, PrefixedUrl, RequestError,
    RequestMethod,
};
use crate::indexes::{IndexDocument, IndexPath, PackageRegistry, PypiFile};
use crate::limits::TransferKind;
use crate::metrics::RequestEndpoint;
use crate::model::{ExpectedDigests, Target, TargetError};

/// Fields of a client that must not act on the document of the origin: the client knows its
/// rewritten form only.
const FIELDS_OF_REWRITTEN_FORM: [&str; 8] = [
    "accept",
    "accept-encoding",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// A request below the folder of a registry.
pub struct IndexRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub path: IndexPath<'a>,
}

/// The resource that a request is for.
enum IndexTask<'a> {
    Index(CacheRequest, IndexRewriting<'a>),
    /// A file, or a resource that stays as it is.
    File(CacheRequest),
}

/// Returns the path of a request below the folder of a registry, if it is one.
pub fn index_path(form: &TargetForm) -> Option<IndexPath<'_>> {
    match form {
        TargetForm::Origin(path_and_query) => IndexPath::parse(path_and_query),
        TargetForm::Absolute(_) => None,
    }
}

/// Serves a request below the folder of a registry.
pub async fn serve(indexed: IndexRequest<'_>, guard: RequestGuard) -> HttpResponse {
    let IndexRequest {
        service,
        request,
        origin,
        ..
    } = indexed;
    let is_npm = indexed.path.registry() == Some(PackageRegistry::Npm);
    let read = indexed.read().await;
    let uri = match &read {
        Ok(IndexTask::Index(cache_request, _) | IndexTask::File(cache_request)) => {
            LogUri::Target(cache_request.target.clone())
        }
        Err(_) => Target::redact(origin.form.as_str()).into(),
    };
    let method = request.method().as_str();
    let log = service
        .begin_log(origin.client, RequestEndpoint::Mirror, method, uri)
        .with_user_agent(request.headers());
    let mut responder = Responder::new(request, service, Endpoint::Gateway, log, guard);
    if is_npm {
        responder = responder.for_npm();
    }
    match read {
        Ok(IndexTask::Index(cache_request, rewriting)) => {
            responder.serve_index(cache_request, &rewriting).await
        }
        Ok(IndexTask::File(cache_request)) => responder.serve(cache_request).await,
        Err(error) => responder.send_error(&error),
    }
}

impl<'a> IndexRequest<'a> {
    /// Checks the login of a request, and parses the request.
    async fn read(&self) -> Result<IndexTask<'a>, RequestError> {
        let (service, origin) = (self.service, self.origin);
        require_user(service, self.request, origin, Endpoint::Gateway).await?;
        // A malformed request counts too, and a denied client learns nothing else.
        self.parse().map_err(|error| {
            let kind = TransferKind::Download;
            let admitted = service.gateway.admit_client(origin.client, kind);
            admitted.err().unwrap_or(error)
        })
    }

    fn parse(&self) -> Result<IndexTask<'a>, RequestError> {
        let readable = reject_unreadable(self.request, self.service.name.as_str());
        readable.map_err(|error| match error {
            RequestError::MethodNotSupported(_) => RequestError::ReadOnlyRegistry,
            error => error,
        })?;
        match &self.path {
            IndexPath::Document(document, path) => self.index(*document, path),
            IndexPath::Other(registry, path) => {
                let target = format!("{}/{path}", self.upstream(*registry)?);
                let target = Target::parse(&target).map_err(bad_request)?;
                let nothing = ExpectedDigests::nothing();
                Ok(IndexTask::File(self.cache_request(target, nothing)?))
            }
            IndexPath::File(PypiFile { url, digest }) => {
                let stated = PrefixedUrl::parse(&format!("/{url}"))?;
                let PrefixedUrl {
                    target,
                    mut expected,
                } = stated;
                expected.extend(digest.clone());
                Ok(IndexTask::File(self.cache_request(target, expected)?))
            }
            IndexPath::Unknown => Err(RequestError::NotFound(
                "the path is no index; use /mirror/pypi/simple/, /mirror/npm/ or /mirror/cargo/",
            )),
        }
    }

    fn index(&self, document: IndexDocument, path: &str) -> Result<IndexTask<'a>, RequestError> {
        let upstream = self.upstream(document.registry())?;
        let target = Target::parse(&format!("{upstream}{path}"));
        let target = target.map_err(bad_request)?;
        let headers = self.request.headers();
        let sent = single(headers, ACCEPT).unwrap_or_default();
        let settings = self.service.settings.load();
        let rewriting = IndexRewriting {
            admission: &self.service.admission,
            client: self.service.gateway.pool_client(self.origin.client),
            document,
            page: target.clone(),
            upstream,
            gateway: own_url(self.request, &settings),
            known_etags: single(headers, IF_NONE_MATCH).map(str::to_owned),
        };
        let mut request = self.cache_request(target, ExpectedDigests::nothing())?;
        request.delivery = FileDelivery::Direct;
        request.redirects = ClientRedirects::Never;
        request.method = RequestMethod::Get;
        request.range = None;
        request.conditions = Conditions::default();
        let fields = &mut request.forwarded_headers;
        fields.retain(|(name, _)| !FIELDS_OF_REWRITTEN_FORM.contains(&name.as_str()));
        let accept = document.accept(sent);
        fields.extend(accept.map(|accept| ("accept".to_owned(), accept.into())));
        Ok(IndexTask::Index(request, rewriting))
    }

    fn cache_request(
        &self,
        target: Target,
        expected: ExpectedDigests,
    ) -> Result<CacheRequest, RequestError> {
        read_cache_request(
            self.request,
            self.origin,
            Endpoint::Gateway,
            target,
            expected,
        )
    }

    /// Returns the base URL of a registry.
    fn upstream(&self, registry: PackageRegistry) -> Result<String, RequestError> {
        let settings = self.service.settings.load();
        let upstream = settings.indexes.of(registry).map(str::to_owned);
        upstream.ok_or(RequestError::NotFound(match registry {
            PackageRegistry::Pypi => {
                "this gateway has no index of Python packages: set mirror.pypi_upstream"
            }
            PackageRegistry::Npm => "this gateway has no npm registry: set mirror.npm_upstream",
            PackageRegistry::Cargo => {
                "this gateway has no index of crates: set mirror.cargo_upstream"
            }
        }))
    }
}

fn bad_request(error: TargetError) -> RequestError {
    RequestError::BadRequest(error.to_string())
}
