//! Small traces with results that were computed by hand, to check the policies.

use crate::policies::POLICIES;
use crate::simulate;
use crate::trace::with_next_uses;

/// Cache size for three small objects. A fourth object causes one eviction.
const ROOM_BYTES: u64 = 430;

/// Size of objects with lower-case names.
const SMALL_BYTES: u64 = 100;

/// Size of objects with upper-case names.
const LARGE_BYTES: u64 = 200;

/// Policy, requested objects, and the expected hits (`+`) and misses (`-`).
const KNOWN: [(&str, &str, &str); 16] = [
    ("LRU", "abcadaebab", "---+-+--++"),
    ("FIFO", "abcadaebab", "---+----++"),
    ("Belady", "abcadaebab", "---+-+-+++"),
    // Objects with many uses stay longer than those with one use, except with LRU.
    ("LRU", "aaabcdea", "-++-----"),
    ("LFU", "aaabcdea", "-++----+"),
    ("SIEVE", "aaabcdea", "-++----+"),
    ("S3-FIFO", "aaabcdea", "-++----+"),
    ("TinyLFU", "aaabcdea", "-++----+"),
    // Old uses lose weight.
    ("LFU", "aaabcdefghia", "-++--------+"),
    ("LFU", "aaabcdefghija", "-++----------"),
    // An object that is inserted again stays longer.
    ("FIFO", "abcdaefga", "---------"),
    ("S3-FIFO", "abcdaefga", "--------+"),
    // Only an object with more uses than its victim is admitted.
    ("TinyLFU", "abcdddedb", "----++-++"),
    ("LRU", "abcdddedb", "----++-+-"),
    // GDSF evicts one large object rather than two small ones.
    ("LRU", "aBca", "----"),
    ("GDSF", "aBca", "---+"),
];

pub fn run() {
    for (name, asked, expected) in KNOWN {
        let (_, make) = POLICIES
            .iter()
            .find(|(known, _)| *known == name)
            .expect("the policy exists");
        let sized = |letter: u8| {
            if letter.is_ascii_uppercase() {
                LARGE_BYTES
            } else {
                SMALL_BYTES
            }
        };
        let requests = with_next_uses(
            asked
                .bytes()
                .map(|letter| (usize::from(letter), sized(letter))),
        );
        let answered = simulate(&requests, ROOM_BYTES, *make);
        let found: String = answered
            .iter()
            .map(|&is_hit| if is_hit { '+' } else { '-' })
            .collect();
        assert_eq!(found, expected, "{name} with requests {asked}");
    }
}
