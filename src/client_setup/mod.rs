//! Texts that show users how to set up their client for this gateway. One table serves the command
//! `render-config`, the page at `/` and `docs/guides/clients.md`.
//!
//! The module knows no configuration and no requests. The main type is [`ClientSetup`].

mod setup;
mod table;

pub use setup::{ClientGroup, ClientSetup};

use setup::PROXY_PORT;
use table::CLIENTS;

/// Returns all clients, by group and name.
#[must_use]
pub fn all() -> &'static [ClientSetup] {
    &CLIENTS
}

/// Returns the client of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ClientSetup> {
    CLIENTS.iter().find(|client| client.name == name)
}

/// Returns the names of all clients, as a list for an error text.
#[must_use]
pub fn names() -> String {
    let names: Vec<_> = CLIENTS.iter().map(|client| client.name).collect();
    names.join(", ")
}

/// Returns `docs/guides/clients.md` for the gateway at `base`.
#[must_use]
pub fn markdown(base: &str) -> String {
    let mut page = format!(
        "# Clients

This page is for users of a gateway. It shows the setup of each client, for a gateway at
`{base}`. `millpond render-config CLIENT --gateway URL` prints one text for
another gateway. The page at `/` of a gateway shows them too.

- The hosts of upstream in the texts are examples.
- The texts name port {PROXY_PORT} of the gateway's own name as the proxy port.
- Operators configure the upstream of pip, uv, npm and cargo in `[mirror]`.
- The gateway fetches for `/mirror/<build system>/` what it knows: files of these names or digests
  that were requested or imported before. Build systems ask their next source for all others.
"
    );
    for group in ClientGroup::ALL {
        page.extend(["\n## ", group.heading(), "\n"]);
        for client in CLIENTS.iter().filter(|client| client.group == group) {
            let text = client.text(base);
            page.extend(["\n### ", client.name, "\n\n", client.title, ":\n\n"]);
            for line in text.lines() {
                page.push_str(if line.is_empty() { "" } else { "    " });
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_whole_and_sorted() {
        for client in all() {
            let text = client.text("http://sources.example.org");
            assert!(text.contains("sources.example.org"), "{}", client.name);
            for placeholder in ["{gateway}", "{host}", "{proxy"] {
                assert!(!text.contains(placeholder), "{}: {text}", client.name);
            }
            assert!(
                text.ends_with('\n') && !text.ends_with("\n\n"),
                "{}",
                client.name
            );
            assert!(
                text.lines().all(|line| line.len() <= 100),
                "{}",
                client.name
            );
        }
        for group in ClientGroup::ALL {
            let of_group = CLIENTS.iter().filter(|client| client.group == group);
            assert!(of_group.is_sorted_by_key(|client| client.name), "{group:?}");
        }
        assert!(CLIENTS.is_sorted_by_key(|client| client.group as u8));
    }
}
