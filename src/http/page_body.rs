//! Bodies of built-in pages and their files. The main function is [`in_pieces`].

use std::convert::Infallible;

use actix_web::body::{BoxBody, SizedStream};
use actix_web::web::Bytes;
use futures_util::stream;

/// Size of a piece, in bytes. The HTTP library copies one for each client that does not read.
const PIECE_BYTES: usize = 16 * 1024;

/// Returns a body that the HTTP library takes piece by piece.
pub fn in_pieces(body: impl Into<Bytes>) -> BoxBody {
    in_pieces_with(body, ())
}

/// Returns a body that the HTTP library takes piece by piece. It holds `held` until its end.
pub fn in_pieces_with<T: 'static>(body: impl Into<Bytes>, held: T) -> BoxBody {
    let body = body.into();
    let length = body.len() as u64;
    let pieces = stream::unfold((body, held), |(mut rest, held)| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Some((Ok::<_, Infallible>(piece), (rest, held)))
    });
    BoxBody::new(SizedStream::new(length, Box::pin(pieces)))
}
