//! `GET /api/v1/events`: the recent events, and the next ones as they happen.
//!
//! Clients get server-sent events, or one JSON document a line if they accept
//! `application/x-ndjson`.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::body::{BodyStream, BoxBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Bytes;
use futures_util::stream::unfold;

use super::query::Query;
use crate::admin::{AdminError, ListReader};
use crate::events::{EventId, EventLog, Follower, NextEvent};
use crate::gateway::RequestError;
use crate::http::parse_request::single;

/// Length from which a piece of the response is sent, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 3000;

/// Form of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventForm {
    /// Server-sent events (HTML Living Standard, section 9.2).
    ServerSent,
    /// One JSON document a line.
    Lines,
}

/// End of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventEnd {
    /// After the events that have happened.
    Now,
    /// When the client or the gateway goes.
    Never,
}

/// Streams the recent events, and the next ones as they happen
///
/// `Last-Event-ID` is the last one that the client knows. With `follow=false`, the response ends
/// with the newest event.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "followEvents", tag = "events",
    params(
        ("follow" = Option<bool>, Query, description = "Whether the response has no end; true"),
        ("Last-Event-ID" = Option<String>, Header,
         description = "Identity of the last event that the client knows"),
    ),
    responses((status = 200, description = "The events", content(
        (String = "text/event-stream"),
        (String = "application/x-ndjson"),
    ))),
    security(("reader" = []), ("operator" = [])),
)]
pub fn stream(
    events: &EventLog,
    _: &ListReader,
    headers: &HeaderMap,
    mut query: Query<'_>,
) -> Result<HttpResponse, AdminError> {
    let end = if query.flag_or("follow", true)? {
        EventEnd::Never
    } else {
        EventEnd::Now
    };
    query.finish()?;
    let last = single(headers, "last-event-id").filter(|last| !last.is_empty());
    let last = last.map(str::parse::<EventId>).transpose();
    let last = last.map_err(|error| RequestError::BadRequest(format!("Last-Event-ID: {error}")))?;
    let form = match single(headers, ACCEPT.as_str()) {
        Some(accept) if accept.contains("application/x-ndjson") => EventForm::Lines,
        _ => EventForm::ServerSent,
    };
    let follower = events.follow(last).ok_or(RequestError::Busy)?;
    Ok(respond(form, pieces(follower, form, end)))
}

fn respond(
    form: EventForm,
    pieces: impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + 'static,
) -> HttpResponse {
    let content_type = match form {
        EventForm::ServerSent => "text/event-stream; charset=utf-8",
        EventForm::Lines => "application/x-ndjson",
    };
    HttpResponse::build(StatusCode::OK)
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would hold events back until its buffer is full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .body(BoxBody::new(BodyStream::new(Box::pin(pieces))))
}

/// Returns the pieces of the response. Each has all events that are there, up to a bound.
fn pieces(
    follower: Follower,
    form: EventForm,
    end: EventEnd,
) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let greeting = match form {
        EventForm::ServerSent => format!("retry: {RETRY_MS}\n\n"),
        EventForm::Lines => String::new(),
    };
    unfold(Some((follower, greeting)), move |state| async move {
        let (mut follower, mut piece) = state?;
        while piece.len() < PIECE_BYTES
            && let Some(next) = follower.try_next()
        {
            write_event(&mut piece, &next, form);
        }
        if end == EventEnd::Now {
            let is_last = piece.is_empty();
            return (!is_last).then(|| (Ok(Bytes::from(piece)), Some((follower, String::new()))));
        }
        if piece.is_empty() {
            match follower.next().await {
                NextEvent::End => return None,
                next => write_event(&mut piece, &next, form),
            }
        }
        Some((Ok(Bytes::from(piece)), Some((follower, String::new()))))
    })
}

fn write_event(piece: &mut String, next: &NextEvent, form: EventForm) {
    let written = match (next, form) {
        (NextEvent::Event(event), EventForm::ServerSent) => {
            write!(piece, "id: {}\ndata: {}\n\n", event.id(), event.json())
        }
        (NextEvent::Event(event), EventForm::Lines) => writeln!(piece, "{}", event.json()),
        (NextEvent::Lost(count), EventForm::ServerSent) => {
            write!(piece, "data: {{\"type\":\"lost\",\"count\":{count}}}\n\n")
        }
        (NextEvent::Lost(count), EventForm::Lines) => {
            writeln!(piece, "{{\"type\":\"lost\",\"count\":{count}}}")
        }
        (NextEvent::Nothing, EventForm::ServerSent) => write!(piece, ":\n\n"),
        (NextEvent::Nothing, EventForm::Lines) => writeln!(piece),
        (NextEvent::End, _) => Ok(()),
    };
    // Writing to a string does not fail.
    written.unwrap_or_default();
}
