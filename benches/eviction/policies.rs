//! Eviction policies. A policy knows the stored objects, but not the current fill level.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};

use crate::low_watermark_bytes;
use crate::trace::{OBJECTS, Request};

pub trait Policy {
    /// Records a hit.
    fn hit(&mut self, request: &Request);

    /// Adds the requested object after a miss.
    fn insert(&mut self, request: &Request);

    /// Selects and removes an object, if there is one.
    fn evict(&mut self) -> Option<usize>;
}

/// Constructor of a policy, for a cache size in bytes.
pub type Make = fn(u64) -> Box<dyn Policy>;

pub const POLICIES: [(&str, Make); 8] = [
    ("LRU", |_| Ranked::boxed(|used| (used.now, 0))),
    ("FIFO", |_| Ranked::boxed(|used| (used.since, 0))),
    ("LFU", |_| {
        Ranked::boxed(|used| (used.age + used.uses, used.now))
    }),
    ("SIEVE", |_| {
        Box::new(Sieve {
            row: BTreeMap::new(),
            visited: vec![false; OBJECTS],
            hand: 0,
        })
    }),
    ("S3-FIFO", |room_bytes| Box::new(S3Fifo::new(room_bytes))),
    ("GDSF", |_| {
        Ranked::boxed(|used| {
            (
                used.age + used.uses * GDSF_SCALE / used.size_bytes,
                used.now,
            )
        })
    }),
    ("TinyLFU", |room_bytes| Box::new(TinyLfu::new(room_bytes))),
    ("Belady", |_| {
        Ranked::boxed(|used| (u64::MAX - used.next, 0))
    }),
];

/// Scale of GDSF ranks, which are uses per byte. The largest object still has a rank of a thousand.
const GDSF_SCALE: u64 = 1 << 40;

/// The object with the lowest rank is evicted first.
type Rank = (u64, u64);

/// Inputs of a rank.
struct Used {
    now: u64,
    next: u64,
    since: u64,
    /// Uses since the object was inserted.
    uses: u64,
    size_bytes: u64,
    /// Rank of the last evicted object. New ranks start from it, so old uses lose weight.
    age: u64,
}

#[derive(Clone, Copy)]
struct Held {
    since: u64,
    uses: u64,
    rank: Rank,
}

/// Policies that give each object a rank, which is constant between two uses.
///
/// With aging by the rank of the last evicted object, LFU is GDSF with a cost proportional to the
/// size: LFU optimizes for bytes, GDSF for objects.
struct Ranked {
    rank: fn(&Used) -> Rank,
    held: Vec<Option<Held>>,
    /// Contains an entry for each use of an object; only the entry with the current rank is valid.
    row: BinaryHeap<Reverse<(Rank, usize)>>,
    age: u64,
}

impl Ranked {
    fn boxed(rank: fn(&Used) -> Rank) -> Box<dyn Policy> {
        Box::new(Self {
            rank,
            held: vec![None; OBJECTS],
            row: BinaryHeap::new(),
            age: 0,
        })
    }

    fn stand(&mut self, request: &Request, since: u64, uses: u64) {
        let (now, next) = (request.now as u64, request.next as u64);
        let facts = Used {
            now,
            next,
            since,
            uses,
            size_bytes: request.size_bytes,
            age: self.age,
        };
        let rank = (self.rank)(&facts);
        self.held[request.object] = Some(Held { since, uses, rank });
        self.row.push(Reverse((rank, request.object)));
    }
}

impl Policy for Ranked {
    fn hit(&mut self, request: &Request) {
        if let Some(Held { since, uses, .. }) = self.held[request.object] {
            self.stand(request, since, uses + 1);
        }
    }

    fn insert(&mut self, request: &Request) {
        self.stand(request, request.now as u64, 1);
    }

    fn evict(&mut self) -> Option<usize> {
        loop {
            let Reverse((rank, object)) = self.row.pop()?;
            if self.held[object].is_some_and(|held| held.rank == rank) {
                self.held[object] = None;
                self.age = rank.0;
                return Some(object);
            }
        }
    }
}

/// Queue by age with a moving hand, which evicts the first object that was not used since the hand
/// last passed it. Zhang et al., NSDI 2024.
struct Sieve {
    row: BTreeMap<usize, usize>,
    visited: Vec<bool>,
    hand: usize,
}

impl Policy for Sieve {
    fn hit(&mut self, request: &Request) {
        self.visited[request.object] = true;
    }

    fn insert(&mut self, request: &Request) {
        self.row.insert(request.now, request.object);
    }

    fn evict(&mut self) -> Option<usize> {
        loop {
            let (&since, &object) = self
                .row
                .range(self.hand..)
                .next()
                .or_else(|| self.row.first_key_value())?;
            self.hand = since + 1;
            if !std::mem::take(&mut self.visited[object]) {
                self.row.remove(&since);
                return Some(object);
            }
        }
    }
}

/// FIFO queue of objects, with their total size.
#[derive(Default)]
struct Queue {
    objects: VecDeque<(usize, u64)>,
    size_bytes: u64,
}

impl Queue {
    fn push(&mut self, object: usize, size_bytes: u64) {
        self.objects.push_back((object, size_bytes));
        self.size_bytes += size_bytes;
    }

    fn pop(&mut self) -> Option<(usize, u64)> {
        let (object, size_bytes) = self.objects.pop_front()?;
        self.size_bytes -= size_bytes;
        Some((object, size_bytes))
    }
}

/// Short queue from which most objects are evicted, and a long queue for those that were used
/// meanwhile. Yang et al., SOSP 2023.
struct S3Fifo {
    room_bytes: u64,
    small: Queue,
    main: Queue,
    /// Objects recently evicted from the short queue. On their return they enter the long queue.
    ghosts: Queue,
    is_ghost: HashSet<usize>,
    uses: Vec<u8>,
}

impl S3Fifo {
    const MAX_USES: u8 = 3;

    fn new(room_bytes: u64) -> Self {
        let [small, main, ghosts] = Default::default();
        Self {
            room_bytes,
            small,
            main,
            ghosts,
            is_ghost: HashSet::new(),
            uses: vec![0; OBJECTS],
        }
    }

    fn remember(&mut self, object: usize, size_bytes: u64) {
        self.ghosts.push(object, size_bytes);
        self.is_ghost.insert(object);
        while self.ghosts.size_bytes > self.room_bytes / 10 * 9 {
            let Some((oldest, _)) = self.ghosts.pop() else {
                return;
            };
            self.is_ghost.remove(&oldest);
        }
    }
}

impl Policy for S3Fifo {
    fn hit(&mut self, request: &Request) {
        let uses = &mut self.uses[request.object];
        *uses = Self::MAX_USES.min(*uses + 1);
    }

    fn insert(&mut self, request: &Request) {
        self.uses[request.object] = 0;
        let queue = if self.is_ghost.remove(&request.object) {
            &mut self.main
        } else {
            &mut self.small
        };
        queue.push(request.object, request.size_bytes);
    }

    fn evict(&mut self) -> Option<usize> {
        loop {
            let is_small =
                self.small.size_bytes > self.room_bytes / 10 || self.main.objects.is_empty();
            let (object, size_bytes) = if is_small {
                self.small.pop()?
            } else {
                self.main.pop()?
            };
            let uses = &mut self.uses[object];
            if is_small && *uses > 1 {
                self.main.push(object, size_bytes);
            } else if is_small {
                self.remember(object, size_bytes);
                return Some(object);
            } else if *uses > 0 {
                *uses -= 1;
                self.main.push(object, size_bytes);
            } else {
                return Some(object);
            }
        }
    }
}

/// Objects ordered by last use.
#[derive(Default)]
struct Recent {
    row: BTreeMap<usize, usize>,
    held: HashMap<usize, (usize, u64)>,
    size_bytes: u64,
}

impl Recent {
    fn touch(&mut self, object: usize, size_bytes: u64, now: usize) {
        match self.held.insert(object, (now, size_bytes)) {
            Some((before, _)) => drop(self.row.remove(&before)),
            None => self.size_bytes += size_bytes,
        }
        self.row.insert(now, object);
    }

    fn oldest(&self) -> Option<usize> {
        self.row.first_key_value().map(|(_, &object)| object)
    }

    /// Removes the oldest object. Returns it with its size and the time of its last use.
    fn pop(&mut self) -> Option<(usize, u64, usize)> {
        let (used, object) = self.row.pop_first()?;
        let (_, size_bytes) = self.held.remove(&object)?;
        self.size_bytes -= size_bytes;
        Some((object, size_bytes, used))
    }
}

/// LRU with a window for new objects.
///
/// An object that leaves the window is admitted only if it was used more often than its victim.
/// Exact counts replace the sketch of Einziger et al., 2017.
struct TinyLfu {
    room_bytes: u64,
    window: Recent,
    main: Recent,
    counts: Vec<u32>,
    counted: usize,
}

impl TinyLfu {
    /// Counts are halved after this number of requests.
    const SAMPLE: usize = OBJECTS;

    fn new(room_bytes: u64) -> Self {
        let [window, main] = Default::default();
        Self {
            room_bytes,
            window,
            main,
            counts: vec![0; OBJECTS],
            counted: 0,
        }
    }

    fn count(&mut self, object: usize) {
        self.counts[object] += 1;
        self.counted += 1;
        if self.counted.is_multiple_of(Self::SAMPLE) {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }
}

impl Policy for TinyLfu {
    fn hit(&mut self, request: &Request) {
        self.count(request.object);
        let part = if self.window.held.contains_key(&request.object) {
            &mut self.window
        } else {
            &mut self.main
        };
        part.touch(request.object, request.size_bytes, request.now);
    }

    fn insert(&mut self, request: &Request) {
        self.count(request.object);
        self.window
            .touch(request.object, request.size_bytes, request.now);
    }

    fn evict(&mut self) -> Option<usize> {
        let window_bytes = self.room_bytes / 100;
        let main_bytes = low_watermark_bytes(self.room_bytes) - window_bytes;
        loop {
            if self.window.size_bytes <= window_bytes
                && let Some((oldest, ..)) = self.main.pop()
            {
                return Some(oldest);
            }
            let (candidate, size_bytes, used) = self.window.pop()?;
            let has_room = self.main.size_bytes + size_bytes <= main_bytes;
            let weakest = if has_room { None } else { self.main.oldest() };
            if weakest.is_some_and(|weakest| self.counts[candidate] <= self.counts[weakest]) {
                return Some(candidate);
            }
            self.main.touch(candidate, size_bytes, used);
            if weakest.is_some() {
                return self.main.pop().map(|(object, ..)| object);
            }
        }
    }
}
