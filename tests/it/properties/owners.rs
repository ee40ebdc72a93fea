//! Properties of the owners of keys.

use millpond::cluster::{WeightedNode, rank};
use proptest::prelude::*;

use super::cases;

/// Number of keys of one case.
const KEYS: u32 = 600;

fn key(seed: u64, number: u32) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_be_bytes());
    key[8..12].copy_from_slice(&number.to_be_bytes());
    key
}

fn candidates(ids: &[String], space_bytes: u64) -> Vec<WeightedNode<'_>> {
    ids.iter()
        .map(|id| WeightedNode {
            id: id.as_str(),
            space_bytes,
        })
        .collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn owner_is_independent_of_node_order(seed in any::<u64>(), count in 1..8usize) {
        let ids: Vec<_> = (0..count).map(|number| format!("{number:08x}")).collect();
        let nodes = candidates(&ids, 1 << 30);
        let reversed: Vec<_> = nodes.iter().rev().copied().collect();
        for number in 0..KEYS {
            let key = key(seed, number);
            let names = |order: Vec<usize>, nodes: &[WeightedNode<'_>]| -> Vec<String> {
                order.into_iter().map(|at| nodes[at].id.to_owned()).collect()
            };
            let order = names(rank(&key, &nodes), &nodes);
            prop_assert_eq!(order, names(rank(&key, &reversed), &reversed));
        }
    }

    #[test]
    fn only_keys_of_a_leaving_node_move(
        seed in any::<u64>(),
        count in 2..8usize,
        leaving in 0..8usize,
    ) {
        let ids: Vec<_> = (0..count).map(|number| format!("{number:08x}")).collect();
        let (nodes, leaving) = (candidates(&ids, 1 << 30), leaving % count);
        let mut left = nodes.clone();
        left.remove(leaving);
        let mut moved = 0u32;
        for number in 0..KEYS {
            let key = key(seed, number);
            let before = rank(&key, &nodes);
            let after = left[rank(&key, &left)[0]].id;
            if before[0] == leaving {
                moved += 1;
                // The next in rank takes over.
                prop_assert_eq!(after, nodes[before[1]].id);
            } else {
                prop_assert_eq!(after, nodes[before[0]].id);
            }
        }
        // One of `count` parts, within five standard deviations.
        let expected = f64::from(KEYS) / f64::from(u32::try_from(count).unwrap());
        let distance = (f64::from(moved) - expected).abs();
        prop_assert!(distance <= 5.0 * expected.sqrt(), "{moved} of {KEYS} with {count}");
    }

    #[test]
    fn keys_are_owned_in_proportion_to_space(seed in any::<u64>()) {
        let nodes = [("a", 1u64 << 30), ("b", 3 << 30)];
        let nodes = nodes.map(|(id, space_bytes)| WeightedNode { id, space_bytes });
        let owned = (0..KEYS).filter(|number| rank(&key(seed, *number), &nodes)[0] == 1);
        let owned = owned.count();
        prop_assert!((390..=510).contains(&owned), "{owned} of {KEYS}, expected 450");
    }
}
