//! The gateway port: the rewrite door, the gateway's own pages, and the proxy requests that our nginx hands on.

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::arrival::{Arrival, Form, Front};
use super::log::RequestLog;
use super::pages::Page;
use super::read::{read_ask, refuse_loop};
use super::render::Dress;
use super::{Doors, api, problem, proxy_port};
use crate::gateway::{Ask, Door, Problem, Rewrite};
use crate::model::Target;
use crate::policy::Use;

pub async fn serve(request: HttpRequest, payload: Payload, doors: Data<Doors>) -> HttpResponse {
    let arrival = Arrival::at_gateway_port(&request, &doors);
    if matches!((&arrival.form, arrival.front), (Form::Absolute(_), Front::Nginx { .. })) {
        return proxy_port::answer(&request, payload, &doors, &arrival).await;
    }
    let dress = Dress::new(&request, &doors);
    let begin = |door, uri| RequestLog::begin(arrival.client, door, request.method().as_str(), uri);
    let page = arrival.path().and_then(Page::of_path);
    let for_page = |page: Page| begin(page.door(), arrival.path().unwrap_or_default().to_owned());
    if let Some(page) = page.filter(|page| page.is_health() && arrival.is_from_here()) {
        return for_page(page).attach(doors.page(page, request.method()), None);
    }
    let client = match doors.gateway.admit_client(arrival.client, Use::Download) {
        Ok(client) => client,
        Err(problem) => {
            let log = begin("rewrite", Target::redact(arrival.form.as_str()));
            return log.attach(problem::render(&problem, Some(Door::Rewrite), &dress), None);
        }
    };
    if let Some(page) = page {
        return for_page(page).attach(doors.page(page, request.method()), None);
    }
    if let Some((path, query)) = api::is_asked(&arrival.form) {
        let log = begin("api", path.to_owned());
        return api::serve(&request, payload, &doors, client, api::Call { path, query, dress: &dress, log }).await;
    }
    match doors.read_rewrite(&request, &arrival) {
        Ok(ask) => {
            let log = begin("rewrite", ask.target.to_string());
            doors.answer(ask, client, &dress, log).await
        }
        Err(problem) => {
            let log = begin("rewrite", Target::redact(arrival.form.as_str()));
            log.attach(problem::render(&problem, Some(Door::Rewrite), &dress), None)
        }
    }
}

impl Doors {
    fn read_rewrite(&self, request: &HttpRequest, arrival: &Arrival) -> Result<Ask, Problem> {
        let Form::Origin(path_and_query) = &arrival.form else {
            return Err(Problem::Misdirected(
                "this is a proxy request, and this port is no proxy: use the proxy port, or ask like /https://host/path"
                    .to_owned(),
            ));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::Method(request.method().to_string()));
        }
        refuse_loop(request.headers(), &self.name)?;
        // RFC 9112, section 3.2: the origin form begins with a slash. Every other request target is a malformed head.
        if !path_and_query.starts_with('/') {
            return Err(Problem::BadRequest("the request line is malformed; ask like /https://host/path".to_owned()));
        }
        // The bytes as they came: anything that decodes them would make another target of some.
        let Rewrite { target, expected } = Rewrite::parse(path_and_query)?;
        read_ask(request, arrival, Door::Rewrite, target, expected)
    }
}
