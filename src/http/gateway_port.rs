//! The gateway port: the rewrite door and the gateway's own pages.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::Doors;
use super::log::RequestLog;
use super::pages::Page;
use super::problem;
use super::read::{read_ask, refuse_loop};
use super::render::{Dress, render};
use crate::gateway::{Ask, Door, Problem, Rewrite};
use crate::model::Target;

pub async fn serve(request: HttpRequest, doors: Data<Doors>) -> HttpResponse {
    let client = doors.client_at_gateway(&request);
    let dress = Dress::for_request(&request, &doors.name);
    let begin = |door, uri| RequestLog::begin(client, door, request.method().as_str(), uri);
    if let Err(refusal) = doors.gateway.admit_client(client) {
        let log = begin("rewrite", Target::redact(&request.uri().to_string()));
        return log.attach(problem::render(&refusal.into(), Some(Door::Rewrite), &dress));
    }
    if !doors.is_proxy_request(&request)
        && let Some(page) = Page::of_path(request.uri().path())
    {
        return begin("page", request.uri().path().to_owned()).attach(doors.page(page, request.method()).await);
    }
    match doors.read_rewrite(&request, client) {
        Ok(ask) => {
            let log = begin("rewrite", ask.target.to_string());
            log.attach(render(doors.gateway.answer(ask).await, Door::Rewrite, &dress))
        }
        Err(problem) => {
            let log = begin("rewrite", Target::redact(&request.uri().to_string()));
            log.attach(problem::render(&problem, Some(Door::Rewrite), &dress))
        }
    }
}

impl Doors {
    /// Absolute form is for proxies, unless it names this very gateway (RFC 9112, section 3.2.2).
    fn is_proxy_request(&self, request: &HttpRequest) -> bool {
        match request.uri().authority() {
            None => false,
            Some(authority) => {
                let ours = &self.settings.load().public_authority;
                ours.as_deref() != Some(authority.as_str().to_ascii_lowercase().as_str())
            }
        }
    }

    fn read_rewrite(&self, request: &HttpRequest, client: std::net::IpAddr) -> Result<Ask, Problem> {
        if self.is_proxy_request(request) {
            return Err(Problem::Misdirected(
                "this is a proxy request, and this port is no proxy: use the proxy port, or ask like /https://host/path"
                    .to_owned(),
            ));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::Method(request.method().to_string()));
        }
        refuse_loop(request.headers(), &self.name)?;
        // The bytes as they came: anything that decodes them would make another target of some.
        let path_and_query = request.uri().path_and_query().map_or("/", |spelling| spelling.as_str());
        let rewrite = Rewrite::parse(path_and_query)?;
        read_ask(request, Door::Rewrite, client, rewrite.target, rewrite.expected)
    }
}
