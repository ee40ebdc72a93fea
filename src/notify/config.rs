//! Configuration section `[notify]`.

use std::fmt::Display;
use std::path::PathBuf;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::mail::{Envelope, Mail, MailServer, mail_server};
use super::template::MessageTemplate;
use super::webhook::{MessageFormat, Webhook, WebhookTarget};
use crate::dial::Dialer;
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
    /// JSON with placeholders, for chat systems. Empty: the documented JSON of Millpond.
    pub webhook_template: String,
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
        self.webhook()?;
        self.mail().map(drop)
    }

    /// Creates the configured notification channels. Notifications contain the name `instance`.
    pub(super) fn channels(
        &self,
        instance: &str,
        dialer: &Dialer,
    ) -> Result<Vec<Channel>, ConfigError> {
        let mut channels = Vec::new();
        if let Some(target) = self.webhook()? {
            let webhook = Webhook::new(target, instance, dialer)?;
            channels.push(Channel::Webhook(webhook));
        }
        if let Some((server, envelope)) = self.mail()? {
            let mail = Mail::new(server, envelope, instance, dialer);
            channels.push(Channel::Mail(mail));
        }
        Ok(channels)
    }

    fn webhook(&self) -> Result<Option<WebhookTarget>, ConfigError> {
        let url = self
            .webhook_url
            .or_from_file("notify.webhook_url", &self.webhook_url_file)?;
        let secret = self
            .webhook_secret
            .or_from_file("notify.webhook_secret", &self.webhook_secret_file)?;
        check_not_blank("webhook_url", &url)?;
        let format = self.message_format()?;
        match (url.is_empty(), &format) {
            (false, _) => WebhookTarget::new(&url, secret, format).map(Some),
            (true, MessageFormat::Template(_)) => {
                Err(invalid("webhook_template", &"needs notify.webhook_url"))
            }
            (true, MessageFormat::Standard) if secret.is_empty() => Ok(None),
            (true, MessageFormat::Standard) => {
                Err(invalid("webhook_secret", &"needs notify.webhook_url"))
            }
        }
    }

    fn message_format(&self) -> Result<MessageFormat, ConfigError> {
        if self.webhook_template.is_empty() {
            return Ok(MessageFormat::Standard);
        }
        MessageTemplate::parse(&self.webhook_template)
            .map(MessageFormat::Template)
            .map_err(|error| invalid("webhook_template", &error))
    }

    fn mail(&self) -> Result<Option<(MailServer, Envelope)>, ConfigError> {
        let url = self
            .smtp_url
            .or_from_file("notify.smtp_url", &self.smtp_url_file)?;
        check_not_blank("smtp_url", &url)?;
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
        let server = mail_server(&url).map_err(|reason| invalid("smtp_url", &reason))?;
        Ok(Some((server, Envelope { from, to })))
    }
}

/// Rejects a URL of spaces. An empty one switches the channel off.
fn check_not_blank(key: &str, url: &Secret) -> Result<(), ConfigError> {
    if !url.is_empty() && url.expose().trim().is_empty() {
        return Err(invalid(key, &"must not be blank"));
    }
    Ok(())
}

fn invalid(key: &str, reason: &dyn Display) -> ConfigError {
    ConfigError::new(format!("notify.{key}"), reason)
}
