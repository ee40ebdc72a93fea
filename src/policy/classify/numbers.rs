//! Version numbers in names.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::suffixes::without_suffixes;

/// Names of architectures, digests and encodings. Their digits are no version.
const NUMBERED_WORDS: [&str; 64] = [
    "32bit",
    "64bit",
    "aarch32",
    "aarch64",
    "adler32",
    "amd64",
    "arm64",
    "armv5",
    "armv6",
    "armv7",
    "armv8",
    "armv9",
    "b2",
    "b3",
    "base32",
    "base58",
    "base64",
    "blake2",
    "blake2b",
    "blake2s",
    "blake3",
    "crc16",
    "crc32",
    "crc64",
    "float16",
    "float32",
    "float64",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia32",
    "ia64",
    "int16",
    "int32",
    "int64",
    "loong64",
    "loongarch64",
    "m68k",
    "macos64",
    "md5",
    "mips32",
    "mips64",
    "powerpc64",
    "ppc64",
    "ripemd160",
    "riscv32",
    "riscv64",
    "rmd160",
    "s390",
    "s390x",
    "sha1",
    "sha224",
    "sha256",
    "sha3",
    "sha384",
    "sha512",
    "sm3",
    "sparc64",
    "utf16",
    "utf32",
    "win32",
    "win64",
    "x86",
];

/// Numbered words that also occur at the end of a longer word, such as in `linux64`.
const ENDINGS: [&str; 2] = ["x32", "x64"];

/// Length of a numbered word of several tokens, in bytes.
const COMPOUND_BYTES: usize = 6;

/// Numbered words of several tokens.
const COMPOUNDS: [&[u8; COMPOUND_BYTES]; 4] = [b"x86_64", b"x86-64", b"32-bit", b"64-bit"];

/// Numbered words and endings by their digits, each with the position of the digits in it. A token
/// has a numbered word only if all its digits are those of the word.
static WORDS_BY_DIGITS: LazyLock<HashMap<&str, Vec<(usize, &str)>>> = LazyLock::new(|| {
    let mut words: HashMap<&str, Vec<(usize, &str)>> = HashMap::new();
    for word in NUMBERED_WORDS.into_iter().chain(ENDINGS) {
        if let Some((at, digits)) = digits_of(word) {
            words.entry(digits).or_default().push((at, word));
        }
    }
    words
});

/// Suffixes of patches.
const PATCH_SUFFIXES: [&str; 2] = [".patch", ".diff"];

/// Most digits of the position of a patch in its series, such as `0001-`.
const MAX_SERIES_DIGITS: usize = 4;

/// Returns whether a name is that of a patch.
pub fn is_patch(name: &str) -> bool {
    PATCH_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Returns the version number of a file name in lower case.
///
/// A number has two digits, or one digit at the start, behind a separator, or behind a `v`. Digits
/// of suffixes, architectures, digests and of the position of a patch do not count.
pub fn file_number(name: &str) -> Option<&str> {
    let stem = without_suffixes(name);
    let digits = stem.bytes().take_while(u8::is_ascii_digit).count();
    let is_series = (1..=MAX_SERIES_DIGITS).contains(&digits)
        && stem.as_bytes().get(digits) == Some(&b'-')
        && is_patch(name);
    find_number(if is_series { &stem[digits + 1..] } else { stem })
}

/// Returns the first version number of a text in lower case that has no suffix.
pub fn find_number(text: &str) -> Option<&str> {
    let bytes = without_numbered_words(text);
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut start = (0..bytes.len()).find(|at| is_number_at(&bytes, *at))?;
    // In `x1.2.41`, the digit behind the letter belongs to the version.
    while start >= 2 && bytes[start - 1] == b'.' && is_digit(start - 2) {
        start -= 2;
        while start > 0 && is_digit(start - 1) {
            start -= 1;
        }
    }
    let mut end = start;
    while is_digit(end) || (bytes.get(end) == Some(&b'.') && is_digit(end + 1)) {
        end += 1;
    }
    text.get(start..end)
}

fn is_number_at(bytes: &[u8], at: usize) -> bool {
    // A letter outside of ASCII has several bytes, all of them above it.
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let is_version_letter = before == Some(b'v')
        && at
            .checked_sub(2)
            .is_none_or(|second| !bytes[second].is_ascii_alphanumeric());
    bytes[at].is_ascii_digit()
        && (before.is_none_or(|before| !is_letter(before))
            || is_version_letter
            || bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
}

/// Returns the bytes of a text in which spaces replace all numbered words.
fn without_numbered_words(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, window) in text.as_bytes().windows(COMPOUND_BYTES).enumerate() {
        if COMPOUNDS.iter().any(|compound| *compound == window) {
            bytes[at..at + COMPOUND_BYTES].fill(b' ');
        }
    }
    let mut start = 0;
    while start < bytes.len() {
        let length = bytes[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        let end = start + length;
        if let Some(word_start) = numbered_word(&text[start..end]) {
            bytes[start + word_start..end].fill(b' ');
        }
        start = end + 1;
        // The next token begins at a character, not within one.
        while !text.is_char_boundary(start.min(text.len())) {
            start += 1;
        }
    }
    bytes
}

/// Returns where the numbered word of a token begins. Letters may stand before or behind the word.
fn numbered_word(token: &str) -> Option<usize> {
    let (digits_at, digits) = digits_of(token)?;
    let words = WORDS_BY_DIGITS.get(digits)?;
    words.iter().find_map(|(digits_in_word, word)| {
        let at = digits_at.checked_sub(*digits_in_word)?;
        token[at..].starts_with(word).then_some(at)
    })
}

/// Returns the part of a token from its first to its last digit, and its position.
fn digits_of(token: &str) -> Option<(usize, &str)> {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let first = token.bytes().position(is_digit)?;
    let last = token.bytes().rposition(is_digit)?;
    Some((first, &token[first..=last]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_names_are_found() {
        for (name, number) in [
            ("x-1.2.3.tar.gz", Some("1.2.3")),
            ("x123.rar", Some("123")),
            ("2.cabal", Some("2")),
            ("x_v6.3.1.tgz", Some("6.3.1")),
            ("x1.2.41.c", Some("1.2.41")),
            ("v5.zip", Some("5")),
            ("x_1_2_3.tgz", Some("1")),
            ("ü-1.0.zip", Some("1.0")),
            ("üx2.zip", None),
            ("0001-fix-2.0.patch", Some("2.0")),
            ("0001-fix.patch", None),
            ("010-fix.patch", None),
            ("6020.patch", Some("6020")),
            ("x-linux-x86_64.tar.gz", None),
            ("x-linuxamd64.zip", None),
            ("x-linux64.zip", None),
            ("x-armv7l.zip", None),
            ("x-sha256.txt", None),
            ("crc32.c", None),
            ("dev1.zip", None),
            ("lz4.tar.bz2", None),
        ] {
            assert_eq!(file_number(name), number, "{name}");
        }
    }
}
