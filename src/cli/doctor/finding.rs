//! Result of one check. The main type is [`Finding`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::cli::output::{Colour, paint};

/// Name of the check of `/readyz`.
pub const READINESS: &str = "readiness";

/// Result of one check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the check, such as `disk_space`.
    pub check: Cow<'static, str>,
    pub state: FindingState,
    pub text: String,
    /// How to repair it.
    pub advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    Ok,
    /// The gateway works, but not as it should.
    Warning,
    Failed,
}

impl Finding {
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state: FindingState::Ok,
            text: text.into(),
            advice: None,
        }
    }

    pub fn warning(
        check: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            state: FindingState::Warning,
            text: text.into(),
            advice: Some(advice.into()),
        }
    }

    pub fn failed(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: FindingState::Failed,
            ..Self::warning(check, text, advice)
        }
    }

    /// Makes a failure a warning, because the gateway works without what is missing.
    pub fn soften(&mut self) {
        if self.state == FindingState::Failed {
            self.state = FindingState::Warning;
        }
    }

    /// Returns one line for a person.
    pub fn line(&self) -> String {
        let (word, colour) = match self.state {
            FindingState::Ok => ("ok     ", Colour::Green),
            FindingState::Warning => ("warning", Colour::Yellow),
            FindingState::Failed => ("failed ", Colour::Red),
        };
        // The gateway's own warnings have a line each, in the words of /readyz.
        if self.check == READINESS && self.state == FindingState::Warning {
            return self.text.clone();
        }
        format!("{}  {}", paint(word, colour), self.text_with_advice())
    }

    pub fn text_with_advice(&self) -> String {
        match &self.advice {
            None => self.text.clone(),
            Some(advice) => format!("{}; {advice}", self.text),
        }
    }
}
