//! Pieces of an object, as a node states them to its peers.
//!
//! The main type is [`OfferedPieces`].

use serde::{Deserialize, Serialize};

use crate::model::{PieceList, Sha256};

/// Path at which a node states the pieces of an object.
pub const PIECES_PATH: &str = "/api/v1/node/pieces";

/// Pieces of an object.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfferedPieces {
    /// Size of the object. `None` without pieces.
    size_bytes: Option<u64>,
    /// SHA-256 of each piece, in hexadecimal digits.
    pieces: Vec<String>,
}

/// Error returned when a list of pieces contradicts itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of pieces does not fit the size of the object")]
pub struct UnfitPieces;

impl OfferedPieces {
    /// Creates the document of an object. `None` until its pieces are computed.
    #[must_use]
    pub fn new(list: Option<&PieceList>) -> Self {
        let digests = list.map(PieceList::digests).unwrap_or_default();
        Self {
            size_bytes: list.map(PieceList::size_bytes),
            pieces: digests.iter().map(Sha256::to_string).collect(),
        }
    }

    /// Returns the list. `None` if the peer has not computed it.
    ///
    /// # Errors
    /// [`UnfitPieces`].
    pub(super) fn into_list(self) -> Result<Option<PieceList>, UnfitPieces> {
        let Some(size_bytes) = self.size_bytes else {
            return Ok(None);
        };
        let digests = self.pieces.iter().map(|piece| piece.parse().ok());
        let digests = digests
            .collect::<Option<Vec<Sha256>>>()
            .ok_or(UnfitPieces)?;
        PieceList::new(size_bytes, digests)
            .map(Some)
            .ok_or(UnfitPieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_must_fit_the_size() {
        let pieces = |size_bytes, count| OfferedPieces {
            size_bytes,
            pieces: vec!["ab".repeat(32); count],
        };
        let list = pieces(Some((1 << 20) + 1), 2).into_list().unwrap().unwrap();
        let document = serde_json::to_string(&OfferedPieces::new(Some(&list))).unwrap();
        let read: OfferedPieces = serde_json::from_str(&document).unwrap();
        assert_eq!(read.into_list(), Ok(Some(list)));
        assert_eq!(pieces(None, 0).into_list(), Ok(None));
        assert_eq!(pieces(Some(1 << 20), 2).into_list(), Err(UnfitPieces));
        let short = OfferedPieces {
            size_bytes: Some(1),
            pieces: vec!["ab".to_owned()],
        };
        assert_eq!(short.into_list(), Err(UnfitPieces));
    }
}
