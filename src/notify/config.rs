//! Configuration section `[notify]`.

use std::fmt::Display;
use std::path::PathBuf;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::mail::{self, Mail};
use super::webhook::Webhook;
use crate::model::{ConfigError, Secret};

/// Configuration section `[notify]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// URL of the webhook. Empty: no webhook. The URL is a secret because it often grants access.
    pub webhook_url: Secret,
    pub webhook_url_file: PathBuf,
    /// Key that signs webhook requests. Empty: requests are not signed.
    pub webhook_secret: Secret,
    pub webhook_secret_file: PathBuf,
    /// URL of the mail server. Empty: no mail.
    pub smtp_url: Secret,
    pub smtp_url_file: PathBuf,
    /// Sender of the mails.
    pub mail_from: String,
    /// Recipients of the mails.
    pub mail_to: Vec<String>,
}

impl Config {
    /// Checks the section.
    ///
    /// # Errors
    /// [`ConfigError`] if a key is missing, or its value or file is invalid.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.channels("").map(drop)
    }

    /// Creates the configured notification channels. Notifications contain the name `instance`.
    pub(super) fn channels(&self, instance: &str) -> Result<Vec<Channel>, ConfigError> {
        let webhook = self.webhook(instance)?.map(Channel::Webhook);
        let mail = self.mail(instance)?.map(Channel::Mail);
        Ok(webhook.into_iter().chain(mail).collect())
    }

    fn webhook(&self, instance: &str) -> Result<Option<Webhook>, ConfigError> {
        let url = self
            .webhook_url
            .or_from_file("notify.webhook_url", &self.webhook_url_file)?;
        let secret = self
            .webhook_secret
            .or_from_file("notify.webhook_secret", &self.webhook_secret_file)?;
        if url.is_empty() {
            return if secret.is_empty() {
                Ok(None)
            } else {
                Err(invalid("webhook_secret", &"needs notify.webhook_url"))
            };
        }
        Webhook::new(&url, secret, instance).map(Some)
    }

    fn mail(&self, instance: &str) -> Result<Option<Mail>, ConfigError> {
        let url = self
            .smtp_url
            .or_from_file("notify.smtp_url", &self.smtp_url_file)?;
        let given = [
            ("smtp_url", !url.is_empty()),
            ("mail_from", !self.mail_from.is_empty()),
            ("mail_to", !self.mail_to.is_empty()),
        ];
        let present = given.iter().find(|(_, is_given)| *is_given);
        let missing = given.iter().find(|(_, is_given)| !is_given);
        match (present, missing) {
            (None, _) => return Ok(None),
            (Some((present, _)), Some((missing, _))) => {
                return Err(invalid(present, &format!("needs notify.{missing}")));
            }
            (Some(_), None) => {}
        }
        let mailbox = |key: &str, address: &String| {
            address.parse::<Mailbox>().map_err(|error| {
                invalid(key, &format!("invalid mail address {address:?}: {error}"))
            })
        };
        let from = mailbox("mail_from", &self.mail_from)?;
        let to = self
            .mail_to
            .iter()
            .map(|address| mailbox("mail_to", address))
            .collect::<Result<_, _>>()?;
        let transport = mail::transport(&url).map_err(|reason| invalid("smtp_url", &reason))?;
        Ok(Some(Mail::new(transport, from, to, instance)))
    }
}

fn invalid(key: &str, reason: &dyn Display) -> ConfigError {
    ConfigError::new(format!("notify.{key}"), reason)
}
