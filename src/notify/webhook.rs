//! Webhook channel: one signed POST with JSON for each notification. This file must not know when
//! a notification is sent. The main type is [`Webhook`].

use std::error::Error;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::json;
use sha2::Sha256;

use super::delivery::{ATTEMPT_TIMEOUT, DeliveryError};
use super::incident::{Notification, date};
use super::template::MessageTemplate;
use crate::dial::Dialer;
use crate::model::{ConfigError, Scheme, Secret, root_cause};

/// Time of the request, in seconds since 1970. The signature covers it, which prevents replays.
const TIMESTAMP: &str = "X-Millpond-Timestamp";

/// Signature: `sha256=` and the hexadecimal HMAC-SHA256 of the timestamp, a full stop and the body.
const SIGNATURE: &str = "X-Millpond-Signature";

/// Webhook of the configuration.
pub struct WebhookTarget {
    url: Url,
    /// If empty, requests are not signed.
    secret: Secret,
    format: MessageFormat,
}

/// Form of the bodies that a webhook gets.
#[derive(Debug)]
pub enum MessageFormat {
    /// The documented JSON of Millpond.
    Standard,
    /// The form that a chat system takes.
    Template(MessageTemplate),
}

impl WebhookTarget {
    /// # Errors
    /// [`ConfigError`] without the URL, which may contain a secret.
    pub fn new(url: &Secret, secret: Secret, format: MessageFormat) -> Result<Self, ConfigError> {
        let url = Url::parse(url.expose()).ok().filter(is_web_url);
        let url = url.ok_or_else(|| invalid("must be like \"https://alerts.example.org/hook\""))?;
        Ok(Self {
            url,
            secret,
            format,
        })
    }
}

/// Looks up the name of the webhook's host within the bounds of all lookups.
struct WebhookResolver(Dialer);

impl Resolve for WebhookResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (dialer, host) = (self.0.clone(), name.as_str().to_owned());
        Box::pin(async move {
            // The client takes the port from the URL.
            let addresses = dialer.configured_addresses(&host, 0).await?;
            Ok::<Addrs, Box<dyn Error + Send + Sync>>(Box::new(addresses.into_iter()))
        })
    }
}

pub struct Webhook {
    client: Client,
    target: WebhookTarget,
    instance: String,
}

/// Returns whether a URL is one of http or https, at a port that no other scheme owns.
fn is_web_url(url: &Url) -> bool {
    let scheme = Scheme::parse(url.scheme()).filter(|scheme| *scheme != Scheme::Ftp);
    let owner = url
        .port_or_known_default()
        .and_then(Scheme::from_default_port);
    scheme.is_some() && (owner.is_none() || owner == scheme)
}

impl Webhook {
    /// Creates the channel.
    ///
    /// The operator chose the server, so any address is allowed. Redirects are not followed,
    /// because the operator did not choose their targets.
    ///
    /// # Errors
    /// [`ConfigError`] if TLS is unavailable.
    pub fn new(
        target: WebhookTarget,
        instance: &str,
        dialer: &Dialer,
    ) -> Result<Self, ConfigError> {
        let client = Client::builder()
            .no_proxy()
            .dns_resolver(WebhookResolver(dialer.clone()))
            .redirect(Policy::none())
            .timeout(ATTEMPT_TIMEOUT);
        let client = client.user_agent(concat!("millpond/", env!("CARGO_PKG_VERSION")));
        let client = client.build().map_err(|error| {
            let cause = root_cause_without_url(error);
            invalid(&format!("TLS setup failed: {cause}"))
        })?;
        Ok(Self {
            client,
            target,
            instance: instance.to_owned(),
        })
    }

    pub async fn send(&self, notification: &Notification) -> Result<(), DeliveryError> {
        let body = match &self.target.format {
            MessageFormat::Standard => standard_body(notification, &self.instance),
            MessageFormat::Template(template) => template.render(notification, &self.instance),
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
            .to_string();
        let mut request = self
            .client
            .post(self.target.url.clone())
            .header(CONTENT_TYPE, "application/json");
        let secret = &self.target.secret;
        if !secret.is_empty() {
            request = request
                .header(SIGNATURE, sign(secret, &now, &body))
                .header(TIMESTAMP, now);
        }
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|error| DeliveryError::Transient(root_cause_without_url(error)))?;
        let status = response.status();
        let is_transient = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        match status {
            status if status.is_success() => Ok(()),
            status if is_transient => Err(DeliveryError::Transient(format!(
                "the server returned {status}"
            ))),
            status => Err(DeliveryError::Permanent(format!(
                "the server returned {status}"
            ))),
        }
    }
}

fn invalid(reason: &str) -> ConfigError {
    ConfigError::new("notify.webhook_url", reason)
}

/// Builds the body. Every attempt sends the same one, so a receiver can detect duplicates.
fn standard_body(notification: &Notification, instance: &str) -> String {
    let document = json!({
        "version": 1,
        "event": notification.kind.as_str(),
        "instance": instance,
        "sent_at": date(notification.time()),
        "summary": notification.incident.summary(),
        "incident": notification.incident,
    });
    document.to_string()
}

fn sign(secret: &Secret, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Returns the root cause of an error, without the URL.
fn root_cause_without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return "request timed out".to_owned();
    }
    root_cause(&error)
}
