//! The page at `/`: how to use this gateway, under the name by which it was asked.
//!
//! Browsers get HTML without scripts, and other clients get text. This file decides no access. Its
//! main type is [`UsagePage`].

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::own_url::own_url;
use super::parse_request::single;
use super::state::Settings;
use crate::client_setup;

const STYLE: &str = include_str!("usage_page.css");

const HTML: &str = include_str!("usage_page.html");

/// The page at `/`.
pub struct UsagePage {
    form: PageForm,
    /// Scheme and authority of this gateway. Contains no character that HTML would interpret.
    base: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageForm {
    Html,
    Text,
}

impl UsagePage {
    /// Returns the page for a request.
    #[must_use]
    pub fn for_request(request: &HttpRequest, settings: &Settings) -> Self {
        let accepts_html = single(request.headers(), ACCEPT.as_str())
            .is_some_and(|accept| accept.to_ascii_lowercase().contains("text/html"));
        Self {
            form: if accepts_html {
                PageForm::Html
            } else {
                PageForm::Text
            },
            base: own_url(request, settings),
        }
    }

    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> HttpResponse {
        let (content_type, body) = match self.form {
            PageForm::Html => ("text/html; charset=utf-8", self.html()),
            PageForm::Text => ("text/plain; charset=utf-8", self.text()),
        };
        HttpResponse::build(StatusCode::OK)
            .insert_header((CONTENT_TYPE, content_type))
            .insert_header((CONTENT_SECURITY_POLICY, content_security_policy()))
            .insert_header((REFERRER_POLICY, "no-referrer"))
            .insert_header((HeaderName::from_static("x-frame-options"), "DENY"))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((VARY, "Accept, Host"))
            .body(body)
    }

    fn html(&self) -> String {
        HTML.replace("{style}", STYLE)
            .replace("{clients}", &self.clients_as_html())
            .replace("{base}", &self.base)
    }

    fn text(&self) -> String {
        let base = &self.base;
        format!(
            "Millpond keeps upstream source archives, so that builds get the same bytes every time.

Ask for a URL by putting it behind this gateway's own:

    wget {base}/https://example.org/x-1.0.tar.gz
    Source0: {base}/https://example.org/x-1.0.tar.gz

State what the bytes must be, and you get those or an error:

    curl -LO {base}/sha256:<64 hex digits>/https://example.org/x-1.0.tar.gz

Without a scheme https is meant: {base}/example.org/x-1.0.tar.gz

Setup of clients, which `millpond render-config CLIENT` prints, too:
"
        ) + &self.clients_as_text()
    }

    fn clients_as_html(&self) -> String {
        let details = client_setup::all().iter().map(|client| {
            let text = escape(&client.text(&self.base));
            let title = client.title;
            format!("<details><summary>{title}</summary>\n<pre>{text}</pre></details>\n")
        });
        details.collect()
    }

    fn clients_as_text(&self) -> String {
        let mut page = String::new();
        for client in client_setup::all() {
            page.extend(["\n", client.name, " (", client.title, ")\n\n"]);
            for line in client.text(&self.base).lines() {
                page.extend(["    ", line, "\n"]);
            }
        }
        page
    }
}

/// Returns a text of HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Returns the policy of the page: nothing but its own style, and forms to this gateway.
fn content_security_policy() -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}
