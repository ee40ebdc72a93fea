//! Password hashes of an htpasswd file: bcrypt (`htpasswd -B`), SHA-crypt (`-2`, `-5`) and apr1
//! (the default).
//!
//! Unsalted and unhashed passwords are refused. The main type is [`PasswordHash`].

use std::fmt;

use bcrypt::HashParts;
use sha_crypt::{PasswordVerifier as _, ShaCrypt};

use super::apr1::{self, apr1};
use super::error::PasswordHashError;

/// Largest cost of bcrypt. A check takes about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// Largest number of rounds of SHA-crypt. A check takes about a second.
const MAX_SHA_CRYPT_ROUNDS: u32 = 1_000_000;

/// Longest password, in bytes, as of htpasswd. SHA-crypt takes time for each byte.
const MAX_PASSWORD_BYTES: usize = 256;

/// Length of an encoded SHA-256 or SHA-512, in characters.
const SHA256_CHARS: usize = 43;
const SHA512_CHARS: usize = 86;

/// Hash of one password.
#[derive(Clone)]
pub enum PasswordHash {
    Bcrypt(String),
    ShaCrypt(String),
    Apr1 { salt: String, hash: String },
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl PasswordHash {
    /// Parses a hash.
    ///
    /// # Errors
    /// [`PasswordHashError`] if the hash has another form, or takes too long to check.
    pub fn parse(text: &str) -> Result<Self, PasswordHashError> {
        if let Some(rest) = text.strip_prefix(apr1::PREFIX) {
            return parse_apr1(rest);
        }
        match text.get(..3) {
            Some("$2a" | "$2b" | "$2y") => parse_bcrypt(text),
            Some("$5$") => parse_sha_crypt(text, SHA256_CHARS),
            Some("$6$") => parse_sha_crypt(text, SHA512_CHARS),
            _ => Err(PasswordHashError::Unsupported),
        }
    }

    /// Whether a password has this hash. Slow by design.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        if password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => ShaCrypt::SHA512
                .verify_password(password, hash.as_str())
                .is_ok(),
            Self::Apr1 { salt, hash } => {
                let found = apr1(password, salt.as_bytes());
                let pairs = found.bytes().zip(hash.bytes());
                // The time must not depend on how many characters are equal.
                pairs.fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
            }
        }
    }
}

fn parse_bcrypt(text: &str) -> Result<PasswordHash, PasswordHashError> {
    let parts: HashParts = text.parse().map_err(|_| PasswordHashError::Malformed)?;
    if parts.get_cost() > MAX_BCRYPT_COST {
        return Err(PasswordHashError::TooSlow);
    }
    Ok(PasswordHash::Bcrypt(text.to_owned()))
}

fn parse_sha_crypt(text: &str, hash_chars: usize) -> Result<PasswordHash, PasswordHashError> {
    let mut parts: Vec<&str> = text.split('$').skip(2).collect();
    if let Some(rounds) = parts.first().and_then(|part| part.strip_prefix("rounds=")) {
        let rounds: u32 = rounds.parse().map_err(|_| PasswordHashError::Malformed)?;
        if rounds > MAX_SHA_CRYPT_ROUNDS {
            return Err(PasswordHashError::TooSlow);
        }
        parts.remove(0);
    }
    match parts[..] {
        [_, hash] if hash.len() == hash_chars => Ok(PasswordHash::ShaCrypt(text.to_owned())),
        _ => Err(PasswordHashError::Malformed),
    }
}

fn parse_apr1(rest: &str) -> Result<PasswordHash, PasswordHashError> {
    match rest.split_once('$') {
        Some((salt, hash))
            if salt.len() <= apr1::MAX_SALT_BYTES && hash.len() == apr1::HASH_CHARS =>
        {
            Ok(PasswordHash::Apr1 {
                salt: salt.to_owned(),
                hash: hash.to_owned(),
            })
        }
        _ => Err(PasswordHashError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passwords and the hashes that htpasswd 2.4.71 has made of them.
    const OF_HTPASSWD: [(&str, &str); 8] = [
        ("secret", "$apr1$b6SXIZ/L$9vK7eIoR84RSDKRQFlFDv/"),
        ("p", "$apr1$DF0sV3N.$rD/DNPYgxFFUZ0ZQTmZcu/"),
        (
            "a longer password with spaces: ä",
            "$apr1$/g3SJttA$1ca0LQrfpj8A4K7kwJxmB.",
        ),
        (
            "secret",
            "$2y$05$sTI52Im6OaVu2XfyksPV9OawIGWpXOZkDkedxX9//VH0FtBqWbikm",
        ),
        (
            "a longer password with spaces: ä",
            "$2y$04$fXJAzqKcVeyaszEOykJHTeEH25poYnPCRArxyrhTflBHoD0HntQLO",
        ),
        (
            "secret",
            "$5$jMt6piT3ElYPRivE$h2cJXNA0cU5i2lv0GBY9/qyR//933m6YqKyet1eDqP0",
        ),
        (
            "secret",
            "$6$k.Y3Jr.ksc/.5In6$oL.bC81uAdHAkVcVmNvohIClvmX..x5.x39Jl7A4\
             L9Ekflo3.tPVkl9fj96H0tFgu/0upyE96M29HvXZ2idJz0",
        ),
        (
            "ä:ö",
            "$6$rounds=1234$a6v3kLHlkGEueaXb$qZuCUEuE.qtU6qt29oQqsogA1y4E\
             6ddexWEqyYCDvDe4pY/0fTJM3XbWHZdwJhS37BklaXNJqBfCON2VIJjDk/",
        ),
    ];

    #[test]
    fn hashes_of_htpasswd_are_checked() {
        for (password, text) in OF_HTPASSWD {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.is_of(password.as_bytes()), "{text}");
            let longer = format!("{password}x");
            for wrong in [&b""[..], longer.as_bytes(), &password.as_bytes()[1..]] {
                assert!(!hash.is_of(wrong), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn weak_and_endless_hashes_are_refused() {
        use PasswordHashError::{Malformed, TooSlow, Unsupported};
        let bcrypt = "L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u";
        let sha = "a".repeat(SHA512_CHARS);
        for (text, error) in [
            (String::new(), Unsupported),
            ("plain".to_owned(), Unsupported),
            ("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=".to_owned(), Unsupported),
            ("$1$abcdefgh$0123456789012345678901".to_owned(), Unsupported),
            (format!("$2x$05${bcrypt}"), Unsupported),
            (format!("$2y$17${bcrypt}"), TooSlow),
            (format!("$2y$05${}", &bcrypt[1..]), Malformed),
            (format!("$6$rounds=1000001$salt${sha}"), TooSlow),
            (format!("$6$rounds=x$salt${sha}"), Malformed),
            (format!("$6$salt${sha}a"), Malformed),
            ("$5$salt".to_owned(), Malformed),
            ("$apr1$salt$".to_owned(), Malformed),
            ("$apr1$salt".to_owned(), Malformed),
        ] {
            assert_eq!(PasswordHash::parse(&text).unwrap_err(), error, "{text}");
        }
        assert!(PasswordHash::parse(&format!("$2y$14${bcrypt}")).is_ok());
    }
}
