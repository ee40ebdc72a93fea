//! Proxy requests: those of the proxy port, and those in absolute form that our nginx hands on. `CONNECT` is in [`super::tunnel`].

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::Doors;
use super::arrival::{Arrival, Form};
use super::connection::unless_stalled;
use super::log::RequestLog;
use super::problem;
use super::read::{read_ask, refuse_loop};
use super::render::Dress;
use crate::gateway::{Ask, Door, Intent, Problem};
use crate::model::{Expected, Target, TargetError};
use crate::policy::Use;

/// Pieces of a request body that wait for the origin.
const BODY_QUEUE_LENGTH: usize = 8;

pub async fn serve(request: HttpRequest, payload: Payload, doors: Data<Doors>) -> HttpResponse {
    answer(&request, payload, &doors, &Arrival::at_proxy_port(&request)).await
}

/// Answers a proxy request, wherever it came in.
pub async fn answer(request: &HttpRequest, payload: Payload, doors: &Doors, arrival: &Arrival) -> HttpResponse {
    let dress = Dress::new(request, doors);
    let admitted = doors.gateway.admit_client(arrival.client, Use::Download);
    let asked = admitted.and_then(|client| Ok((doors.read_proxy(request, arrival)?, client)));
    let uri = match &asked {
        Ok((ask, _)) => ask.target.to_string(),
        Err(_) => Target::redact(arrival.form.as_str()),
    };
    let log = RequestLog::begin(arrival.client, "proxy", request.method().as_str(), uri);
    match asked {
        Ok((mut ask, client)) => {
            if matches!(ask.intent, Intent::Other(_)) {
                ask.body = Some(bridge(request, payload, doors.settings.load().stall_timeout));
                if let Some(length) = request.headers().get("content-length") {
                    ask.forwarded_headers.push(("content-length".to_owned(), length.as_bytes().to_vec()));
                }
            }
            doors.answer(ask, client, &dress, log).await
        }
        Err(problem) => log.attach(problem::render(&problem, Some(Door::Proxy), &dress), None),
    }
}

impl Doors {
    fn read_proxy(&self, request: &HttpRequest, arrival: &Arrival) -> Result<Ask, Problem> {
        refuse_loop(request.headers(), &self.name)?;
        // One without a body never comes here: it is a tunnel.
        if *request.method() == Method::CONNECT {
            return Err(Problem::BadRequest("a CONNECT has no body".to_owned()));
        }
        let Form::Absolute(uri) = &arrival.form else {
            return Err(Problem::BadRequest(
                "this port is a proxy: set http_proxy to it, or ask the gateway port like /https://host/path"
                    .to_owned(),
            ));
        };
        // TRACE would show a client's headers to whoever answers (RFC 9110, section 9.3.8).
        if *request.method() == Method::TRACE {
            return Err(Problem::Method(request.method().to_string()));
        }
        let target = Target::parse(uri).map_err(|error| match error {
            TargetError::TooLong => Problem::Rewrite(error.into()),
            error => Problem::BadRequest(error.to_string()),
        })?;
        read_ask(request, arrival, Door::Proxy, target, Expected::nothing())
    }
}

/// Carries a request body, which belongs to this thread, to the client that sends it upstream. The queue is short: the
/// origin's speed is the client's.
fn bridge(request: &HttpRequest, payload: Payload, stall_timeout: Duration) -> reqwest::Body {
    let has_body =
        request.headers().contains_key("content-length") || request.headers().contains_key("transfer-encoding");
    if !has_body {
        return reqwest::Body::from("");
    }
    let (sender, receiver) = mpsc::channel(BODY_QUEUE_LENGTH);
    let mut payload = unless_stalled(payload, stall_timeout);
    // It ends with the payload, or when the other end is dropped.
    actix_web::rt::spawn(async move {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            let is_end = piece.is_err();
            if sender.send(piece).await.is_err() || is_end {
                return;
            }
        }
    });
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    reqwest::Body::wrap_stream(pieces)
}
