//! Small traces whose answers were worked out by hand: a wrong policy would give wrong advice.

use crate::policies::POLICIES;
use crate::simulate;
use crate::trace::with_next_uses;

/// Has room for three small objects, and evicts one when a fourth comes.
const ROOM_BYTES: u64 = 430;

/// Small letters are small objects.
const SMALL_BYTES: u64 = 100;

/// Capital letters are large ones.
const LARGE_BYTES: u64 = 200;

/// Policy, what is asked for, and which of it is answered.
const KNOWN: [(&str, &str, &str); 16] = [
    ("LRU", "abcadaebab", "---+-+--++"),
    ("FIFO", "abcadaebab", "---+----++"),
    ("Belady", "abcadaebab", "---+-+-+++"),
    // What is wanted often outlasts what is wanted once, but for the order of last uses.
    ("LRU", "aaabcdea", "-++-----"),
    ("LFU", "aaabcdea", "-++----+"),
    ("SIEVE", "aaabcdea", "-++----+"),
    ("S3-FIFO", "aaabcdea", "-++----+"),
    ("TinyLFU", "aaabcdea", "-++----+"),
    // Fame fades.
    ("LFU", "aaabcdefghia", "-++--------+"),
    ("LFU", "aaabcdefghija", "-++----------"),
    // What comes again stays longer.
    ("FIFO", "abcdaefga", "---------"),
    ("S3-FIFO", "abcdaefga", "--------+"),
    // What is wanted more than others gets in.
    ("TinyLFU", "abcdddedb", "----++-++"),
    ("LRU", "abcdddedb", "----++-+-"),
    // Two small ones for a large one.
    ("LRU", "aBca", "----"),
    ("GDSF", "aBca", "---+"),
];

pub fn run() {
    for (name, asked, expected) in KNOWN {
        let (_, make) = POLICIES.iter().find(|(known, _)| *known == name).expect("there is such a policy");
        let sized = |letter: u8| if letter.is_ascii_uppercase() { LARGE_BYTES } else { SMALL_BYTES };
        let requests = with_next_uses(asked.bytes().map(|letter| (usize::from(letter), sized(letter))));
        let answered = simulate(&requests, ROOM_BYTES, *make);
        let found: String = answered.iter().map(|&is_hit| if is_hit { '+' } else { '-' }).collect();
        assert_eq!(found, expected, "{name} asked for {asked}");
    }
}
