//! Changes of texts that may make them longer, within a bound.
//!
//! The main type is [`TextBound`].

/// Longest text that a function may return, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct TextBound(pub usize);

impl TextBound {
    /// Bound of one line of a spec, and of the functions of RPM.
    pub const LINE: Self = Self(256 << 10);

    /// Bound of a shell command and of its texts. Specs shorten commits and versions.
    pub const SHELL: Self = Self(4096);

    /// Replaces a text in another one, at most `count` times. `None` if the result is too long.
    pub fn replace(self, text: &str, from: &str, to: &str, count: usize) -> Option<String> {
        let found = text.matches(from).take(count).count();
        let added = found.checked_mul(to.len().saturating_sub(from.len()))?;
        (text.len().checked_add(added)? <= self.0).then(|| text.replacen(from, to, count))
    }

    /// Appends a text. `None` if the result is too long.
    pub fn push(self, text: &mut String, more: &str) -> Option<()> {
        if text.len() + more.len() > self.0 {
            return None;
        }
        text.push_str(more);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_bounded() {
        let bound = TextBound(1000);
        let long = "a".repeat(1000);
        let replaced = |from: &str, to: &str| bound.replace(&long, from, to, usize::MAX);
        assert_eq!(bound.replace("a.b.c", ".", "-", 1).unwrap(), "a-b.c");
        assert_eq!(replaced("a", "aa"), None);
        assert_eq!(replaced("a", "b").unwrap().len(), 1000);
        assert_eq!(replaced("a", "").as_deref(), Some(""));
        let mut text = long.clone();
        assert_eq!(bound.push(&mut text, ""), Some(()));
        assert_eq!(bound.push(&mut text, "a"), None);
    }
}
