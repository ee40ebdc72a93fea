//! Operator token. A request with it may change the cache and list all of it.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::error::AdminError;
use crate::gateway::Config;
use crate::model::{ConfigError, Secret};

/// Name of the file in the state folder that contains a generated token.
const FILE_NAME: &str = "admin_token";

/// Smallest length of a token, in bytes. A shorter one can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// Largest part of a token file that is read, in bytes. No token is longer.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Proof that a request has the operator token. Only [`AdminToken::authorize`] creates one.
#[derive(Debug)]
pub struct Operator(());

/// Error returned for a token that cannot be used.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("a token must have at least {MIN_TOKEN_BYTES} bytes")]
    TooShort,
    #[error("a token must contain only visible ASCII characters")]
    NotVisibleAscii,
}

/// Operator token, stored as a keyed hash. The time of a comparison reveals neither the token nor
/// its length.
pub struct AdminToken {
    tag: Hmac<Sha256>,
    hash_of_token: Vec<u8>,
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

impl AdminToken {
    /// Loads the configured token, or else the one in the state folder. If there is none, a token
    /// is generated and stored there.
    ///
    /// # Errors
    /// [`ConfigError`] if a key is invalid, or the file of the state folder cannot be used.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        let token = match configured(config)? {
            Some(token) => token,
            None => read_or_generate(&config.state_dir)?,
        };
        Ok(Self::new(&token))
    }

    fn new(token: &Secret) -> Self {
        let key: [u8; 32] = rand::random();
        let tag = Hmac::new_from_slice(&key).expect("a key may have any length");
        let hash_of_token = tag
            .clone()
            .chain_update(token.expose())
            .finalize()
            .into_bytes()
            .to_vec();
        Self { tag, hash_of_token }
    }

    /// Checks the token of a request.
    ///
    /// # Errors
    /// [`AdminError::Unauthorized`] for a missing or wrong token.
    pub fn authorize(&self, token: Option<&str>) -> Result<Operator, AdminError> {
        let token = token.ok_or(AdminError::Unauthorized)?;
        let hash = self.tag.clone().chain_update(token);
        hash.verify_slice(&self.hash_of_token)
            .map(|()| Operator(()))
            .map_err(|_| AdminError::Unauthorized)
    }
}

/// Checks the configured token, if there is one.
///
/// # Errors
/// [`ConfigError`] if the token is invalid.
pub fn check_token(config: &Config) -> Result<(), ConfigError> {
    configured(config).map(drop)
}

/// Returns the token of the configuration, or of the file that it names.
fn configured(config: &Config) -> Result<Option<Secret>, ConfigError> {
    let token = config
        .admin_token
        .or_from_file("gateway.admin_token", &config.admin_token_file)?;
    if token.is_empty() {
        return Ok(None);
    }
    check(token)
        .map(Some)
        .map_err(|error| ConfigError::new("gateway.admin_token", error))
}

/// Checks that a token is long enough, and can be sent in a header field.
fn check(token: Secret) -> Result<Secret, TokenError> {
    if token.expose().len() < MIN_TOKEN_BYTES {
        return Err(TokenError::TooShort);
    }
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NotVisibleAscii);
    }
    Ok(token)
}

fn read_or_generate(state_dir: &Path) -> Result<Secret, ConfigError> {
    let path = state_dir.join(FILE_NAME);
    let describe = |why: &dyn fmt::Display| {
        ConfigError::new("gateway.state_dir", format!("{}: {why}", path.display()))
    };
    match read(&path) {
        Ok(token) => check(token).map_err(|why| describe(&why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            generate(&path).map_err(|why| describe(&why))
        }
        Err(error) => Err(describe(&error)),
    }
}

/// Generates a token in a file that only this process's user can read. The file appears complete or
/// not at all.
fn generate(path: &Path) -> io::Result<Secret> {
    let token = hex::encode(rand::random::<[u8; 32]>());
    let draft = path.with_extension(format!("{:08x}", rand::random::<u32>()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    tracing::info!(path = %path.display(), "generated the operator token");
    Ok(Secret::from(token))
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)?;
    Ok(Secret::from(text.trim_end_matches(['\r', '\n']).to_owned()))
}
