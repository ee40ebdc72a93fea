//! The name of this instance in `Via`, in notifications and towards origins.

use std::io;
use std::path::Path;

use super::error::AppError;
use crate::gateway;
use crate::model::{ConfigError, disk_fault};

/// File in the state folder with the random part of the name.
const ID_FILE: &str = "instance_id";

/// Name of this instance, and its random part.
pub struct Instance {
    pub name: String,
    pub id: String,
}

/// Returns the configured name, or else the host name with a random suffix. The suffix is kept in
/// the state folder.
///
/// # Errors
/// [`AppError::Configuration`] if the state folder cannot be used.
pub fn instance_name(config: &gateway::Config) -> Result<Instance, AppError> {
    let id = match read_or_create_id(&config.state_dir) {
        Ok(id) => id,
        Err(error) if disk_fault::is_passing(&error) => {
            tracing::warn!(%error, "name of this instance was not stored, the next start chooses \
                another one");
            random_id()
        }
        Err(error) => {
            let folder = config.state_dir.display();
            let reason = format!("the folder {folder} cannot be used: {error}");
            return Err(ConfigError::new("gateway.state_dir", reason).into());
        }
    };
    if !config.name.is_empty() {
        let name = config.name.clone();
        return Ok(Instance { name, id });
    }
    let host: String = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let name = format!("{host}-{id}");
    Ok(Instance { name, id })
}

fn read_or_create_id(state_dir: &Path) -> io::Result<String> {
    std::fs::create_dir_all(state_dir)?;
    let path = state_dir.join(ID_FILE);
    match std::fs::read_to_string(&path) {
        Ok(id)
            if !id.trim().is_empty() && id.trim().bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            return Ok(id.trim().to_owned());
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let id = random_id();
    std::fs::write(path, format!("{id}\n"))?;
    Ok(id)
}

fn random_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}
