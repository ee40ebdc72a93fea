//! What is asked of an origin besides the target.

use super::OriginError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Other(String),
}

/// The rest of a body of which the beginning is here.
#[derive(Debug, Clone)]
pub struct Resume {
    pub offset: u64,
    /// The strong validator under which the beginning came: [`super::Response::validator`].
    pub validator: String,
}

#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub resume: Option<Resume>,
    /// End-to-end header fields of a client whose request is passed through. Empty for everything
    /// that may be stored.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
    /// False hands a redirect on instead of following it.
    pub follow_redirects: bool,
    pub digest_expected: bool,
}

impl Request {
    /// A plain request that carries nothing of any client.
    #[must_use]
    pub fn plain(method: Method) -> Self {
        Self {
            method,
            resume: None,
            headers: Vec::new(),
            body: None,
            follow_redirects: true,
            digest_expected: false,
        }
    }

    /// A header field of the client's, as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Method {
    pub(super) fn for_client(&self) -> Result<reqwest::Method, OriginError> {
        match self {
            Self::Get => Ok(reqwest::Method::GET),
            Self::Head => Ok(reqwest::Method::HEAD),
            Self::Other(name) => reqwest::Method::from_bytes(name.as_bytes()).map_err(|_| {
                OriginError::InvalidResponse("the method has no valid name".to_owned())
            }),
        }
    }
}
