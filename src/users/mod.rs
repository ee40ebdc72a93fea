//! Users that may download: the names and password hashes of an htpasswd file, and the check of a
//! login.
//!
//! This module knows no HTTP server and no target. Its main type is [`DownloadUsers`].

mod apr1;
mod checker;
mod error;
mod list;
mod password_hash;
mod wrong_logins;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

pub use error::LoginError;

use crate::model::{ConfigError, Login};
use checker::LoginChecker;
use list::UserList;

/// Configuration key of the file.
const KEY: &str = "gateway.download_users_file";

/// All users that may download. Without a configured file, no request needs a login.
#[derive(Debug, Clone, Default)]
pub struct DownloadUsers {
    checker: Option<Arc<LoginChecker>>,
}

impl DownloadUsers {
    /// Reads the file of `gateway.download_users_file`. An empty path means that there is none.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read, is accessible to all users of the machine, or
    /// has a line without a supported password hash.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        if file.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let users = UserList::read(file).map_err(|error| {
            let reason = format!("{}: {error}", file.display());
            ConfigError::new(KEY, reason)
        })?;
        Ok(Self {
            checker: Some(Arc::new(LoginChecker::new(users))),
        })
    }

    /// Whether downloads need a login.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.checker.is_some()
    }

    /// Checks the login of a client. A login that was right a short time ago costs nothing.
    ///
    /// # Errors
    /// [`LoginError`] if a login is required, and this is none that is known to be right.
    pub async fn check(&self, client: IpAddr, login: Option<Login>) -> Result<(), LoginError> {
        match (&self.checker, login) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(LoginError::Missing),
            (Some(checker), Some(login)) => checker.check(client, login).await,
        }
    }
}
