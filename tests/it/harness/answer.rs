//! HTTP responses as the test client read them, with assertions on them.

use super::NAME;

/// Way in which a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// At its length or after its last chunk.
    Whole,
    /// Before its length or its last chunk.
    Cut,
    /// When the connection closed. The client cannot know whether the body was complete.
    Unframed,
}

#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the value of a header that must be present.
    #[track_caller]
    pub fn wants(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("the header {name} is missing in {self:#?}"))
    }

    /// Asserts that `Via` names the gateway and that `Cache-Status` has these parameters.
    #[track_caller]
    pub fn assert_cache(&self, wanted: &[&str]) {
        assert!(
            self.wants("via").contains(NAME),
            "Via lacks the gateway's name: {}",
            self.wants("via")
        );
        let mut parts = self.wants("cache-status").split(';').map(str::trim);
        assert_eq!(
            parts.next(),
            Some(NAME),
            "Cache-Status begins with the gateway's name"
        );
        let parts: Vec<_> = parts.collect();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|wanted| !parts.contains(wanted))
            .collect();
        assert!(
            missing.is_empty(),
            "Cache-Status lacks {missing:?}: {parts:?}"
        );
    }
}

/// A response that was read to its end.
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

    /// Returns the body of a successful API response.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert!(
            matches!(self.status, 200..=202),
            "unexpected status {}: {}",
            self.status,
            self.text()
        );
        assert_eq!(self.wants("content-type"), "application/json");
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts the complete response to a successful GET.
    #[track_caller]
    pub fn assert_body(&self, status: u16, body: &[u8]) {
        self.assert_status(status);
        assert_eq!(
            self.ended,
            Ended::Whole,
            "way in which the body ended; {} bytes received",
            self.body.len()
        );
        super::assert_same(&self.body, body);
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) {
        let text: String = self.text().chars().take(300).collect();
        assert_eq!(
            self.status, status,
            "status code; {:#?}\n{text}",
            self.head.headers
        );
    }

    /// Asserts an error response of Millpond: complete, with one line of text.
    #[track_caller]
    pub fn assert_problem(&self, status: u16) {
        self.assert_status(status);
        assert_eq!(self.ended, Ended::Whole, "way in which the body ended");
        let text = self.text();
        assert_eq!(
            text.trim_end().lines().count(),
            1,
            "an error response is one line: {text:?}"
        );
    }

    /// Asserts that the client can detect the response as incomplete.
    #[track_caller]
    pub fn assert_broken(&self) {
        assert_eq!(
            self.ended,
            Ended::Cut,
            "way in which the body ended; {} bytes received with status {}",
            self.body.len(),
            self.status
        );
    }
}
