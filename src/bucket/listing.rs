//! Listings of keys below a prefix.

use std::time::SystemTime;

use super::client::BucketClient;
use super::error::BucketError;
use super::sdk;

/// Keys in one page of a listing. The protocol allows no more.
pub const MAX_PAGE_KEYS: i32 = 1000;

/// Bound on the records, and on the pins, of one target that are read.
pub const MAX_ENTRIES_OF_TARGET: i32 = 64;

/// An entry of a listing.
#[derive(Debug, Clone)]
pub struct ListedKey {
    /// Key in the bucket, with the configured prefix.
    pub name: String,
    pub size_bytes: u64,
    pub modified_at: SystemTime,
}

/// One page of a listing.
pub struct ListPage {
    pub keys: Vec<ListedKey>,
    /// Whether further pages follow.
    pub is_truncated: bool,
}

/// Lists up to `max_keys` keys below `prefix` that are greater than `after`, in ascending order.
pub async fn list_page(
    client: &BucketClient,
    prefix: &str,
    after: &str,
    max_keys: i32,
) -> Result<ListPage, BucketError> {
    // Version 1 of the request: not every store supports version 2.
    let request = client
        .sdk()
        .list_objects()
        .bucket(client.bucket_name())
        .prefix(prefix)
        .max_keys(max_keys);
    let request = if after.is_empty() {
        request
    } else {
        request.marker(after)
    };
    let output = client.read(request.send()).await?;
    let keys = output.contents().iter().filter_map(|object| {
        Some(ListedKey {
            name: object.key()?.to_owned(),
            size_bytes: sdk::size_bytes(object.size()),
            modified_at: sdk::system_time(object.last_modified()),
        })
    });
    Ok(ListPage {
        keys: keys.collect(),
        is_truncated: output.is_truncated() == Some(true),
    })
}

/// A listing of all keys below a prefix, read page by page.
pub struct Listing {
    client: BucketClient,
    prefix: String,
    after: String,
    is_done: bool,
}

impl Listing {
    pub(super) fn new(client: BucketClient, prefix: String) -> Self {
        Self {
            client,
            prefix,
            after: String::new(),
            is_done: false,
        }
    }

    /// Returns the next page, or `None` after the last one.
    ///
    /// # Errors
    /// [`BucketError`] if the page could not be read. Another call reads the same page.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ListedKey>>, BucketError> {
        if self.is_done {
            return Ok(None);
        }
        let page = list_page(&self.client, &self.prefix, &self.after, MAX_PAGE_KEYS).await?;
        let last = page.keys.last().map(|last| last.name.clone());
        // An incomplete listing must not look complete: callers remove what a listing lacks.
        match last {
            _ if !page.is_truncated => self.is_done = true,
            Some(last) if last > self.after => self.after = last,
            _ => {
                return Err(BucketError::Unavailable(
                    "a listing does not come to its end".to_owned(),
                ));
            }
        }
        Ok(Some(page.keys))
    }
}
