//! More clients than there is room for. Connections and answers are counted, and who comes when all places are taken hears so
//! at once, while those who have one go on.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::ConnectionType;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::arrival::Arrival;
use super::connection::Line;
use super::log::RequestLog;
use super::pages::Page;
use super::render::Dress;
use super::request_scanner::FramingError;
use super::tunnel::Port;
use super::{Doors, gateway_port, problem, proxy_port};
use crate::gateway::{Door, Problem};
use crate::model::Target;

/// Connections at once, however many descriptors there are: each costs memory.
const MAX_CONNECTIONS: usize = 10_500;

/// Answers and tunnels at once, likewise.
const MAX_ANSWERS: usize = 4096;

/// Connections above all places, for those who are turned away and for health checks: at most so many, and at most such a
/// part of the descriptors.
const MAX_SPARE: usize = 64;
const PART_OF_SPARE: usize = 8;

/// While less than this part of the places is free, each answer is its connection's last: who rests makes room.
const PART_LEFT_WHEN_CROWDED: usize = 32;

/// The largest and the smallest piece in which a body is handed to its connection, in bytes: larger ones cost memory a
/// client, smaller ones CPU a byte.
const MAX_PIECE_BYTES: usize = 64 * 1024;
const MIN_PIECE_BYTES: usize = 8 * 1024;

/// What the pieces of all bodies together may be, in bytes, before they become smaller: a client that does not read keeps one.
const ALL_PIECES_BYTES: usize = 16 << 20;

/// How many connections and answers there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrowdLimits {
    pub connections: usize,
    /// Connections above these, which are turned away.
    pub spare: usize,
    /// Each may hold a file or another connection open, beside the client's.
    pub answers: usize,
}

impl CrowdLimits {
    /// What can be done with so many descriptors. Idle connections need one, the others two.
    #[must_use]
    pub fn within(descriptors: usize) -> Self {
        let spare = (descriptors / PART_OF_SPARE).clamp(1, MAX_SPARE);
        let left = descriptors.saturating_sub(spare);
        let answers = (left / 3).clamp(1, MAX_ANSWERS);
        let connections = left.saturating_sub(answers).clamp(1, MAX_CONNECTIONS);
        Self { connections, spare, answers }
    }
}

/// The places of this process.
#[derive(Debug)]
pub struct Crowd {
    limits: CrowdLimits,
    connections: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Crowd {
    #[must_use]
    pub fn new(limits: CrowdLimits) -> Self {
        Self {
            limits,
            connections: Arc::new(Semaphore::new(limits.connections)),
            answers: Arc::new(Semaphore::new(limits.answers)),
        }
    }

    /// How many connections may be open, with those that are turned away.
    pub(super) fn max_connections(&self) -> usize {
        self.limits.connections + self.limits.spare
    }

    /// A place for a connection, if there is one.
    pub(super) fn admit_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// A place for an answer or a tunnel, if there is one.
    pub(super) fn begin_answer(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.answers).try_acquire_owned().ok()
    }

    fn is_crowded(&self) -> bool {
        self.connections.available_permits() < self.limits.connections.div_ceil(PART_LEFT_WHEN_CROWDED)
    }

    /// In what pieces a body that begins now is to be handed over, in bytes.
    pub(super) fn piece_bytes(&self) -> usize {
        let answers = self.limits.answers.saturating_sub(self.answers.available_permits());
        (ALL_PIECES_BYTES / answers.max(1)).clamp(MIN_PIECE_BYTES, MAX_PIECE_BYTES)
    }
}

/// Answers a request at one of the ports, if there is a place for it. Health checks need none.
pub async fn serve(port: Port, request: HttpRequest, payload: Payload, doors: Data<Doors>) -> HttpResponse {
    let line = request.conn_data::<Rc<Line>>().map(Rc::clone).expect("every connection has its line");
    line.begin();
    let refused = line.refused();
    let is_turned_away = line.is_turned_away();
    // Dropped with the request, however that ends.
    let mut exchange = Exchange { line, place: None };
    let is_health = port == Port::Gateway && Page::of_path(request.path()).is_some_and(Page::is_health);
    if !is_turned_away && !is_health {
        exchange.place = doors.crowd.begin_answer();
    }
    let mut response = match port {
        _ if let Some(error) = refused => refuse(port, error, &request, &doors),
        _ if exchange.place.is_none() && !is_health => turn_away(port, &request, &doors),
        Port::Gateway => gateway_port::serve(request, payload, Data::clone(&doors)).await,
        Port::Proxy => proxy_port::serve(request, payload, Data::clone(&doors)).await,
    };
    if is_turned_away || refused.is_some() || doors.crowd.is_crowded() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    exchange.line.answer();
    response.map_body(|_, body| Exchanged { body, _exchange: exchange }.boxed())
}

fn turn_away(port: Port, request: &HttpRequest, doors: &Doors) -> HttpResponse {
    let (door, name, arrival) = match port {
        Port::Gateway => (Door::Rewrite, "rewrite", Arrival::at_gateway_port(request, doors)),
        Port::Proxy => (Door::Proxy, "proxy", Arrival::at_proxy_port(request)),
    };
    let uri = Target::redact(arrival.form.as_str());
    let log = RequestLog::begin(arrival.client, name, request.method().as_str(), uri);
    log.attach(problem::render(&Problem::Busy, Some(door), &Dress::new(request, doors)), None)
}

/// Answers a malformed request. Nothing of it is known, not even the method: `request` is a stand-in.
fn refuse(port: Port, error: FramingError, request: &HttpRequest, doors: &Doors) -> HttpResponse {
    let (door, name) = match port {
        Port::Gateway => (Door::Rewrite, "rewrite"),
        Port::Proxy => (Door::Proxy, "proxy"),
    };
    let problem = match error {
        FramingError::HeadTooLarge => Problem::HeadTooLarge(error.to_string()),
        FramingError::Malformed(_) => Problem::BadRequest(error.to_string()),
    };
    let log = RequestLog::begin(Arrival::at_proxy_port(request).client, name, "-", "-".to_owned());
    log.attach(problem::render(&problem, Some(door), &Dress::new(request, doors)), None)
}

/// One request and its answer, on its line.
struct Exchange {
    line: Rc<Line>,
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.line.end();
    }
}

/// A body that keeps its place until the last of it was taken.
struct Exchanged {
    body: BoxBody,
    _exchange: Exchange,
}

impl MessageBody for Exchanged {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
