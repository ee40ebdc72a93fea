//! Mail channel: one plain-text mail for each notification. This file must not know when a
//! notification is sent. The main type is [`Mail`].

use std::fmt::Write as _;
use std::net::SocketAddr;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::delivery::{ATTEMPT_TIMEOUT, DeliveryError};
use super::incident::{Notification, NotificationKind, date};
use crate::dial::Dialer;
use crate::model::Secret;

/// Error returned when the URL of the mail server is invalid.
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

/// Maximum number of addresses of the mail server that one attempt tries. They share its time.
const MAX_ADDRESSES: usize = 3;

/// Mail server of the configuration.
pub struct MailServer {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
}

/// Sender and recipients of all mails.
pub struct Envelope {
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
}

pub struct Mail {
    server: MailServer,
    envelope: Envelope,
    instance: String,
    dialer: Dialer,
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
    /// Creates the channel. The operator chose the server, so any address is allowed.
    pub fn new(server: MailServer, envelope: Envelope, instance: &str, dialer: &Dialer) -> Self {
        Self {
            server,
            envelope,
            instance: instance.to_owned(),
            dialer: dialer.clone(),
        }
    }

    pub async fn send(&self, notification: &Notification) -> Result<(), DeliveryError> {
        let message = self
            .message(notification)
            .map_err(|error| DeliveryError::Permanent(error.to_string()))?;
        let MailServer { host, port, .. } = &self.server;
        let found = self.dialer.configured_addresses(host, *port).await;
        let found = found.map_err(|error| DeliveryError::Transient(error.to_string()))?;
        let addresses = &found[..found.len().min(MAX_ADDRESSES)];
        let mut last = DeliveryError::Transient("the mail server has no address".to_owned());
        for address in addresses {
            let transport = self.server.transport(*address, addresses.len());
            match transport.send(message.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_permanent() => {
                    return Err(DeliveryError::Permanent(error.to_string()));
                }
                Err(error) => {
                    let has_answered = error.is_response() || error.is_transient();
                    last = DeliveryError::Transient(error.to_string());
                    if has_answered {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    fn message(&self, notification: &Notification) -> Result<Message, lettre::error::Error> {
        let mut builder = Message::builder()
            .from(self.envelope.from.clone())
            .subject(self.subject(notification));
        for to in &self.envelope.to {
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

impl MailServer {
    /// Returns a transport to one of the `count` addresses that share the time of an attempt. The
    /// certificate must be that of the host.
    fn transport(&self, address: SocketAddr, count: usize) -> Transport {
        let share = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut builder = Transport::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .tls(self.tls.clone())
            .timeout(Some(ATTEMPT_TIMEOUT / share));
        if let Some(credentials) = &self.credentials {
            builder = builder.credentials(credentials.clone());
        }
        builder.build()
    }
}

/// Reads the URL of a mail server.
///
/// With `smtp`, Millpond uses STARTTLS if the server offers it, and requires it if the URL has a
/// user. `?tls=none` disables TLS, for a server on the same host or network.
///
/// # Errors
/// [`TransportError`], without the URL, which may contain a password.
pub fn mail_server(url: &Secret) -> Result<MailServer, TransportError> {
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
    let credentials = if has_user {
        let password = decoded(url.password().unwrap_or_default())?;
        Some(Credentials::new(decoded(url.username())?, password))
    } else {
        None
    };
    Ok(MailServer {
        port: url.port().unwrap_or(port),
        host,
        tls,
        credentials,
    })
}
