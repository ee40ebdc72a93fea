//! Targets whose size and replies follow from a seed.

use std::time::Duration;

use super::SEED;
use crate::harness::{Body, Origin, Reply, archive};

/// Pseudorandom numbers, the same for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// URL and body that follow from a target's number.
pub(super) struct Target {
    pub(super) url: String,
    pub(super) body: Body,
}

impl Target {
    pub(super) fn new(origin: &Origin, number: u64) -> Self {
        let mut random = Random(SEED + number * 7919 + 1);
        let end = if random.below(12) == 0 {
            600_000
        } else {
            80_000
        };
        let size = usize::try_from(1000 + random.below(end)).expect("the number fits");
        let (body, path) = (archive(number, size), format!("/pub/x-{number}.tar.gz"));
        let file = Reply::file(&body);
        let replies = match random.below(8) {
            0 => vec![file.cut_at(size / 2), Reply::file(&body)],
            1 => vec![Reply::ok(&body).cut_at(size / 2), Reply::ok(&body)],
            2 => vec![file.chunked()],
            3 => vec![
                Reply::ok(&body)
                    .chunked()
                    .drip(8000, Duration::from_millis(3)),
            ],
            4 | 5 => vec![file.drip(4000, Duration::from_millis(3))],
            _ => vec![file],
        };
        origin.script(&path, replies);
        Self {
            url: origin.url(&path),
            body,
        }
    }
}
