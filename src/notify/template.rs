//! Bodies of webhook posts in the form that a chat system takes.
//!
//! This file must not know when a notification is sent. The main type is [`MessageTemplate`].

use serde_json::Value;

use super::incident::{Notification, date};

/// Longest template, in bytes.
const MAX_TEMPLATE_BYTES: usize = 16 << 10;

/// JSON document with placeholders such as `{summary}` in its strings. `{{` and `}}` are literal
/// braces.
#[derive(Debug, Clone)]
pub struct MessageTemplate(Node);

/// Why a template is refused.
#[derive(Debug, thiserror::Error)]
pub enum MessageTemplateError {
    #[error("must have at most {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
    #[error("must be JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("must be a JSON object")]
    NotAnObject,
    #[error("has the unknown placeholder {{{0}}}; known are {names}", names = known_names())]
    UnknownPlaceholder(String),
    #[error("has {{ without }}; {{{{ is a literal brace")]
    Unclosed,
}

/// JSON value whose strings are parsed.
#[derive(Debug, Clone)]
enum Node {
    Text(Vec<Part>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
    /// A number, a boolean or null.
    Constant(Value),
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Fact(Fact),
}

/// Fact of a notification that a template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Event,
    Instance,
    SentAt,
    Summary,
    Severity,
    Cause,
    Host,
    Count,
    Target,
    Detail,
    FirstSeen,
    LastSeen,
    Id,
}

impl Fact {
    const ALL: [Self; 13] = [
        Self::Event,
        Self::Instance,
        Self::SentAt,
        Self::Summary,
        Self::Severity,
        Self::Cause,
        Self::Host,
        Self::Count,
        Self::Target,
        Self::Detail,
        Self::FirstSeen,
        Self::LastSeen,
        Self::Id,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Instance => "instance",
            Self::SentAt => "sent_at",
            Self::Summary => "summary",
            Self::Severity => "severity",
            Self::Cause => "cause",
            Self::Host => "host",
            Self::Count => "count",
            Self::Target => "target",
            Self::Detail => "detail",
            Self::FirstSeen => "first_seen",
            Self::LastSeen => "last_seen",
            Self::Id => "id",
        }
    }

    fn parse(name: &str) -> Result<Self, MessageTemplateError> {
        let known = Self::ALL.into_iter().find(|fact| fact.name() == name);
        known.ok_or_else(|| MessageTemplateError::UnknownPlaceholder(name.to_owned()))
    }

    /// Returns the text of the fact. A fact that an incident lacks is empty.
    fn text(self, notification: &Notification, instance: &str) -> String {
        let incident = &notification.incident;
        match self {
            Self::Event => notification.kind.as_str().to_owned(),
            Self::Instance => instance.to_owned(),
            Self::SentAt => date(notification.time()),
            Self::Summary => incident.summary(),
            Self::Severity => incident.severity.as_str().to_owned(),
            Self::Cause => incident.cause.as_str().to_owned(),
            Self::Host => incident.host.clone().unwrap_or_default(),
            Self::Count => incident.count.to_string(),
            Self::Target => incident.targets.last().cloned().unwrap_or_default(),
            Self::Detail => incident.detail.clone(),
            Self::FirstSeen => date(incident.first_seen),
            Self::LastSeen => date(incident.last_seen),
            Self::Id => incident.id.clone(),
        }
    }
}

impl MessageTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`MessageTemplateError`] if it is no JSON object, or names a fact that does not exist.
    pub fn parse(template: &str) -> Result<Self, MessageTemplateError> {
        if template.len() > MAX_TEMPLATE_BYTES {
            return Err(MessageTemplateError::TooLong);
        }
        let document: Value = serde_json::from_str(template)?;
        if !document.is_object() {
            return Err(MessageTemplateError::NotAnObject);
        }
        Node::parse(document).map(Self)
    }

    /// Returns the body of a post. Facts are strings of JSON, so none of them can change its form.
    pub fn render(&self, notification: &Notification, instance: &str) -> String {
        let text = |fact: Fact| fact.text(notification, instance);
        self.0.render(&text).to_string()
    }
}

impl Node {
    /// serde_json bounds the depth of a document, and so the recursion.
    fn parse(value: Value) -> Result<Self, MessageTemplateError> {
        Ok(match value {
            Value::String(text) => Self::Text(parse_text(&text)?),
            Value::Array(values) => Self::List(
                values
                    .into_iter()
                    .map(Self::parse)
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => Self::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::parse(value)?)))
                    .collect::<Result<_, MessageTemplateError>>()?,
            ),
            constant => Self::Constant(constant),
        })
    }

    fn render(&self, text: &impl Fn(Fact) -> String) -> Value {
        match self {
            Self::Text(parts) => Value::String(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Literal(literal) => literal.clone(),
                        Part::Fact(fact) => text(*fact),
                    })
                    .collect(),
            ),
            Self::List(nodes) => nodes.iter().map(|node| node.render(text)).collect(),
            Self::Object(fields) => fields
                .iter()
                .map(|(name, node)| (name.clone(), node.render(text)))
                .collect(),
            Self::Constant(value) => value.clone(),
        }
    }
}

/// Splits a string into literals and facts.
fn parse_text(text: &str) -> Result<Vec<Part>, MessageTemplateError> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        rest = if brace == "}" || after.starts_with('{') {
            literal.push_str(brace);
            after.strip_prefix(brace).unwrap_or(after)
        } else {
            let (name, after) = after
                .split_once('}')
                .ok_or(MessageTemplateError::Unclosed)?;
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            parts.push(Part::Fact(Fact::parse(name)?));
            after
        };
    }
    literal.push_str(rest);
    parts.push(Part::Literal(literal));
    Ok(parts)
}

fn known_names() -> String {
    let names: Vec<_> = Fact::ALL
        .iter()
        .map(|fact| format!("{{{}}}", fact.name()))
        .collect();
    names.join(" ")
}
