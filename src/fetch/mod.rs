//! Fetches targets from their origins and other sources, one fetch for all concurrent requests.
//!
//! A fetch is a task of its own that belongs to no client. It writes through the cache's staging
//! and continues after all readers have left. The order of its steps is in `job`. This module knows
//! no HTTP server and makes no statuses. Its main type is [`Fetcher`].

mod adopt;
mod body_reader;
mod changed_content;
mod config;
mod content_encoding;
mod download;
mod error;
mod fetch_meter;
mod fetch_progress;
mod fetcher;
mod format_end;
mod found_content;
mod host_circuit;
mod host_circuits;
mod host_limits;
mod in_flight;
mod job;
mod live_fetches;
mod memory_overflow;
mod moving_permit;
mod multi_process;
mod parent_cache;
mod pieces;
mod refetch;
mod refresh;
mod refusals;
mod report;
mod resume;
mod revalidation;
mod segments;
mod shared_body;
mod source_loop;
mod state;
mod task;
mod unread_fetches;
mod withheld_end;

pub use body_reader::{BodyReader, FirstResult};
pub use config::Config;
pub use error::FetchError;
pub use fetch_meter::{ByteOrigin, MeterReading};
pub use fetch_progress::Head;
pub use fetcher::{FetchLoad, Fetcher};
pub use format_end::{FormatEnd, find_format_end};
pub use host_circuits::OpenCircuit;
pub use live_fetches::{FetchAim, FetchView};
pub use pieces::{
    NextSource, PeerPieces, PiecePlan, PieceSource, PieceSources, PiecedBody, SourceFailure,
};
pub use refresh::Refreshed;
pub use revalidation::{
    ExchangeReader, FirstAnswer, SharedRequest, StoredObservation, StreamingResponse,
};
pub use state::{FetcherLimits, FetcherServices};
