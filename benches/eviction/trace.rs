//! Simulated requests: builds of current versions, builds of old versions, and mass rebuilds.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

const SOURCES: u32 = 10_000;

const VERSIONS: usize = 10;

pub const OBJECTS: usize = SOURCES as usize * VERSIONS;

const REQUESTS: usize = 1_000_000;

/// Number of requests between two releases of a source.
const REQUESTS_PER_RELEASE: usize = REQUESTS / (VERSIONS - 1);

/// Number of sources in a rebuild: half of them, each requested once, in one sequence.
const WALK: usize = SOURCES as usize / 2;

/// One in this number of requests belongs to a rebuild.
const REQUESTS_PER_WALKED: usize = 6;

/// Sizes are log-normal. The mean is ten times the median, before the largest sizes are clamped.
const MEDIAN_BYTES: f64 = 1024.0 * 1024.0;
const MEAN_TO_MEDIAN: f64 = 10.0;
const MAX_BYTES: f64 = 1024.0 * 1024.0 * 1024.0;

/// Standard deviation of the logarithm of the size, among the versions of one source.
const VERSION_SPREAD: f64 = 0.1;

/// Request for an object.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub object: usize,
    pub size_bytes: u64,
    /// Number of this request.
    pub now: usize,
    /// Number of the next request for the object, or [`usize::MAX`].
    pub next: usize,
}

/// Generates the requests. The popularity of the source of rank r is proportional to r^-alpha.
pub fn requests(alpha: f64, seed: u64) -> Vec<Request> {
    let mut random = StdRng::seed_from_u64(seed);
    let sizes = sizes(&mut random);
    // Each source has its own release times.
    let ages: Vec<_> = (0..SOURCES)
        .map(|_| random.random_range(0..REQUESTS_PER_RELEASE))
        .collect();
    let ranks = cumulated_weights(alpha);
    let mut walked: Vec<usize> = (0..ages.len()).collect();
    let mut objects = Vec::with_capacity(REQUESTS);
    while objects.len() < REQUESTS {
        let at = objects.len();
        let step = at % (WALK * REQUESTS_PER_WALKED);
        if step == 0 {
            walked.shuffle(&mut random);
        }
        let current_of = |source: usize| (ages[source] + at) / REQUESTS_PER_RELEASE;
        let (source, version) = if step < WALK {
            (walked[step], current_of(walked[step]))
        } else {
            let drawn = random.random_range(0.0..1.0);
            let source = ranks.partition_point(|&reached| reached < drawn);
            (source, wanted_version(current_of(source), &mut random))
        };
        objects.push(source * VERSIONS + version);
    }
    with_next_uses(objects.iter().map(|&object| (object, sizes[object])))
}

/// Turns a sequence of objects and sizes into requests.
pub fn with_next_uses(
    asked: impl DoubleEndedIterator<Item = (usize, u64)> + ExactSizeIterator,
) -> Vec<Request> {
    let mut later = HashMap::with_capacity(OBJECTS);
    let mut requests: Vec<Request> = asked
        .enumerate()
        .rev()
        .map(|(now, (object, size_bytes))| {
            let next = later.insert(object, now).unwrap_or(usize::MAX);
            Request {
                object,
                size_bytes,
                now,
                next,
            }
        })
        .collect();
    requests.reverse();
    requests
}

/// Returns the size of each object. The versions of one source are adjacent.
fn sizes(random: &mut StdRng) -> Vec<u64> {
    let deviation = (2.0 * MEAN_TO_MEDIAN.ln()).sqrt();
    let mut sizes = Vec::with_capacity(OBJECTS);
    for _ in 0..SOURCES {
        let source_bytes = MEDIAN_BYTES * (deviation * normal(random)).exp();
        for _ in 0..VERSIONS {
            let drift = (VERSION_SPREAD * normal(random)).exp();
            let size_bytes = (source_bytes * drift).clamp(1.0, MAX_BYTES);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it was clamped"
            )]
            sizes.push(size_bytes as u64);
        }
    }
    sizes
}

/// Draws from the standard normal distribution (Box-Muller transform).
fn normal(random: &mut StdRng) -> f64 {
    let (radius, turn): (f64, f64) = (
        random.random_range(f64::EPSILON..1.0),
        random.random_range(0.0..1.0),
    );
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
}

/// Returns the cumulated share of requests for the sources up to each rank.
fn cumulated_weights(alpha: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=SOURCES)
        .map(|rank| f64::from(rank).powf(-alpha))
        .collect();
    let total: f64 = weights.iter().sum();
    let mut reached = 0.0;
    let mut cumulated: Vec<f64> = weights
        .iter()
        .map(|weight| {
            reached += weight / total;
            reached
        })
        .collect();
    // Rounding errors put the sum slightly below or above one.
    cumulated.pop();
    cumulated.push(1.0);
    cumulated
}

/// Of ten requests, seven are for the current version, two for the previous one, one for an older
/// one.
fn wanted_version(current: usize, random: &mut StdRng) -> usize {
    match random.random_range(0..10) {
        0..7 => current,
        7..9 => current.saturating_sub(1),
        _ => random.random_range(0..current.max(2) - 1),
    }
}
