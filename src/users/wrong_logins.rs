//! Bound on the wrong logins of each client, so that no client finds a password by trying.
//!
//! A login counts while it is checked, and stays counted if it is wrong. This file knows no
//! password. The main type is [`WrongLogins`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::error::LoginError;
use crate::model::ClientNet;

/// Wrong logins that one client may send within [`WINDOW`].
const MAX_WRONG_LOGINS: u32 = 5;

const WINDOW: Duration = Duration::from_secs(1);

/// Bound on the counted clients. Beyond it, a new client has to wait for its check.
const MAX_CLIENTS: usize = 10_000;

/// Logins of one client since the start of its window.
#[derive(Debug, Clone, Copy)]
struct LoginCount {
    since: Instant,
    wrong: u32,
    /// Logins that are being checked. They count in each window.
    checking: u32,
}

/// Recent wrong logins by client.
#[derive(Debug, Default)]
pub struct WrongLogins {
    counts: HashMap<ClientNet, LoginCount>,
}

/// Answer to a client that wants a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginTurn {
    /// The login is counted as being checked.
    Begin,
    /// The other logins of the client must be checked first.
    Wait,
}

impl WrongLogins {
    /// Whether a client has sent so many wrong logins that it must wait.
    #[must_use]
    pub fn is_over(&self, client: IpAddr) -> bool {
        let count = self.counts.get(&ClientNet::from_address(client));
        count.is_some_and(|count| count.since.elapsed() < WINDOW && count.wrong >= MAX_WRONG_LOGINS)
    }

    /// Begins the check of a login.
    ///
    /// # Errors
    /// [`LoginError::TooManyWrong`] or [`LoginError::Busy`].
    pub fn begin(&mut self, client: IpAddr) -> Result<LoginTurn, LoginError> {
        let (key, now) = (ClientNet::from_address(client), Instant::now());
        if !self.counts.contains_key(&key) {
            self.make_room(now)?;
        }
        let count = self.counts.entry(key).or_insert(LoginCount {
            since: now,
            wrong: 0,
            checking: 0,
        });
        if now.duration_since(count.since) >= WINDOW {
            (count.since, count.wrong) = (now, 0);
        }
        if count.wrong >= MAX_WRONG_LOGINS {
            return Err(LoginError::TooManyWrong);
        }
        if count.wrong + count.checking >= MAX_WRONG_LOGINS {
            return Ok(LoginTurn::Wait);
        }
        count.checking += 1;
        Ok(LoginTurn::Begin)
    }

    /// Ends the check of a login. A right one does not count.
    pub fn end(&mut self, client: IpAddr, is_right: bool) {
        let key = ClientNet::from_address(client);
        let Some(count) = self.counts.get_mut(&key) else {
            return;
        };
        count.checking = count.checking.saturating_sub(1);
        count.wrong += u32::from(!is_right);
        if count.wrong == 0 && count.checking == 0 {
            self.counts.remove(&key);
        }
    }

    fn make_room(&mut self, now: Instant) -> Result<(), LoginError> {
        if self.counts.len() >= MAX_CLIENTS {
            self.counts
                .retain(|_, count| count.checking > 0 || now.duration_since(count.since) < WINDOW);
        }
        if self.counts.len() >= MAX_CLIENTS {
            return Err(LoginError::Busy);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn only_wrong_logins_count() {
        let (mut wrong, client) = (WrongLogins::default(), address(1));
        for _ in 0..100 {
            assert_eq!(wrong.begin(client), Ok(LoginTurn::Begin));
            wrong.end(client, true);
        }
        for _ in 0..MAX_WRONG_LOGINS {
            assert!(!wrong.is_over(client));
            assert_eq!(wrong.begin(client), Ok(LoginTurn::Begin));
            wrong.end(client, false);
        }
        assert!(wrong.is_over(client));
        assert_eq!(wrong.begin(client), Err(LoginError::TooManyWrong));
        assert_eq!(wrong.begin(address(2)), Ok(LoginTurn::Begin));
    }

    #[test]
    fn logins_in_check_count_meanwhile() {
        let (mut wrong, client) = (WrongLogins::default(), address(1));
        for _ in 0..MAX_WRONG_LOGINS {
            assert_eq!(wrong.begin(client), Ok(LoginTurn::Begin));
        }
        assert_eq!(wrong.begin(client), Ok(LoginTurn::Wait));
        wrong.end(client, true);
        assert_eq!(wrong.begin(client), Ok(LoginTurn::Begin));
    }

    #[test]
    fn counted_clients_are_bounded() {
        let mut wrong = WrongLogins::default();
        let clients = u32::try_from(MAX_CLIENTS).expect("the bound fits");
        for client in 0..clients + 10 {
            let is_counted = wrong.begin(address(client)).is_ok();
            assert_eq!(is_counted, client < clients);
        }
        assert_eq!(wrong.counts.len(), MAX_CLIENTS);
    }
}
