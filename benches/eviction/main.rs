//! Simulation of eviction policies, with builds of current and old versions and mass rebuilds.
//!
//!     cargo bench --bench eviction

mod checks;
mod policies;
mod trace;

use policies::{Make, POLICIES};
use trace::{OBJECTS, Request};

const ALPHAS: [f64; 3] = [0.8, 1.0, 1.2];

/// Sizes of the cache, in percent of the bytes of all requested objects.
const ROOMS_PERCENT: [u64; 4] = [5, 10, 20, 40];

/// Several seeds, because a result depends on the random sizes of the most popular sources.
const SEEDS: [u64; 3] = [1, 2, 3];

/// The requests are divided into this many parts. The first part warms the cache and is not
/// counted.
const PARTS: usize = 5;

/// Size at which eviction starts: the default of `cache.high_watermark`.
fn high_watermark_bytes(room_bytes: u64) -> u64 {
    room_bytes * 80 / 100
}

/// Size at which eviction stops: the default of `cache.low_watermark`.
fn low_watermark_bytes(room_bytes: u64) -> u64 {
    room_bytes * 70 / 100
}

fn main() {
    checks::run();
    let names: Vec<_> = POLICIES.iter().map(|(name, _)| *name).collect();
    println!("| alpha | cache | {} | unlimited |", names.join(" | "));
    println!("| ---: | ---: |{}", " ---: |".repeat(POLICIES.len() + 1));
    let mut upstream = vec![Vec::new(); POLICIES.len()];
    for alpha in ALPHAS {
        let traces = SEEDS.map(|seed| Trace::new(trace::requests(alpha, seed)));
        let (_, any) = POLICIES[0];
        // At 200 %, nothing is ever evicted.
        let all_kept = mean(&traces.each_ref().map(|trace| trace.kept(200, any)));
        for room_percent in ROOMS_PERCENT {
            let mut cells = Vec::new();
            for (policy, (_, make)) in POLICIES.iter().enumerate() {
                let shares = traces
                    .each_ref()
                    .map(|trace| trace.kept(room_percent, *make));
                upstream[policy].push(1.0 - mean(&shares).of_bytes);
                cells.push(mean(&shares).to_string());
            }
            println!(
                "| {alpha:.1} | {room_percent} % | {} | {all_kept} |",
                cells.join(" | ")
            );
        }
    }
    let lru = upstream[0].clone();
    let ratios = upstream.iter().map(|shares| spread(shares, &lru));
    println!(
        "| bytes from upstream, LRU = 1 | | {} | |",
        ratios.collect::<Vec<_>>().join(" | ")
    );
}

/// Hit rates.
#[derive(Default, Clone, Copy)]
struct Shares {
    of_requests: f64,
    of_bytes: f64,
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} / {:.1}",
            self.of_requests * 100.0,
            self.of_bytes * 100.0
        )
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ratios are printed with three digits"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn mean(shares: &[Shares]) -> Shares {
    let mut mean = Shares::default();
    for share in shares {
        mean.of_requests += share.of_requests * ratio(1, shares.len() as u64);
        mean.of_bytes += share.of_bytes * ratio(1, shares.len() as u64);
    }
    mean
}

/// Formats the minimum and maximum of the pairwise ratios of `shares` to `others`.
fn spread(shares: &[f64], others: &[f64]) -> String {
    let ratios = || {
        shares
            .iter()
            .zip(others)
            .map(|(share, other)| share / other)
    };
    format!(
        "{:.2} to {:.2}",
        ratios().fold(f64::MAX, f64::min),
        ratios().fold(0.0, f64::max)
    )
}

struct Trace {
    requests: Vec<Request>,
    /// Size of all requested objects.
    all_bytes: u64,
}

impl Trace {
    fn new(requests: Vec<Request>) -> Self {
        let last_uses = requests.iter().filter(|request| request.next == usize::MAX);
        Self {
            all_bytes: last_uses.map(|request| request.size_bytes).sum(),
            requests,
        }
    }

    /// Returns the hit rates of a warm cache.
    fn kept(&self, room_percent: u64, make: Make) -> Shares {
        let answered = simulate(&self.requests, self.all_bytes * room_percent / 100, make);
        let counted = || {
            self.requests
                .iter()
                .zip(&answered)
                .skip(self.requests.len() / PARTS)
        };
        let hits = || counted().filter(|(_, is_hit)| **is_hit);
        let bytes_of = |(request, _): (&Request, _)| request.size_bytes;
        Shares {
            of_requests: ratio(hits().count() as u64, counted().count() as u64),
            of_bytes: ratio(hits().map(bytes_of).sum(), counted().map(bytes_of).sum()),
        }
    }
}

/// Simulates a cache. Returns for each request whether it is a hit.
fn simulate(requests: &[Request], room_bytes: u64, make: Make) -> Vec<bool> {
    let mut policy = make(room_bytes);
    let mut held = vec![None; OBJECTS];
    let mut held_bytes = 0;
    let mut answered = Vec::with_capacity(requests.len());
    for request in requests {
        let is_hit = held[request.object].is_some();
        answered.push(is_hit);
        if is_hit {
            policy.hit(request);
            continue;
        }
        policy.insert(request);
        held[request.object] = Some(request.size_bytes);
        held_bytes += request.size_bytes;
        if held_bytes <= high_watermark_bytes(room_bytes) {
            continue;
        }
        while held_bytes > low_watermark_bytes(room_bytes) {
            let victim = policy
                .evict()
                .expect("the policy knows every stored object");
            held_bytes -= held[victim]
                .take()
                .expect("the policy knows only stored objects");
        }
    }
    answered
}
