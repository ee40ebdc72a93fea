//! Mail channel: one plain-text mail for each notification.

use std::fmt::Write as _;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::delivery::{ATTEMPT_TIMEOUT, DeliveryError};
use super::incident::{Notification, NotificationKind, date};
use crate::model::Secret;

/// Error returned when the transport cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error(
        "must be like \"smtp://mail.example.org\" or \"smtps://user:password@mail.example.org\""
    )]
    Url,
    #[error("TLS setup failed: {0}")]
    Tls(lettre::transport::smtp::Error),
}

/// Default ports: SMTP, submission with STARTTLS, and submission with implicit TLS.
const SMTP_PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

pub struct Mail {
    transport: Transport,
    from: Mailbox,
    to: Vec<Mailbox>,
    instance: String,
}

/// Header that asks receivers not to send automatic replies (RFC 3834, section 5).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mail {
    pub fn new(transport: Transport, from: Mailbox, to: Vec<Mailbox>, instance: &str) -> Self {
        Self {
            transport,
            from,
            to,
            instance: instance.to_owned(),
        }
    }

    pub async fn send(&self, notification: &Notification) -> Result<(), DeliveryError> {
        let message = self
            .message(notification)
            .map_err(|error| DeliveryError::Permanent(error.to_string()))?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(DeliveryError::Permanent(error.to_string())),
            Err(error) => Err(DeliveryError::Transient(error.to_string())),
        }
    }

    fn message(&self, notification: &Notification) -> Result<Message, lettre::error::Error> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(self.subject(notification));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .message_id(None)
            .body(self.text(notification))
    }

    fn subject(&self, notification: &Notification) -> String {
        let kind = match notification.kind {
            NotificationKind::Alert => "ALERT",
            NotificationKind::Recovery => "RECOVERED",
        };
        let subject = format!(
            "[millpond {}] {kind}: {}",
            self.instance,
            notification.incident.summary()
        );
        // A line break would end the header.
        subject.chars().filter(|c| !c.is_control()).collect()
    }

    fn text(&self, notification: &Notification) -> String {
        let incident = &notification.incident;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            writeln!(text, "{name:<11}{value}").expect("a string can be written");
        };
        match notification.kind {
            NotificationKind::Alert => line("Alert:", &incident.summary()),
            NotificationKind::Recovery => line("Recovered:", &incident.summary()),
        }
        line("Cause:", incident.cause.as_str());
        line("Host:", incident.host.as_deref().unwrap_or("-"));
        line("Fetches:", &incident.count.to_string());
        line("First:", &date(incident.first_seen));
        line("Last:", &date(incident.last_seen));
        if let Some(ended) = incident.ended {
            line("Ended:", &date(ended));
        }
        line("Detail:", &incident.detail);
        for target in &incident.targets {
            line("Target:", target);
        }
        line("Instance:", &self.instance);
        line("Incident:", &incident.id);
        text + "\nEach incident is reported once. See /api/v1/incidents for its current state.\n"
    }
}

/// Creates the transport for a server URL.
///
/// With `smtp`, Millpond uses STARTTLS if the server offers it, and requires it if the URL has a
/// user. `?tls=none` disables TLS, for a server on the same host or network.
///
/// # Errors
/// [`TransportError`], without the URL, which may contain a password.
pub fn transport(url: &Secret) -> Result<Transport, TransportError> {
    let url = Url::parse(url.expose()).map_err(|_| TransportError::Url)?;
    let host = match url.host().ok_or(TransportError::Url)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let has_user = !url.username().is_empty();
    let tls_option = url.query().and_then(|query| query.strip_prefix("tls="));
    let parameters = || TlsParameters::new(host.clone()).map_err(TransportError::Tls);
    let (tls, port) = match (url.scheme(), tls_option) {
        ("smtps", None) => (Tls::Wrapper(parameters()?), SUBMISSIONS_PORT),
        ("smtp", Some("none")) => (Tls::None, SMTP_PORT),
        ("smtp", Some("required")) => (Tls::Required(parameters()?), SUBMISSION_PORT),
        ("smtp", None) if has_user => (Tls::Required(parameters()?), SUBMISSION_PORT),
        ("smtp", None) => (Tls::Opportunistic(parameters()?), SMTP_PORT),
        _ => return Err(TransportError::Url),
    };
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(String::from)
            .map_err(|_| TransportError::Url)
    };
    let mut builder = Transport::builder_dangerous(host.clone());
    builder = builder
        .port(url.port().unwrap_or(port))
        .tls(tls)
        .timeout(Some(ATTEMPT_TIMEOUT));
    if has_user {
        let password = decoded(url.password().unwrap_or_default())?;
        builder = builder.credentials(Credentials::new(decoded(url.username())?, password));
    }
    Ok(builder.build())
}
