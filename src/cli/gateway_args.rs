//! Arguments that name a gateway and authorize requests to it. They may stand before a command or
//! after it.
//!
//! The main type is [`GatewayArgs`].

use std::path::PathBuf;

use super::gateway_url::{GatewayUrl, GatewayUrlError};
use crate::model::{ConfigError, Secret};

/// Gateway that is used if neither an argument nor the environment names one.
pub const DEFAULT_GATEWAY: &str = "http://127.0.0.1:8080";

/// Variable with the URL of the gateway.
const URL_VARIABLE: &str = "MILLPOND_URL";

/// Variable with the token.
const TOKEN_VARIABLE: &str = "MILLPOND_TOKEN";

/// Arguments of every command that uses a gateway.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gateway that a command uses")]
pub struct GatewayArgs {
    /// URL of the gateway; host:port means http; the default is the URL in MILLPOND_URL, or
    /// http://127.0.0.1:8080
    #[arg(long, value_name = "URL", global = true)]
    gateway: Option<GatewayUrl>,
    /// File with the operator token, or a reader token; the default is the token in MILLPOND_TOKEN
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// Error returned for a gateway or a token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GatewayArgsError {
    #[error("{URL_VARIABLE} {0}")]
    Url(#[from] GatewayUrlError),
    #[error(transparent)]
    Token(#[from] ConfigError),
    #[error(
        "the token of --token-file or {TOKEN_VARIABLE} has other characters than visible ASCII; \
         name the file that contains the token alone"
    )]
    NoToken,
    #[error("this command uses no gateway, so that --gateway and --token-file have no effect")]
    Unused,
}

impl GatewayArgs {
    /// Returns the URL of the arguments, or else that of the environment.
    ///
    /// # Errors
    /// [`GatewayArgsError::Url`] if the environment has an invalid URL.
    pub fn url(&self) -> Result<Option<GatewayUrl>, GatewayArgsError> {
        if self.gateway.is_some() {
            return Ok(self.gateway.clone());
        }
        let from_environment = variable(URL_VARIABLE).map(|url| url.parse());
        Ok(from_environment.transpose()?)
    }

    /// Returns the token, if there is one.
    ///
    /// # Errors
    /// [`GatewayArgsError::Token`] if the file with the token cannot be used.
    pub fn token(&self) -> Result<Option<Secret>, GatewayArgsError> {
        let token = match &self.token_file {
            Some(file) => Some(Secret::from_file("--token-file", file)?),
            None => variable(TOKEN_VARIABLE).map(Secret::from),
        };
        let is_token = |token: &Secret| token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        match token {
            Some(token) if !is_token(&token) => Err(GatewayArgsError::NoToken),
            token => Ok(token),
        }
    }

    /// Rejects the arguments for a command that uses no gateway.
    ///
    /// # Errors
    /// [`GatewayArgsError::Unused`] if there are any.
    pub fn reject(&self) -> Result<(), GatewayArgsError> {
        match (&self.gateway, &self.token_file) {
            (None, None) => Ok(()),
            _ => Err(GatewayArgsError::Unused),
        }
    }
}

/// Returns the value of a variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
