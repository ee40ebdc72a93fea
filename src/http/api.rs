//! `/api/v1/...`: what is kept, for those who may ask for it, and what operators do with it.
//!
//! Answers are JSON; problems are rendered as at every other door.

use std::time::SystemTime;

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use super::api_query::Query;
use super::arrival::Form;
use super::connection::unless_stalled;
use super::log::RequestLog;
use super::read::{read_conditions, read_expected, read_range, single};
use super::render::{Dress, render};
use super::{Doors, problem};
use crate::cache::{ListedTarget, RecordStatus};
use crate::gateway::{Answer, Door, ObjectAsk, Operator, Problem, Upload};
use crate::model::{Expected, Record, Sha256, Target};
use crate::policy::{Client, Use};

/// Everything below is the API's.
const ROOT: &str = "/api/";

/// The most targets on one page.
const MAX_PAGE: usize = 1000;

/// What is asked for.
enum Resource {
    Objects,
    Object(Sha256),
    Targets,
    Pins,
    Refresh,
}

/// A request to the API, and how it is answered.
pub struct Call<'a> {
    pub path: &'a str,
    pub query: &'a str,
    pub dress: &'a Dress<'a>,
    pub log: RequestLog,
}

/// What a call comes to.
enum Outcome {
    Json(StatusCode, Value),
    Answer(Box<Answer>),
}

/// Path and query of a request to the API, if it is one.
pub fn is_asked(form: &Form) -> Option<(&str, &str)> {
    match form {
        Form::Origin(text) if text.starts_with(ROOT) => Some(text.split_once('?').unwrap_or((text, ""))),
        Form::Origin(_) | Form::Absolute(_) => None,
    }
}

pub async fn serve(
    request: &HttpRequest,
    payload: Payload,
    doors: &Doors,
    client: Client,
    call: Call<'_>,
) -> HttpResponse {
    let Call { path, query, dress, log } = call;
    let outcome = match Resource::parse(path) {
        Ok(resource) => doors.answer_call(request, payload, resource, query).await,
        Err(problem) => Err(problem),
    };
    let answered = match outcome {
        Ok(Outcome::Json(status, value)) => return log.attach(json_page(status, &value), None),
        // The bytes of an object are a download like any other.
        Ok(Outcome::Answer(answer)) => {
            let transfer = doors.gateway.begin(client, Use::Download);
            transfer.map(|transfer| (render(*answer, Door::Rewrite, dress), transfer))
        }
        Err(problem) => Err(problem),
    };
    match answered {
        Ok((response, transfer)) => log.attach(response, Some(transfer)),
        Err(problem) => log.attach(problem::render(&problem, Some(Door::Rewrite), dress), None),
    }
}

impl Resource {
    fn parse(path: &str) -> Result<Self, Problem> {
        let unknown = Problem::Unknown("there is no such thing in the API");
        let name = path.strip_prefix(ROOT).and_then(|path| path.strip_prefix("v1/"));
        match name.map(|name| name.trim_end_matches('/')) {
            Some("objects") => Ok(Self::Objects),
            Some("targets") => Ok(Self::Targets),
            Some("pins") => Ok(Self::Pins),
            Some("refresh") => Ok(Self::Refresh),
            Some(name) => {
                let hex = name.strip_prefix("objects/sha256/").ok_or(unknown)?;
                let sha256 = hex.parse().map_err(|error| Problem::BadRequest(format!("objects/sha256/: {error}")))?;
                Ok(Self::Object(sha256))
            }
            None => Err(unknown),
        }
    }

    /// The methods that this takes.
    fn methods(&self) -> &'static str {
        match self {
            Self::Objects => "GET, HEAD, PUT, DELETE",
            Self::Object(_) => "GET, HEAD, DELETE",
            Self::Targets => "GET, HEAD",
            Self::Pins => "PUT, DELETE",
            Self::Refresh => "POST",
        }
    }
}

impl Doors {
    async fn answer_call(
        &self,
        request: &HttpRequest,
        payload: Payload,
        resource: Resource,
        query: &str,
    ) -> Result<Outcome, Problem> {
        let mut query = Query::parse(query)?;
        let operator = || self.custody.authorize(bearer(request.headers()));
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match (resource, request.method()) {
            (Resource::Object(sha256), _) if is_get => {
                query.finish()?;
                let (range, conditions) = (read_range(request), read_conditions(request.headers()));
                let answer = self.gateway.answer_object(ObjectAsk { sha256, range, conditions }).await;
                Ok(Outcome::Answer(Box::new(answer)))
            }
            (Resource::Object(sha256), &Method::DELETE) => {
                let operator = operator()?;
                query.finish()?;
                let freed_bytes = self.custody.remove_object(&operator, sha256).await?;
                Ok(ok(json!({ "sha256": sha256, "freed_bytes": freed_bytes })))
            }
            (Resource::Targets, _) if is_get => {
                let target = query.target()?;
                query.finish()?;
                let history = self.custody.history(&target).await?;
                let records: Vec<_> = history.iter().map(witness).collect();
                let stated = self.custody.stated(&target);
                Ok(ok(json!({ "url": shown(&target), "stated": stated, "records": records })))
            }
            (Resource::Objects, _) if is_get => self.list(&operator()?, query).await,
            (Resource::Objects, &Method::PUT) => self.import(&operator()?, request, payload, query).await,
            (Resource::Objects, &Method::DELETE) => {
                let operator = operator()?;
                let target = query.target()?;
                query.finish()?;
                let forgotten = self.custody.forget(&operator, &target).await?;
                let (records, freed_bytes) = (forgotten.records, forgotten.freed_bytes);
                Ok(ok(json!({ "url": shown(&target), "records": records, "freed_bytes": freed_bytes })))
            }
            (Resource::Pins, &(Method::PUT | Method::DELETE)) => {
                let operator = operator()?;
                let (target, sha256) = (query.target()?, query.sha256()?);
                query.finish()?;
                if *request.method() == Method::PUT {
                    let sha256 = self.custody.pin(&operator, &target, sha256).await?;
                    return Ok(ok(json!({ "url": shown(&target), "pinned": sha256 })));
                }
                let unpinned = self.custody.unpin(&operator, &target, sha256).await?;
                Ok(ok(json!({ "url": shown(&target), "unpinned": unpinned })))
            }
            (Resource::Refresh, &Method::POST) => self.refresh(&operator()?, request, query).await,
            (resource, _) => Err(Problem::Methods(resource.methods())),
        }
    }

    async fn list(&self, operator: &Operator, mut query: Query<'_>) -> Result<Outcome, Problem> {
        let (after, limit) = (query.after()?, query.limit(MAX_PAGE)?);
        query.finish()?;
        let page = self.custody.list(operator, after, limit).await?;
        let next = page.last().filter(|_| page.len() == limit).map(|last| last.key.to_string());
        Ok(ok(json!({ "objects": page.iter().map(listed).collect::<Vec<_>>(), "next": next })))
    }

    async fn refresh(
        &self,
        operator: &Operator,
        request: &HttpRequest,
        mut query: Query<'_>,
    ) -> Result<Outcome, Problem> {
        let (target, accept) = (query.target()?, query.accept()?);
        query.finish()?;
        let mut expected = Expected::nothing();
        read_expected(request.headers(), &mut expected)?;
        let refreshed = self.custody.refresh(operator, target, expected, accept).await?;
        let record = &refreshed.record;
        let is_other = refreshed.before.is_some_and(|before| before != record.sha256);
        Ok(ok(json!({
            "url": shown(&record.target),
            "sha256": record.sha256,
            "size_bytes": record.size_bytes,
            "before": refreshed.before,
            "changed": is_other,
            "accepted": is_other && accept,
        })))
    }

    async fn import(
        &self,
        operator: &Operator,
        request: &HttpRequest,
        body: Payload,
        mut query: Query<'_>,
    ) -> Result<Outcome, Problem> {
        let target = query.target()?;
        query.finish()?;
        let mut expected = Expected::nothing();
        read_expected(request.headers(), &mut expected)?;
        let length = single(request.headers(), "content-length").and_then(|length| length.parse().ok());
        let body = unless_stalled(body, self.settings.load().stall_timeout);
        let record = self.custody.import(operator, Upload { target, expected, length, body }).await?;
        let imported = json!({
            "url": shown(&record.target),
            "size_bytes": record.size_bytes,
            "digests": digests(&record),
            "pinned": record.sha256,
        });
        Ok(Outcome::Json(StatusCode::CREATED, imported))
    }
}

/// The token of an `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = single(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A target as it is told to clients: without a password, or a query that is a secret.
fn shown(target: &Target) -> String {
    target.to_string()
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn digests(record: &Record) -> Value {
    let others = record.digests.iter().map(|(algorithm, hex)| (algorithm.as_str().to_owned(), json!(hex)));
    let all: Map<String, Value> = others.chain([("sha256".to_owned(), json!(record.sha256))]).collect();
    Value::Object(all)
}

fn witness(witness: &RecordStatus) -> Value {
    let record = &witness.record;
    json!({
        "sha256": record.sha256,
        "digests": digests(record),
        "size_bytes": record.size_bytes,
        "first_seen": date(record.first_seen),
        "source": record.source,
        "held": witness.is_cached,
        "pinned": witness.pinned_at.map(date),
        "answers": witness.is_active,
    })
}

fn listed(listed: &ListedTarget) -> Value {
    json!({
        "url": shown(&listed.record.target),
        "sha256": listed.record.sha256,
        "size_bytes": listed.record.size_bytes,
        "first_seen": date(listed.record.first_seen),
        "held": listed.is_cached,
        "pinned": listed.is_pinned,
    })
}

fn ok(value: Value) -> Outcome {
    Outcome::Json(StatusCode::OK, value)
}

fn json_page(status: StatusCode, value: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(format!("{value}\n"))
}
