//! Which pieces of a file are missing, which connections fetch them, and how much of the file is
//! complete from its beginning.
//!
//! This file knows no source. Its main type is [`PiecePlan`].

use std::ops::Range;

/// Longest run of pieces in one request.
const MAX_RUN: usize = 8;

/// State of a piece that no connection fetches.
const UNCLAIMED: PieceState = PieceState::Missing(0);

/// State of a piece that one connection fetches. When no other piece is left, a second one may.
const SLOW: PieceState = PieceState::Missing(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceState {
    /// Number of connections that fetch the piece.
    Missing(u8),
    Done,
}

/// State of all pieces of a file.
#[derive(Debug)]
pub struct PiecePlan {
    pieces: Vec<PieceState>,
    missing: usize,
    /// Largest number of connections.
    connections: usize,
    /// All pieces before this one are complete.
    prefix: usize,
}

impl PiecePlan {
    /// Creates the plan of a file of which nothing is present.
    #[must_use]
    pub fn new(pieces: usize, connections: usize) -> Self {
        Self {
            pieces: vec![PieceState::Missing(0); pieces],
            missing: pieces,
            connections: connections.max(1),
            prefix: 0,
        }
    }

    /// Claims the next pieces that no connection fetches. If there are none, claims one that a slow
    /// connection fetches alone. Returns `None` if nothing is left to do.
    pub fn claim(&mut self) -> Option<Range<usize>> {
        // The end of the file comes last, and its connections have begun last.
        self.claim_unclaimed(self.pieces.len(), MAX_RUN)
            .or_else(|| {
                let is_slow = |state: &PieceState| *state == SLOW;
                let at = self.pieces.iter().rposition(is_slow)?;
                Some(self.claim_range(at..at + 1))
            })
    }

    /// Claims at most `longest` pieces of those before `end` that no connection fetches. If there
    /// are none, claims the first that a slow connection fetches alone, because all others wait for
    /// that one.
    pub fn claim_before(&mut self, end: usize, longest: usize) -> Option<Range<usize>> {
        let end = end.min(self.pieces.len());
        self.claim_unclaimed(end, longest).or_else(|| {
            let at = self.position_of(SLOW).filter(|at| *at < end)?;
            Some(self.claim_range(at..at + 1))
        })
    }

    fn claim_unclaimed(&mut self, end: usize, longest: usize) -> Option<Range<usize>> {
        let first = self.position_of(UNCLAIMED).filter(|first| *first < end)?;
        // Runs get shorter towards the end, so that all connections end at the same time.
        let longest = (self.missing / (2 * self.connections)).clamp(1, longest);
        let rest = self.pieces[first..end].iter().take(longest);
        let length = rest.take_while(|state| **state == UNCLAIMED).count();
        Some(self.claim_range(first..first + length))
    }

    fn claim_range(&mut self, claimed: Range<usize>) -> Range<usize> {
        for state in &mut self.pieces[claimed.clone()] {
            if let PieceState::Missing(claims) = state {
                *claims += 1;
            }
        }
        claimed
    }

    /// Gives up pieces that were claimed. Those that are complete stay so.
    pub fn release(&mut self, claimed: Range<usize>) {
        for state in &mut self.pieces[claimed] {
            if let PieceState::Missing(claims) = state {
                *claims = claims.saturating_sub(1);
            }
        }
    }

    /// Records that a piece is complete. Returns false if it was complete before.
    pub fn complete(&mut self, at: usize) -> bool {
        if self.pieces[at] == PieceState::Done {
            return false;
        }
        self.pieces[at] = PieceState::Done;
        self.missing -= 1;
        let rest = self.pieces[self.prefix..].iter();
        self.prefix += rest.take_while(|state| **state == PieceState::Done).count();
        true
    }

    /// Whether a piece is complete.
    #[must_use]
    pub fn has(&self, at: usize) -> bool {
        self.pieces[at] == PieceState::Done
    }

    /// Whether all pieces are complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Returns the number of complete pieces at the beginning of the file.
    #[must_use]
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    fn position_of(&self, wanted: PieceState) -> Option<usize> {
        let rest = self.pieces[self.prefix..].iter();
        let found = rest.enumerate().find(|(_, state)| **state == wanted);
        found.map(|(at, _)| self.prefix + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_claimed_from_the_front() {
        let mut plan = PiecePlan::new(100, 2);
        assert_eq!(plan.claim(), Some(0..8));
        assert_eq!(plan.claim(), Some(8..16));
        plan.release(0..8);
        (0..3).for_each(|at| assert!(plan.complete(at)));
        assert!(!plan.complete(2));
        assert_eq!((plan.prefix(), plan.claim()), (3, Some(3..8)));
        plan.complete(16);
        assert_eq!(plan.claim(), Some(17..25));
    }

    #[test]
    fn slow_piece_is_claimed_once_more() {
        let mut plan = PiecePlan::new(2, 3);
        assert_eq!(plan.claim(), Some(0..1));
        assert_eq!(plan.claim(), Some(1..2));
        assert_eq!(plan.claim(), Some(1..2));
        assert_eq!(plan.claim(), Some(0..1));
        assert_eq!(plan.claim(), None);
        plan.release(1..2);
        assert_eq!(plan.claim(), Some(1..2));
        assert!(plan.complete(1) && plan.complete(0));
        assert!(plan.is_complete() && plan.prefix() == 2 && plan.claim().is_none());
    }

    #[test]
    fn claims_end_before_a_bound() {
        let mut plan = PiecePlan::new(100, 2);
        assert_eq!(plan.claim_before(3, 2), Some(0..2));
        assert_eq!(plan.claim_before(3, 2), Some(2..3));
        // The first piece holds up the others.
        assert_eq!(plan.claim_before(3, 2), Some(0..1));
        assert!(plan.complete(0));
        assert_eq!(plan.claim_before(4, 2), Some(3..4));
    }
}
