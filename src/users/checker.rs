//! The check of logins. A password hash is slow by design, so that checks run on few threads, and
//! right logins are remembered for a while.
//!
//! Requests with equal logins share one check. The main type is [`LoginChecker`].

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use hmac::{Hmac, KeyInit as _, Mac as _};
use moka::sync::Cache;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::error::LoginError;
use super::list::UserList;
use super::wrong_logins::{LoginTurn, WrongLogins};
use crate::model::{Login, lock};

/// Checks that run at the same time, each on a thread for blocking work.
const MAX_CHECKS: usize = 2;

/// Bound on the checks that run or wait. Beyond it, clients get an error.
const MAX_PENDING: usize = 256;

/// Bound on the right logins that are remembered, and how long. A removed user is refused after a
/// reload at once, since a reload forgets all of them.
const MAX_REMEMBERED: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Keyed hash of a login. Neither names nor passwords are kept in memory.
type LoginKey = [u8; 32];

/// A check that is running or waits. All requests with the same login await it.
type PendingCheck = Shared<BoxFuture<'static, Result<(), LoginError>>>;

/// Checks logins against one list of users.
pub struct LoginChecker {
    users: UserList,
    tag: Hmac<Sha256>,
    right: Cache<LoginKey, ()>,
    checks: Arc<Semaphore>,
    state: Mutex<CheckState>,
}

#[derive(Default)]
struct CheckState {
    wrong: WrongLogins,
    pending: HashMap<LoginKey, (IpAddr, PendingCheck)>,
}

/// The next step for a request with a login.
enum NextStep {
    Right,
    /// The result of this check is that of the request.
    Join(PendingCheck),
    /// Another login of the client is checked first.
    After(PendingCheck),
}

impl fmt::Debug for LoginChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginChecker(…)")
    }
}

impl LoginChecker {
    pub fn new(users: UserList) -> Self {
        let key: [u8; 32] = rand::random();
        Self {
            users,
            tag: Hmac::new_from_slice(&key).expect("a key may have any length"),
            right: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED_FOR)
                .build(),
            checks: Arc::new(Semaphore::new(MAX_CHECKS)),
            state: Mutex::default(),
        }
    }

    /// Checks a login of a client.
    ///
    /// # Errors
    /// [`LoginError`] if it is wrong, or was not checked.
    pub async fn check(self: &Arc<Self>, client: IpAddr, login: Login) -> Result<(), LoginError> {
        let (key, login) = (self.key_of(&login), Arc::new(login));
        loop {
            match self.step(client, key, &login)? {
                NextStep::Right => return Ok(()),
                NextStep::Join(check) => return check.await,
                // Each turn of the loop waits for the end of a check.
                NextStep::After(check) => {
                    let _ = check.await;
                }
            }
        }
    }

    fn step(
        self: &Arc<Self>,
        client: IpAddr,
        key: LoginKey,
        login: &Arc<Login>,
    ) -> Result<NextStep, LoginError> {
        // The lock is held throughout: parallel requests must not exceed the bound.
        let mut state = lock(&self.state);
        // A client over the bound cannot find a right login that is remembered either.
        if state.wrong.is_over(client) {
            return Err(LoginError::TooManyWrong);
        }
        if self.right.contains_key(&key) {
            return Ok(NextStep::Right);
        }
        if let Some((_, check)) = state.pending.get(&key) {
            return Ok(NextStep::Join(check.clone()));
        }
        if state.pending.len() >= MAX_PENDING {
            return Err(LoginError::Busy);
        }
        match state.wrong.begin(client)? {
            LoginTurn::Begin => {
                let check = self.spawn_check(client, key, Arc::clone(login));
                state.pending.insert(key, (client, check.clone()));
                Ok(NextStep::Join(check))
            }
            LoginTurn::Wait => {
                let mut pending = state.pending.values();
                // The network of the client may have several addresses.
                let own = pending.find(|(other, _)| *other == client);
                own.map(|(_, check)| NextStep::After(check.clone()))
                    .ok_or(LoginError::Busy)
            }
        }
    }

    /// Starts a check. It goes on if the client disconnects, so that its result is counted.
    fn spawn_check(
        self: &Arc<Self>,
        client: IpAddr,
        key: LoginKey,
        login: Arc<Login>,
    ) -> PendingCheck {
        let checker = Arc::clone(self);
        let check = tokio::spawn(async move {
            let result = checker.check_slowly(login).await;
            let is_right = result.is_ok();
            let mut state = lock(&checker.state);
            if is_right {
                checker.right.insert(key, ());
            }
            state.pending.remove(&key);
            state.wrong.end(client, is_right);
            result
        });
        let result = async move { check.await.unwrap_or(Err(LoginError::Busy)) };
        result.boxed().shared()
    }

    async fn check_slowly(self: &Arc<Self>, login: Arc<Login>) -> Result<(), LoginError> {
        let permit = Arc::clone(&self.checks).acquire_owned().await;
        let checker = Arc::clone(self);
        let comparison = spawn_blocking(move || {
            // Held until the thread has ended.
            let _permit = permit;
            checker.users.has(&login.user, &login.password)
        });
        match comparison.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(LoginError::Wrong),
            Err(_) => Err(LoginError::Busy),
        }
    }

    fn key_of(&self, login: &Login) -> LoginKey {
        // No user name contains a colon (RFC 7617, section 2).
        let tag = self.tag.clone().chain_update(&login.user);
        let tag = tag.chain_update(b":").chain_update(&login.password);
        tag.finalize().into_bytes().into()
    }
}
