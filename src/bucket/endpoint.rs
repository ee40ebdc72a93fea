//! URLs of object stores. The main function is [`is_endpoint`].

use url::Url;

/// Returns whether a URL is that of an object store, without the name of a bucket.
pub fn is_endpoint(url: &Url) -> bool {
    let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    is_web(url) && url.has_host() && is_bare
}

/// Returns whether a URL is one of http or https.
pub fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}
