//! Tokens of operators and readers. With the operator token, a request may change the cache. With
//! any token, it may read lists and incidents.
//!
//! The main type is [`Tokens`].

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::error::{AdminError, Needed};
use crate::gateway::Config;
use crate::model::{ConfigError, Secret, disk_fault};

/// Name of the file in the state folder that contains a generated token.
const FILE_NAME: &str = "admin_token";

/// Smallest length of a token, in bytes. A shorter one can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// Largest part of a token file that is read, in bytes. No token is longer.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Largest number of `gateway.reader_tokens`, since a request is compared with each of them.
const MAX_READER_TOKENS: usize = 64;

/// Proof that a request has the operator token, or that a job comes from such a request. It names
/// the client, if it is that of a request.
#[derive(Debug)]
pub struct Operator(Option<IpAddr>);

impl Operator {
    /// Returns the proof for the work of jobs. Each job was created with the proof of a request,
    /// and its files are in the state folder, as the operator token is.
    #[must_use]
    pub fn of_jobs() -> Self {
        Self(None)
    }
}

/// Proof that a request has the operator token or a reader token. Only [`Tokens::authorize`]
/// creates one. It names the client, if it is that of a request.
#[derive(Debug)]
pub struct ListReader(Option<IpAddr>);

impl ListReader {
    /// Returns the client that the work of the request counts for.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.0
    }
}

/// Permission that the token of a request gives.
#[derive(Debug)]
pub enum Permission {
    /// The request has no token.
    Public,
    Read(ListReader),
    Operate(Operator),
}

impl Permission {
    /// Returns the proof that the request may change the cache.
    ///
    /// # Errors
    /// [`AdminError::Unauthorized`] without the operator token.
    pub fn into_operator(self) -> Result<Operator, AdminError> {
        match self {
            Self::Operate(operator) => Ok(operator),
            Self::Public | Self::Read(_) => Err(AdminError::Unauthorized(Needed::OperatorToken)),
        }
    }

    /// Returns the proof that the request may read lists.
    ///
    /// # Errors
    /// [`AdminError::Unauthorized`] without a token.
    pub fn into_reader(self) -> Result<ListReader, AdminError> {
        match self {
            Self::Operate(Operator(client)) => Ok(ListReader(client)),
            Self::Read(reader) => Ok(reader),
            Self::Public => Err(AdminError::Unauthorized(Needed::ReaderToken)),
        }
    }
}

/// Error returned for a token that cannot be used.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("a token must have at least {MIN_TOKEN_BYTES} bytes")]
    TooShort,
    #[error("a token must contain only visible ASCII characters")]
    NotVisibleAscii,
}

/// All valid tokens, stored as keyed hashes. The time of a comparison reveals neither a token nor
/// its length.
pub struct Tokens {
    tag: Hmac<Sha256>,
    operator: Vec<u8>,
    readers: Vec<Vec<u8>>,
    state: TokenState,
}

/// Whether an operator can know the operator token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenState {
    Known,
    /// The token was generated, and its file could not be written.
    Unstored,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// Loads the configured tokens. Without a configured operator token, that of the state folder
    /// is loaded. If there is none, a token is generated and stored there.
    ///
    /// # Errors
    /// [`ConfigError`] if a key is invalid, or the file of the state folder cannot be used.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        let (operator, state) = match configured(config)? {
            Some(token) => (token, TokenState::Known),
            None => read_or_generate(&config.state_dir)?,
        };
        Ok(Self {
            state,
            ..Self::new(&operator, &config.reader_tokens)
        })
    }

    /// Describes what is wrong with the operator token, if anything.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        match self.state {
            TokenState::Known => None,
            TokenState::Unstored => Some("the operator token could not be stored in state_dir"),
        }
    }

    fn new(operator: &Secret, readers: &[Secret]) -> Self {
        let key: [u8; 32] = rand::random();
        let tag = Hmac::<Sha256>::new_from_slice(&key).expect("a key may have any length");
        let hash = |token: &Secret| {
            let tag = tag.clone().chain_update(token.expose());
            tag.finalize().into_bytes().to_vec()
        };
        Self {
            operator: hash(operator),
            readers: readers.iter().map(hash).collect(),
            state: TokenState::Known,
            tag,
        }
    }

    /// Returns what a token of a client permits, or `None` for a wrong token.
    #[must_use]
    pub fn authorize(&self, client: IpAddr, token: &str) -> Option<Permission> {
        let hash = self.tag.clone().chain_update(token);
        let matches = |valid: &Vec<u8>| hash.clone().verify_slice(valid).is_ok();
        if matches(&self.operator) {
            return Some(Permission::Operate(Operator(Some(client))));
        }
        let is_reader = self.readers.iter().any(matches);
        is_reader.then_some(Permission::Read(ListReader(Some(client))))
    }
}

/// Checks the configured tokens.
///
/// # Errors
/// [`ConfigError`] for the first invalid token.
pub fn check_tokens(config: &Config) -> Result<(), ConfigError> {
    configured(config)?;
    let invalid = |why: &dyn fmt::Display| ConfigError::new("gateway.reader_tokens", why);
    if config.reader_tokens.len() > MAX_READER_TOKENS {
        return Err(invalid(&format!("at most {MAX_READER_TOKENS} tokens")));
    }
    for token in &config.reader_tokens {
        check(token.clone()).map_err(|why| invalid(&why))?;
    }
    Ok(())
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

fn read_or_generate(state_dir: &Path) -> Result<(Secret, TokenState), ConfigError> {
    let path = state_dir.join(FILE_NAME);
    let describe = |why: &dyn fmt::Display| {
        ConfigError::new("gateway.state_dir", format!("{}: {why}", path.display()))
    };
    match read(&path) {
        Ok(token) => match check(token) {
            Ok(token) => Ok((token, TokenState::Known)),
            Err(why) => Err(describe(&why)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = Secret::from(hex::encode(rand::random::<[u8; 32]>()));
            match store(&path, &token) {
                Ok(()) => Ok((token, TokenState::Known)),
                Err(error) if disk_fault::is_passing(&error) => {
                    tracing::error!(
                        %error,
                        "operator token could not be stored, operators are refused until the \
                         configuration is reloaded"
                    );
                    Ok((token, TokenState::Unstored))
                }
                Err(error) => Err(describe(&error)),
            }
        }
        Err(error) => Err(describe(&error)),
    }
}

/// Stores a new token in a file that only this process's user can read. The file appears complete
/// or not at all.
fn store(path: &Path, token: &Secret) -> io::Result<()> {
    let draft = path.with_extension(format!("{:08x}", rand::random::<u32>()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(format!("{}\n", token.expose()).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    tracing::info!(path = %path.display(), "generated the operator token");
    Ok(())
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)?;
    Ok(Secret::from(text.trim_end_matches(['\r', '\n']).to_owned()))
}
