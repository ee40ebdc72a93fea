//! An answer, and what is to be said of it.

use super::NAME;

/// How a body came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By its length or its last chunk.
    Whole,
    /// Before it.
    Cut,
    /// With the connection: nobody can tell whether that was all.
    Unframed,
}

#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of a header that has to be there.
    #[track_caller]
    pub fn wants(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("there is no {name} in {self:#?}"))
    }

    /// Asserts that the answer names its way through the gateway, and that `Cache-Status` has these parameters.
    #[track_caller]
    pub fn assert_cache(&self, wanted: &[&str]) {
        assert!(self.wants("via").contains(NAME), "the name in Via: {}", self.wants("via"));
        let mut parts = self.wants("cache-status").split(';').map(str::trim);
        assert_eq!(parts.next(), Some(NAME), "the name in Cache-Status");
        let parts: Vec<_> = parts.collect();
        let missing: Vec<_> = wanted.iter().filter(|wanted| !parts.contains(wanted)).collect();
        assert!(missing.is_empty(), "Cache-Status lacks {missing:?}: {parts:?}");
    }
}

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    pub ended: Ended,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    #[track_caller]
    pub fn wants(&self, name: &str) -> &str {
        self.head.wants(name)
    }

    #[track_caller]
    pub fn assert_cache(&self, wanted: &[&str]) {
        self.head.assert_cache(wanted);
    }

    /// The body of a successful answer of the API.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert!(matches!(self.status, 200 | 201), "the status is {}: {}", self.status, self.text());
        assert_eq!(self.wants("content-type"), "application/json");
        serde_json::from_slice(&self.body).expect("the API speaks JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts the whole answer to a successful GET.
    #[track_caller]
    pub fn assert_body(&self, status: u16, body: &[u8]) {
        self.assert_status(status);
        assert_eq!(self.ended, Ended::Whole, "how the body ended; {} bytes came", self.body.len());
        super::assert_same(&self.body, body);
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) {
        let text: String = self.text().chars().take(300).collect();
        assert_eq!(self.status, status, "the status; {:#?}\n{text}", self.head.headers);
    }

    /// Asserts an answer of the gateway's own that reports a failure: one line, whole, for people.
    #[track_caller]
    pub fn assert_problem(&self, status: u16) {
        self.assert_status(status);
        assert_eq!(self.ended, Ended::Whole, "how the body ended");
        let text = self.text();
        assert_eq!(text.trim_end().lines().count(), 1, "a problem is told in one line: {text:?}");
    }

    /// Asserts that the client could not take what it got for the whole.
    #[track_caller]
    pub fn assert_broken(&self) {
        assert_eq!(self.ended, Ended::Cut, "how the body ended; {} bytes came with {}", self.body.len(), self.status);
    }
}
