//! The setup of one client.
//!
//! The main type is [`ClientSetup`].

/// Port of the proxy in the texts. It is that of the example configuration.
pub const PROXY_PORT: u16 = 3128;

/// Setup of one client.
#[derive(Debug)]
pub struct ClientSetup {
    /// Name of the client as an argument of the command.
    pub name: &'static str,
    /// The client's own name.
    pub title: &'static str,
    pub group: ClientGroup,
    /// Text with the placeholders `{gateway}`, `{host}`, `{proxy}` and `{proxy_host}`.
    pub(super) template: &'static str,
}

/// Group of clients in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientGroup {
    Downloads,
    BuildSystems,
    PackageManagers,
}

impl ClientGroup {
    pub const ALL: [Self; 3] = [Self::Downloads, Self::BuildSystems, Self::PackageManagers];

    /// Returns the heading of the group.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Downloads => "Downloads",
            Self::BuildSystems => "Build systems",
            Self::PackageManagers => "Package managers",
        }
    }
}

impl ClientSetup {
    /// Returns the text for the gateway at `base`, a URL without a trailing slash. It is a file or
    /// a command in the client's own form, with a newline at its end.
    #[must_use]
    pub fn text(&self, base: &str) -> String {
        let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let proxy = format!("http://{host}:{PROXY_PORT}");
        self.template
            .replace("{gateway}", base)
            .replace("{host}", authority)
            .replace("{proxy}", &proxy)
            .replace("{proxy_host}", host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_parts_of_base_url() {
        let client = ClientSetup {
            name: "x",
            title: "X",
            group: ClientGroup::Downloads,
            template: "{gateway} {host} {proxy} {proxy_host} ${DIST} {",
        };
        assert_eq!(
            client.text("https://user:pw@mill.example.org:8080/a"),
            "https://user:pw@mill.example.org:8080/a mill.example.org:8080 \
             http://mill.example.org:3128 mill.example.org ${DIST} {"
        );
        assert!(
            client
                .text("http://[2001:db8::1]")
                .contains(" http://[2001:db8::1]:3128 ")
        );
    }
}
