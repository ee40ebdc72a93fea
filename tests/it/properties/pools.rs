//! Properties of the pools that clients share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use millpond::limits::{ClientShare, FairPool, PoolClient, PoolExhausted, PoolPermit, Readership};
use millpond::model::ClientNet;
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;

/// Hosts of the requests in the test.
const HOSTS: [&str; 3] = ["a.example.org", "b.example.org", "c.example.org"];

/// Clients of the test. The last one is exempt.
const CLIENTS: u8 = 4;

type Acquiring = Pin<Box<dyn Future<Output = Result<PoolPermit, PoolExhausted>>>>;

fn client(number: u8) -> PoolClient {
    let net = ClientNet::from_address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)));
    if number == CLIENTS - 1 {
        PoolClient::Exempt(net)
    } else {
        PoolClient::Shared(net)
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Request {
        client: u8,
        host: usize,
    },
    /// The permit that was taken first is returned, or another one.
    Release(usize),
    /// A waiting request is given up.
    Cancel(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..CLIENTS, 0..HOSTS.len()).prop_map(|(client, host)| Step::Request { client, host }),
        2 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Cancel),
    ];
    vec(step, 1..80)
}

/// Pool under test, with all that was asked of it.
struct Run {
    pool: FairPool,
    size: usize,
    share: usize,
    held: Vec<(u8, PoolPermit)>,
    waiting: Vec<(u8, Acquiring)>,
}

impl Run {
    /// One client may have a part of the pool with this divisor.
    fn new(size: usize, max_waiting: usize, divisor: u8) -> Self {
        Self {
            pool: FairPool::new(
                size,
                max_waiting,
                &ClientShare::new(1.0 / f64::from(divisor)),
            ),
            size,
            share: (size / usize::from(divisor)).max(1),
            held: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn most(&self) -> usize {
        (self.size * 3 / 4).max(1)
    }

    fn held_by(&self, client: u8) -> usize {
        self.held.iter().filter(|(own, _)| *own == client).count()
    }

    /// Clients that wait and have less than their share.
    fn deprived(&self) -> Vec<u8> {
        let is_within = |client: u8| {
            let held = self.held_by(client);
            let share = if client == CLIENTS - 1 {
                self.most()
            } else {
                self.share
            };
            held < share.min(self.most())
        };
        self.waiting
            .iter()
            .map(|(client, _)| *client)
            .filter(|client| is_within(*client))
            .collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Request {
                client: number,
                host,
            } => {
                let (pool, host) = (self.pool.clone(), HOSTS[host]);
                let acquiring = async move { pool.acquire(client(number), host).await };
                self.waiting.push((number, Box::pin(acquiring)));
            }
            Step::Release(index) if !self.held.is_empty() => {
                drop(self.held.remove(index % self.held.len()));
            }
            Step::Cancel(index) if !self.waiting.is_empty() => {
                drop(self.waiting.remove(index % self.waiting.len()));
            }
            Step::Release(_) | Step::Cancel(_) => {}
        }
        self.poll();
    }

    /// Takes the permits that were handed out.
    fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for (client, mut acquiring) in std::mem::take(&mut self.waiting) {
            match acquiring.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(permit)) => self.held.push((client, permit)),
                Poll::Ready(Err(PoolExhausted)) => {}
                Poll::Pending => self.waiting.push((client, acquiring)),
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn pools_are_divided_among_waiting_clients(
        size in 1_usize..20,
        share in prop_oneof![Just(8), Just(2), Just(100)],
        steps in steps(),
    ) {
        let mut run = Run::new(size, 1000, share);
        for step in steps {
            let before: HashMap<u8, usize> =
                (0..CLIENTS).map(|client| (client, run.held_by(client))).collect();
            run.step(step);
            prop_assert_eq!(run.pool.taken(), run.held.len());
            prop_assert!(run.held.len() <= size, "{} of {size}", run.held.len());
            let deprived = run.deprived();
            for client in 0..CLIENTS {
                let held = run.held_by(client);
                prop_assert!(held <= run.most(), "client {client} has {held} of {size}");
                let others_lack = deprived.iter().any(|other| *other != client);
                let is_above = client != CLIENTS - 1 && held > run.share;
                prop_assert!(
                    !(others_lack && is_above && held > before[&client]),
                    "client {client} got its permit {held} of {size} while others waited"
                );
            }
            if run.held.len() < size {
                prop_assert!(deprived.is_empty(), "a permit is free, and {deprived:?} wait");
                for (client, _) in &run.waiting {
                    prop_assert!(run.held_by(*client) >= run.most(), "a permit is kept back");
                }
            }
        }
        // Every request is served, in at most as many rounds as requests wait.
        for _ in 0..=run.waiting.len() {
            run.held.clear();
            run.poll();
        }
        run.held.clear();
        prop_assert_eq!((run.waiting.len(), run.pool.taken()), (0, 0));
    }

    #[test]
    fn pools_without_queue_keep_last_quarter(
        size in 1_usize..64,
        requests in vec(0..CLIENTS - 1, 1..200),
    ) {
        let pool = FairPool::new(size, 0, &ClientShare::new(0.125));
        let (share, mut held) = ((size / 8).max(1), Vec::new());
        let mut counts = HashMap::<u8, usize>::new();
        for number in requests {
            let count = counts.entry(number).or_default();
            let is_last_quarter = held.len() >= size - size / 4;
            let most = if is_last_quarter { share } else { size * 3 / 4 }.max(1);
            match pool.try_acquire(client(number)) {
                Ok(permit) => {
                    *count += 1;
                    held.push(permit);
                    prop_assert!(*count <= most && held.len() <= size);
                }
                Err(PoolExhausted) => prop_assert!(*count >= most || held.len() == size),
            }
        }
        drop(held);
        prop_assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn resized_permits_keep_last_quarter(
        size in 4_usize..400,
        resizes in vec((0..6_usize, 0..200_usize), 1..120),
    ) {
        let pool = FairPool::new(size, 0, &ClientShare::new(0.125));
        let bodies: Vec<_> = (0..6_u8)
            .map(|number| Readership::new(client(number % (CLIENTS - 1))).hold_none(&pool))
            .collect();
        let mut sizes = [0; 6];
        let used_by = |sizes: &[usize; 6], body: usize| -> usize {
            let is_own = |other: &usize| other % 3 == body % 3;
            (0..6).filter(is_own).map(|own| sizes[own]).sum()
        };
        for (body, units) in resizes {
            let (taken, used) = (sizes.iter().sum::<usize>(), used_by(&sizes, body));
            let growth = units.saturating_sub(sizes[body]);
            let left = |bound: usize| bound.saturating_sub(used).min(size - taken);
            let common = (size - size / 4).saturating_sub(taken);
            let free = left((size / 8).max(1)).max(left(size * 3 / 4).min(common));
            let resized = bodies[body].resize(units);
            prop_assert_eq!(resized.is_ok(), growth <= free, "{} of {}", growth, free);
            if resized.is_ok() {
                sizes[body] = units;
            }
            prop_assert_eq!(pool.taken(), sizes.iter().sum::<usize>());
        }
        drop(bodies);
        prop_assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn readers_share_a_permit_equally(
        size in 4_usize..40,
        readers in vec(0..CLIENTS - 1, 0..8),
    ) {
        let pool = FairPool::new(size, 1, &ClientShare::default());
        let beginner = client(0);
        let fetch = Readership::new(beginner);
        let held = fetch.hold(pool.try_acquire(beginner).expect("the pool is empty"));
        let reading: Vec<_> = readers.iter().map(|number| fetch.join(client(*number))).collect();
        // A client that reads counts, and the beginner counts only without other readers.
        let counts = |number: u8| match readers[..] {
            [] => number == 0,
            _ => readers.contains(&number),
        };
        for number in 0..CLIENTS - 1 {
            let mut own = Vec::new();
            while let Ok(permit) = pool.try_acquire(client(number)) {
                own.push(permit);
            }
            let most = size * 3 / 4;
            prop_assert_eq!(own.len(), most - usize::from(counts(number)), "client {}", number);
        }
        drop(reading);
        let mut own = Vec::new();
        while let Ok(permit) = pool.try_acquire(beginner) {
            own.push(permit);
        }
        prop_assert_eq!(own.len(), size * 3 / 4 - 1, "the permit counts for the beginner again");
        drop((own, held));
        prop_assert_eq!(pool.taken(), 0);
    }
}

#[test]
fn waiting_clients_and_hosts_take_turns() {
    let mut run = Run::new(4, 1000, 8);
    let request = |client, host| Step::Request { client, host };
    // The first client fills its part, and waits for ten more, most of them of one host.
    for _ in 0..8 {
        run.step(request(0, 0));
    }
    for host in [1, 2] {
        run.step(request(0, host));
    }
    run.step(request(1, 0));
    assert_eq!(
        (run.held_by(0), run.held_by(1)),
        (3, 1),
        "the last permit is another client's"
    );
    run.step(request(1, 0));
    run.step(request(2, 0));
    let served = |run: &mut Run| {
        run.step(Step::Release(0));
        run.held.last().expect("a permit was handed out").0
    };
    // The client with nothing is first. Then all are at their share, and take turns.
    let order: Vec<u8> = (0..3).map(|_| served(&mut run)).collect();
    assert_eq!(order, [2, 0, 1]);
}

#[test]
fn queue_places_are_shared_too() {
    let mut run = Run::new(1, 16, 8);
    for _ in 0..40 {
        run.step(Step::Request { client: 0, host: 0 });
    }
    assert_eq!(
        (run.held.len(), run.waiting.len()),
        (1, 12),
        "three quarters of the places"
    );
    for client in [1, 1, 2, 2] {
        run.step(Step::Request { client, host: 0 });
    }
    assert_eq!(run.waiting.len(), 16, "others find places");
    run.step(Step::Request { client: 1, host: 0 });
    assert_eq!(run.waiting.len(), 16, "the queue is bounded");
    run.waiting.clear();
    run.step(Step::Request { client: 1, host: 0 });
    assert_eq!(run.waiting.len(), 1, "places return with their requests");
}
