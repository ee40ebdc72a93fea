//! The operator's token. Who shows it may change what is kept, and see all of it.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::gateway::{Config, RequestError};
use crate::model::{ConfigError, Secret};

/// The name of the file in the state folder that holds a token that was made here.
const FILE_NAME: &str = "admin_token";

/// A shorter one can be guessed, in bytes.
const MIN_TOKEN_BYTES: usize = 16;

/// More than any token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Error returned for a token that cannot be used.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("a token has at least {MIN_TOKEN_BYTES} bytes")]
    TooShort,
    #[error("a token holds only visible ASCII")]
    NotVisibleAscii,
}

/// Proof that somebody has shown the token. Only [`AdminToken::authorize`] makes one.
#[derive(Debug)]
pub struct Operator(());

/// The token, by a keyed hash of it: how long a comparison takes tells nothing, not even the
/// length.
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
    /// The token that is configured, or else the one in the state folder, which is made where there
    /// is none.
    ///
    /// # Errors
    /// A line that names the key, or the folder that cannot be used.
    pub fn find(config: &Config) -> Result<Self, ConfigError> {
        let token = match configured(config)? {
            Some(token) => token,
            None => read_or_make(&config.state_dir)?,
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

    /// Judges what somebody has shown, if anything.
    ///
    /// # Errors
    /// [`Problem::Unauthorized`].
    pub fn authorize(&self, shown: Option<&str>) -> Result<Operator, RequestError> {
        let shown = shown.ok_or(RequestError::Unauthorized)?;
        let hash = self.tag.clone().chain_update(shown);
        hash.verify_slice(&self.hash_of_token)
            .map(|()| Operator(()))
            .map_err(|_| RequestError::Unauthorized)
    }
}

/// # Errors
/// A line that names the key, if the configured token cannot be used.
pub fn check_token(config: &Config) -> Result<(), ConfigError> {
    configured(config).map(drop)
}

/// The token of the configuration, if it holds or names one.
fn configured(config: &Config) -> Result<Option<Secret>, ConfigError> {
    let token = config
        .admin_token
        .or_from_file("gateway.admin_token", &config.admin_token_file)?;
    if token.is_empty() {
        return Ok(None);
    }
    check(token)
        .map(Some)
        .map_err(|why| ConfigError::new("gateway.admin_token", why))
}

/// Whether a token is fit to be sent in a header field, and long enough.
fn check(token: Secret) -> Result<Secret, TokenError> {
    if token.expose().len() < MIN_TOKEN_BYTES {
        return Err(TokenError::TooShort);
    }
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NotVisibleAscii);
    }
    Ok(token)
}

fn read_or_make(state_dir: &Path) -> Result<Secret, ConfigError> {
    let path = state_dir.join(FILE_NAME);
    let complaint = |why: &dyn fmt::Display| {
        ConfigError::new("gateway.state_dir", format!("{}: {why}", path.display()))
    };
    match read(&path) {
        Ok(token) => check(token).map_err(|why| complaint(&why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(&path).map_err(|why| complaint(&why))
        }
        Err(error) => Err(complaint(&error)),
    }
}

/// Makes a token that nobody but this process's user can read, whole or not at all.
fn make(path: &Path) -> io::Result<Secret> {
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
    tracing::info!(path = %path.display(), "a token for operators was made");
    Ok(Secret::from(token))
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)?;
    Ok(Secret::from(text.trim_end_matches(['\r', '\n']).to_owned()))
}
