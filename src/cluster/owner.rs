//! The order in which nodes own a key: a rendezvous hash, weighted by space.
//!
//! Each node computes it alone. Two nodes with the same candidates compute the same order, whatever
//! the order of their lists. The main function is [`rank`].

use std::cmp::Ordering;

use sha2::{Digest as _, Sha256};

/// Node that may own a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightedNode<'a> {
    pub id: &'a str,
    /// Size of its cache. A node with twice the space owns twice as many keys.
    pub space_bytes: u64,
}

/// Returns the indexes of the candidates, the owner of the key first.
///
/// If a node leaves, only its own keys get another owner.
#[must_use]
pub fn rank(key: &[u8; 32], candidates: &[WeightedNode<'_>]) -> Vec<usize> {
    let scores: Vec<f64> = candidates.iter().map(|node| score(key, *node)).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&left, &right| {
        let by_score = scores[right].partial_cmp(&scores[left]);
        // Equal scores have a fixed order too.
        let by_id = candidates[left].id.cmp(candidates[right].id);
        by_score.unwrap_or(Ordering::Equal).then(by_id)
    });
    order
}

/// Returns the score of a node for a key: its weight, divided by a number that is distributed
/// exponentially. The largest of such scores falls on each node in proportion to its weight.
fn score(key: &[u8; 32], node: WeightedNode<'_>) -> f64 {
    let mut hasher = Sha256::new();
    hasher.update(node.id.as_bytes());
    hasher.update([0]);
    hasher.update(key);
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // The upper 53 bits fit into a number of double precision.
    let bits = u64::from_be_bytes(first) >> 11;
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are exact, and a weight may be rounded"
    )]
    let (uniform, weight) = (
        (bits as f64 + 0.5) / (1u64 << 53) as f64,
        node.space_bytes.max(1) as f64,
    );
    -weight / uniform.ln()
}
