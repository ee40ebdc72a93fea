//! Downloads in checked pieces from several sources at the same time.
//!
//! `plan` says which piece is fetched next and `sources` which source is asked, for nodes and for
//! `millpond get`. `body` is the body of an object of a peer, the pieces of which `pull` takes from
//! several peers. `shared` has the state of all these bodies. This module knows no staged file and
//! no reader. The main type is [`PiecedBody`].

mod body;
mod connection;
mod plan;
mod pull;
mod shared;
mod sources;

pub use body::PiecedBody;
pub use plan::PiecePlan;
pub use shared::PeerPieces;
pub use sources::{NextSource, PieceSource, PieceSources, SourceFailure};
