//! Queue of a pool: clients in turn, then the hosts of a client in turn, then the order of arrival.
//! This file must not know who may have a permit. The main type is [`WaitQueue`].

use std::collections::VecDeque;

use super::client::PoolClient;

/// Queue of requests that wait for a permit. `T` is what a request is woken by.
#[derive(Debug)]
pub struct WaitQueue<T> {
    /// The client at the front is served next.
    clients: VecDeque<ClientQueue<T>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct ClientQueue<T> {
    client: PoolClient,
    hosts: VecDeque<HostQueue<T>>,
}

#[derive(Debug)]
struct HostQueue<T> {
    host: Box<str>,
    waiting: VecDeque<(Ticket, T)>,
}

/// Identity of a request in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl<T> WaitQueue<T> {
    pub fn new() -> Self {
        Self {
            clients: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// Whether a client other than `client` waits.
    pub fn has_others_than(&self, client: PoolClient) -> bool {
        self.clients.iter().any(|queue| queue.client != client)
    }

    /// Adds a request of a client for a host.
    pub fn push(&mut self, client: PoolClient, host: &str, waker: T) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let index = self.clients.iter().position(|queue| queue.client == client);
        let index = index.unwrap_or_else(|| {
            let hosts = VecDeque::new();
            self.clients.push_back(ClientQueue { client, hosts });
            self.clients.len() - 1
        });
        let hosts = &mut self.clients[index].hosts;
        match hosts.iter_mut().find(|queue| *queue.host == *host) {
            Some(queue) => queue.waiting.push_back((ticket, waker)),
            None => hosts.push_back(HostQueue {
                host: host.into(),
                waiting: VecDeque::from([(ticket, waker)]),
            }),
        }
        ticket
    }

    /// Takes the next request of the first client that may be served.
    pub fn pop(&mut self, may_serve: impl Fn(PoolClient) -> bool) -> Option<(PoolClient, T)> {
        let index = self
            .clients
            .iter()
            .position(|queue| may_serve(queue.client))?;
        let mut served = self.clients.remove(index)?;
        let mut host = served.hosts.pop_front()?;
        let (_, waker) = host.waiting.pop_front()?;
        if !host.waiting.is_empty() {
            served.hosts.push_back(host);
        }
        let client = served.client;
        if !served.hosts.is_empty() {
            self.clients.push_back(served);
        }
        Some((client, waker))
    }

    /// Removes a request that waits no longer. Returns whether it was in the queue.
    pub fn remove(&mut self, client: PoolClient, ticket: Ticket) -> bool {
        let Some(index) = self.clients.iter().position(|queue| queue.client == client) else {
            return false;
        };
        let hosts = &mut self.clients[index].hosts;
        let found = hosts.iter().enumerate().find_map(|(place, queue)| {
            let waiting = queue.waiting.iter().position(|(own, _)| *own == ticket)?;
            Some((place, waiting))
        });
        let Some((place, waiting)) = found else {
            return false;
        };
        hosts[place].waiting.remove(waiting);
        if hosts[place].waiting.is_empty() {
            hosts.remove(place);
        }
        if hosts.is_empty() {
            self.clients.remove(index);
        }
        true
    }
}
