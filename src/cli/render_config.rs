//! `millpond render-config`: what to put where, so that a client uses a gateway.
//!
//! The main type is [`RenderConfig`].

use std::process::ExitCode;

use serde_json::json;

use super::exit::FailureCode;
use super::gateway_args::{DEFAULT_GATEWAY, GatewayArgs};
use super::output::{OutputForm, print_line, print_text};
use crate::client_setup::{self, ClientSetup};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond render-config
  millpond render-config pip --gateway http://sources.example.org > ~/.config/pip/pip.conf")]
pub struct RenderConfig {
    /// Client; without one, the clients are listed
    #[arg(conflicts_with = "all")]
    client: Option<String>,
    /// Print the texts of all clients, as a page of Markdown
    #[arg(long)]
    all: bool,
}

impl RenderConfig {
    /// Runs the command.
    pub fn run(self, gateway: &GatewayArgs, form: OutputForm) -> ExitCode {
        let base = match gateway.url() {
            Ok(url) => url.map_or_else(|| DEFAULT_GATEWAY.to_owned(), |url| url.to_string()),
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let printed = match self.client {
            None if self.all && form == OutputForm::Text => {
                print_text(&client_setup::markdown(&base)).map(drop)
            }
            None => print_list(&base, self.all, form),
            Some(name) => {
                let Some(client) = client_setup::find(&name) else {
                    let names = client_setup::names();
                    let text = format!("there is no text for {name:?}; the clients are {names}");
                    return form.fail(&text, FailureCode::Usage);
                };
                print_client(client, &base, form)
            }
        };
        match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => form.fail(&error, FailureCode::Failed),
        }
    }
}

/// Prints the names of all clients, and as JSON on request their texts.
fn print_list(base: &str, has_texts: bool, form: OutputForm) -> std::io::Result<()> {
    for client in client_setup::all() {
        match form {
            OutputForm::Json if has_texts => print_client(client, base, form)?,
            OutputForm::Json => {
                print_line(&json!({ "client": client.name, "title": client.title })).map(drop)?;
            }
            OutputForm::Text => {
                print_line(&format_args!("{:<13} {}", client.name, client.title)).map(drop)?;
            }
        }
    }
    Ok(())
}

fn print_client(client: &ClientSetup, base: &str, form: OutputForm) -> std::io::Result<()> {
    let text = client.text(base);
    match form {
        OutputForm::Text => print_text(&text).map(drop),
        OutputForm::Json => {
            let document = json!({ "client": client.name, "title": client.title, "text": text });
            print_line(&document).map(drop)
        }
    }
}
