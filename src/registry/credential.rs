//! Credentials for a registry, as its table has them. The main type is [`RegistryCredential`].

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::model::{ConfigError, ExpectedDigests, Hasher, Secret, Sha256};

/// Maximum number of credentials of one registry. A denied repository is asked for with each.
pub const MAX_CREDENTIALS: usize = 10;

/// Bound on a user name, a password or a token. Servers reject longer fields.
const MAX_SECRET_BYTES: usize = 4 << 10;

/// One entry of `credentials`: a user name with a password, or an identity token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialConfig {
    pub username: String,
    pub password: Secret,
    pub password_file: PathBuf,
    /// Token that the token service exchanges for tokens of repositories.
    pub identity_token: Secret,
    pub identity_token_file: PathBuf,
}

/// A credential that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryCredential {
    id: Sha256,
    login: RegistryLogin,
}

/// Secret of a credential, for a registry or for its token service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryLogin {
    /// Value of `Authorization` with a user name and a password (RFC 7617).
    Basic(Secret),
    /// For the token service only.
    IdentityToken(Secret),
}

impl RegistryCredential {
    /// Reads the secret of an entry.
    ///
    /// # Errors
    /// [`ConfigError`] for `key`, without any secret.
    pub fn read(key: &str, config: &CredentialConfig) -> Result<Self, ConfigError> {
        let field = |name: &str| format!("{key}.{name}");
        let invalid = |reason: &str| Err(ConfigError::new(key.to_owned(), reason));
        let password = &config.password;
        let password = password.or_from_file(&field("password"), &config.password_file)?;
        let token = &config.identity_token;
        let token = token.or_from_file(&field("identity_token"), &config.identity_token_file)?;
        let values = [&config.username, password.expose(), token.expose()];
        if values.iter().any(|value| value.len() > MAX_SECRET_BYTES) {
            return invalid("user name, password and token must have at most 4096 bytes");
        }
        if values
            .iter()
            .any(|value| value.chars().any(char::is_control))
        {
            return invalid("user name, password and token must not have control characters");
        }
        let login = match (
            config.username.as_str(),
            password.is_empty(),
            token.is_empty(),
        ) {
            ("", true, false) => RegistryLogin::IdentityToken(token),
            ("", true, true) => return invalid("needs a username, or an identity_token"),
            (_, _, false) => return invalid("identity_token needs no username and no password"),
            ("", false, true) => return invalid("password needs a username"),
            (_, true, true) => return invalid("username needs a password or a password_file"),
            (user, false, true) if user.contains(':') => {
                return invalid("username must not contain a colon");
            }
            (user, false, true) => {
                let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
                RegistryLogin::Basic(format!("Basic {pair}").into())
            }
        };
        let id = fingerprint(&login);
        Ok(Self { id, login })
    }

    /// Returns the digest of the credential, by which its tokens are kept.
    #[must_use]
    pub fn id(&self) -> Sha256 {
        self.id
    }

    #[must_use]
    pub fn login(&self) -> &RegistryLogin {
        &self.login
    }
}

fn fingerprint(login: &RegistryLogin) -> Sha256 {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    let (kind, secret) = match login {
        RegistryLogin::Basic(value) => ("basic:", value),
        RegistryLogin::IdentityToken(token) => ("token:", token),
    };
    hasher.update(kind.as_bytes());
    hasher.update(secret.expose().as_bytes());
    hasher.finish().sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RegistryCredential, String> {
        let config = toml::from_str(text).unwrap();
        RegistryCredential::read("c", &config).map_err(|error| error.to_string())
    }

    #[test]
    fn credentials_are_logins_or_tokens() {
        let basic = read("username = \"mill\"\npassword = \"pw:1\"").unwrap();
        let expected = RegistryLogin::Basic("Basic bWlsbDpwdzox".to_owned().into());
        assert_eq!(basic.login(), &expected);
        let token = read("identity_token = \"t\"").unwrap();
        assert!(matches!(token.login(), RegistryLogin::IdentityToken(_)));
        assert_ne!(basic.id(), token.id());
        assert!(!format!("{basic:?} {token:?}").contains("bWls"));
    }

    #[test]
    fn invalid_credentials_state_reason() {
        for (text, reason) in [
            ("", "c: needs a username"),
            ("username = \"a\"", "c: username needs a password"),
            ("password = \"secret\"", "c: password needs a username"),
            (
                "username = \"a:b\"\npassword = \"secret\"",
                "c: username must not contain a colon",
            ),
            (
                "username = \"a\"\nidentity_token = \"secret\"",
                "c: identity_token needs no username",
            ),
            (
                "username = \"a\"\npassword = \"sec\\nret\"",
                "c: user name, password and token must not",
            ),
            (
                "username = \"a\"\npassword = \"secret\"\npassword_file = \"/x\"",
                "c.password_file: cannot",
            ),
            (
                "username = \"a\"\npassword_file = \"/nowhere\"",
                "c.password_file: /nowhere",
            ),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.starts_with(reason), "{text}: {found}");
            assert!(!found.contains("secret"), "{found}");
        }
    }
}
