//! SHA-256 of the pieces of an object, so that a client can take them from several sources and name
//! the one that sent other bytes.
//!
//! The digest of the whole object decides, whatever a list says. SHA-1 of the pieces are for
//! clients of BitTorrent, which know no other digest. The main type is [`PieceList`].

use sha1::{Digest as _, Sha1};

use super::digest::{ExpectedDigests, Hasher, Sha256};

/// Length of a piece in bytes. The last piece of an object may be shorter.
pub const PIECE_BYTES: u64 = 1 << 20;

/// Smallest object that has a list, in bytes. A smaller one arrives in one request as fast.
pub const MIN_PIECED_BYTES: u64 = 16 << 20;

/// Bound on the pieces of a list, for objects of 64 GiB. A list of so many takes 2 MiB.
pub const MAX_PIECES: u64 = 1 << 16;

/// SHA-1 of a piece.
pub type PieceSha1 = [u8; 20];

/// Digests of all pieces of an object, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceList {
    size_bytes: u64,
    digests: Vec<Sha256>,
    /// `None` in a list of another source, or of an earlier version.
    sha1: Option<Vec<PieceSha1>>,
}

impl PieceList {
    /// Creates the list of an object of `size_bytes`. Returns `None` if the object has another
    /// number of pieces, or too many.
    #[must_use]
    pub fn new(size_bytes: u64, digests: Vec<Sha256>) -> Option<Self> {
        let count = digests.len() as u64;
        let is_complete = count == size_bytes.div_ceil(PIECE_BYTES) && count <= MAX_PIECES;
        is_complete.then_some(Self {
            size_bytes,
            digests,
            sha1: None,
        })
    }

    /// Adds the SHA-1 of the pieces. Returns `None` if there is another number of them.
    #[must_use]
    pub fn with_sha1(self, sha1: Vec<PieceSha1>) -> Option<Self> {
        let is_complete = sha1.len() == self.digests.len();
        is_complete.then_some(Self {
            sha1: Some(sha1),
            ..self
        })
    }

    /// Returns the SHA-1 of the pieces, if they are known.
    #[must_use]
    pub fn sha1(&self) -> Option<&[PieceSha1]> {
        self.sha1.as_deref()
    }

    /// Returns whether an object of this size has a list.
    #[must_use]
    pub fn is_for(size_bytes: u64) -> bool {
        (MIN_PIECED_BYTES..=MAX_PIECES * PIECE_BYTES).contains(&size_bytes)
    }

    /// Returns the size of the object in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    #[must_use]
    pub fn digests(&self) -> &[Sha256] {
        &self.digests
    }

    /// Returns the first byte of a piece.
    #[must_use]
    pub fn first_of(at: usize) -> u64 {
        at as u64 * PIECE_BYTES
    }

    /// Returns the length of a piece in bytes, or 0 behind the last one.
    #[must_use]
    pub fn length_of(&self, at: usize) -> usize {
        let rest = self.size_bytes.saturating_sub(Self::first_of(at));
        usize::try_from(rest.min(PIECE_BYTES)).expect("a piece fits into memory")
    }

    /// Returns whether `bytes` are those of a piece.
    #[must_use]
    pub fn has(&self, at: usize, bytes: &[u8]) -> bool {
        self.digests.get(at) == Some(&Self::digest_of(bytes))
    }

    /// Returns the digest of the bytes of a piece.
    #[must_use]
    pub fn digest_of(bytes: &[u8]) -> Sha256 {
        let mut hasher = plain_hasher();
        hasher.update(bytes);
        hasher.finish().sha256
    }
}

/// Digests of an object and of its pieces, computed in one pass.
pub struct PieceHasher {
    whole: Hasher,
    piece: Hasher,
    piece_sha1: Sha1,
    size_bytes: u64,
    digests: Vec<Sha256>,
    sha1: Vec<PieceSha1>,
}

impl Default for PieceHasher {
    fn default() -> Self {
        Self {
            whole: plain_hasher(),
            piece: plain_hasher(),
            piece_sha1: Sha1::new(),
            size_bytes: 0,
            digests: Vec::new(),
            sha1: Vec::new(),
        }
    }
}

impl PieceHasher {
    /// Adds the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let space = PIECE_BYTES - self.size_bytes % PIECE_BYTES;
            let space = usize::try_from(space).expect("a piece fits into memory");
            let (now, later) = bytes.split_at(space.min(bytes.len()));
            self.piece.update(now);
            self.piece_sha1.update(now);
            self.size_bytes += now.len() as u64;
            bytes = later;
            if self.size_bytes.is_multiple_of(PIECE_BYTES) {
                self.end_piece();
            }
        }
    }

    /// Returns the SHA-256 of all bytes, and their list. The list is `None` if there are too many
    /// pieces.
    #[must_use]
    pub fn finish(mut self) -> (Sha256, Option<PieceList>) {
        if !self.size_bytes.is_multiple_of(PIECE_BYTES) {
            self.end_piece();
        }
        let list = PieceList::new(self.size_bytes, self.digests);
        let list = list.and_then(|list| list.with_sha1(self.sha1));
        (self.whole.finish().sha256, list)
    }

    fn end_piece(&mut self) {
        let piece = std::mem::replace(&mut self.piece, plain_hasher());
        self.digests.push(piece.finish().sha256);
        self.sha1.push(self.piece_sha1.finalize_reset().into());
    }
}

fn plain_hasher() -> Hasher {
    Hasher::new(&ExpectedDigests::nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_depend_on_updates() {
        let body: Vec<u8> = (0..(5 << 19) + 7)
            .map(|at: u32| at.to_le_bytes()[1])
            .collect();
        let in_steps = |step: usize| {
            let mut hasher = PieceHasher::default();
            body.chunks(step).for_each(|chunk| hasher.update(chunk));
            hasher.finish()
        };
        let (sha256, list) = in_steps(body.len());
        let list = list.unwrap();
        assert_eq!(list.digests().len(), 3);
        for step in [4096, 999_983, 1 << 20, (1 << 20) + 1] {
            assert_eq!(in_steps(step), (sha256, Some(list.clone())), "{step}");
        }
        let mut from = 0;
        for at in 0..3 {
            let until = from + list.length_of(at);
            assert!(list.has(at, &body[from..until]), "{at}");
            assert!(!list.has(at, &body[from..until - 1]), "{at}");
            from = until;
        }
        assert_eq!((from, list.length_of(3)), (body.len(), 0));
        assert!(!list.has(3, b""));
    }

    #[test]
    fn whole_pieces_have_no_empty_last_one() {
        let mut hasher = PieceHasher::default();
        hasher.update(&vec![1; 2 << 20]);
        let (_, list) = hasher.finish();
        let list = list.unwrap();
        assert_eq!(list.digests().len(), 2);
        assert_eq!(list.sha1().map(<[_]>::len), Some(2));
    }

    #[test]
    fn list_has_as_many_pieces_as_the_object() {
        let digest = Sha256::from_bytes([0; 32]);
        assert!(PieceList::new(PIECE_BYTES + 1, vec![digest; 2]).is_some());
        assert!(PieceList::new(PIECE_BYTES + 1, vec![digest]).is_none());
        assert!(PieceList::new(PIECE_BYTES, vec![digest; 2]).is_none());
        let most = MAX_PIECES * PIECE_BYTES;
        assert!(PieceList::is_for(most) && !PieceList::is_for(most + 1));
    }
}
