//! Lists for operators and readers: stored targets, and the fetches that run now.
//!
//! They name the targets of all clients, so that each needs a [`ListReader`].

use super::error::AdminError;
use super::service::AdminService;
use super::storage_error::storage_error;
use super::token::ListReader;
use crate::cache::ListedTarget;
use crate::fetch::FetchView;
use crate::model::Key;

impl AdminService {
    /// Lists stored targets in the order of their keys: at most `limit`, behind `after`.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the cache cannot be read.
    pub async fn list(
        &self,
        _: &ListReader,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<ListedTarget>, AdminError> {
        self.cache
            .admin()
            .list(after, limit)
            .await
            .map_err(|error| storage_error(&error))
    }

    /// Returns the fetches that run now, the oldest first.
    #[must_use]
    pub fn fetches(&self, _: &ListReader) -> Vec<FetchView> {
        self.fetcher.views()
    }
}
