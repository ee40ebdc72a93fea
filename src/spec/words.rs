//! Words of the arguments of a macro.
//!
//! The main function is [`split_words`].

/// Character around the text of `%{quote:...}`, as in RPM. No file name has it.
pub const QUOTE: char = '\x1f';

/// Splits arguments at blanks outside of quotes.
pub fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    for c in text.chars() {
        if c == QUOTE {
            is_quoted = !is_quoted;
            word.get_or_insert_default();
        } else if c.is_whitespace() && !is_quoted {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(c);
        }
    }
    words.extend(word);
    words
}
