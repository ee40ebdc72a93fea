//! Targets whose bytes needed credentials of Millpond. They extend [`Target`].
//!
//! Such a target has a key of its own, so that neither a stored response nor a fetch of it is found
//! under the URL that clients know. Policy denies it to every client that names it.

use std::borrow::Cow;

use url::Url;

use super::Target;

/// Query by which the target differs from that of the URL. No origin receives it.
const PRIVATE_QUERY: &str = "millpond-private";

impl Target {
    /// Returns the target for the bytes that credentials give. `None` if the URL has a query, or
    /// would be too long.
    #[must_use]
    pub fn to_private(&self) -> Option<Self> {
        match self.url().query() {
            Some(_) => None,
            None => Self::parse(&format!("{}?{PRIVATE_QUERY}", self.as_str())).ok(),
        }
    }

    /// Returns whether this is a target for bytes that credentials give.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.url().query() == Some(PRIVATE_QUERY)
    }

    /// Returns the URL that the origin is asked for.
    #[must_use]
    pub fn requested_url(&self) -> Cow<'_, Url> {
        if !self.is_private() {
            return Cow::Borrowed(self.url());
        }
        let mut url = self.url().clone();
        url.set_query(None);
        Cow::Owned(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_target_has_own_key_and_same_url() {
        let plain = Target::parse("https://registry.example.org/v2/a/blobs/sha256:ab").unwrap();
        let private = plain.to_private().unwrap();
        assert_ne!(plain, private);
        assert_eq!(private, Target::parse(private.as_str()).unwrap());
        assert_eq!((plain.is_private(), private.is_private()), (false, true));
        assert_eq!(private.requested_url().as_str(), plain.as_str());
        assert_eq!(plain.requested_url().as_str(), plain.as_str());
        assert!(private.to_private().is_none());
        for text in [
            "https://a.example/?x",
            "https://a.example/?millpond-private=1",
        ] {
            let target = Target::parse(text).unwrap();
            assert!(
                !target.is_private() && target.to_private().is_none(),
                "{text}"
            );
            assert_eq!(target.requested_url().as_str(), target.as_str());
        }
    }
}
