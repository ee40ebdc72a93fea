//! The password hash `apr1`, which `htpasswd` writes by default: 1,000 rounds of MD5 with a salt.
//!
//! No library with this hash is kept up to date. The main function is [`apr1`].

use md5::{Digest as _, Md5};

/// Prefix of these hashes.
pub const PREFIX: &str = "$apr1$";

/// Length of the encoded digest, in characters.
pub const HASH_CHARS: usize = 22;

/// Largest length of a salt, in bytes.
pub const MAX_SALT_BYTES: usize = 8;

const ROUNDS: usize = 1000;

/// Digits of the encoding, which begins with the lowest six bits.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Order in which the encoding takes the bytes of the digest, three at a time. The last one stands
/// alone.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
const LAST: usize = 11;

/// Returns the encoded hash of a password.
#[must_use]
pub fn apr1(password: &[u8], salt: &[u8]) -> String {
    encode(&digest(password, salt))
}

fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt);
    let inner = inner.chain_update(password).finalize();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(PREFIX)
        .chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        first.update(&inner[..left.min(inner.len())]);
        left = left.saturating_sub(inner.len());
    }
    // The algorithm takes a zero byte or the first byte of the password for each bit of the length.
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let is_odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if is_odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if is_odd { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    digest
}

fn encode(digest: &[u8; 16]) -> String {
    let mut text = String::with_capacity(HASH_CHARS);
    for [high, middle, low] in ORDER {
        let bytes = [0, digest[high], digest[middle], digest[low]];
        push_digits(&mut text, u32::from_be_bytes(bytes), 4);
    }
    push_digits(&mut text, u32::from(digest[LAST]), 2);
    text
}

fn push_digits(text: &mut String, mut bits: u32, count: usize) {
    for _ in 0..count {
        let digit = usize::try_from(bits & 0x3f).expect("six bits fit");
        text.push(char::from(DIGITS[digit]));
        bits >>= 6;
    }
}
