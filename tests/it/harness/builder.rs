//! Builder for the configuration of a gateway.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Authority, Origin, Run, Tool};

pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_millpond");

/// Name of the gateway in `Via` and `Cache-Status`.
pub const NAME: &str = "mill-test";

/// Runs the binary with a command that ends by itself.
pub fn millpond(folder: &Path, args: &[&str]) -> Run {
    Tool::new(BINARY, "millpond", folder).args(args).run()
}

/// Returns whether [`Builder::system_files`] can be used, which needs the rights of root.
pub fn can_replace_system_files() -> bool {
    let made = Command::new("unshare").args(["--mount", "true"]).output();
    made.is_ok_and(|made| made.status.success())
}

/// The configuration of a gateway, and its folders.
#[derive(Clone)]
pub struct Builder {
    settings: BTreeMap<String, String>,
    rules: String,
    env: BTreeMap<String, String>,
    ports: Vec<u16>,
    folder: Arc<TempDir>,
    cache: PathBuf,
    has_file: bool,
    /// Option of the shell's `ulimit` for the open file limit, and the limit.
    descriptors: Option<(&'static str, u32)>,
    has_system_files: bool,
    umask: Option<&'static str>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder can be made"));
        let cache = folder.path().join("cache");
        let (settings, env) = (BTreeMap::new(), BTreeMap::new());
        Self {
            settings,
            rules: String::new(),
            env,
            ports: Vec::new(),
            folder,
            cache,
            has_file: true,
            descriptors: None,
            has_system_files: false,
            umask: None,
        }
        .text("gateway.listen", "127.0.0.1:0")
        .text("gateway.name", NAME)
        .text("gateway.shutdown_grace", "5s")
        .text("proxy.listen", "127.0.0.1:0")
        .text("cache.min_free", "1MiB")
        .text("cache.max_size", "1GiB")
        .text("fetch.backoff", "10ms")
        .set("policy.allow_networks", "[\"127.0.0.0/8\"]")
        .text("log.format", "json")
    }

    /// Sets a key to a TOML value.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets a key to a string.
    pub fn text(self, key: &str, value: &str) -> Self {
        self.set(key, &format!("\"{value}\""))
    }

    /// Relays every miss.
    pub fn relay(self) -> Self {
        self.text("gateway.miss", "relay")
    }

    /// Configures the gateway for use behind nginx, which sends stored files itself.
    pub fn behind_nginx(self) -> Self {
        self.set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
            .text("gateway.accel_redirect", "/_objects/")
            .set("proxy.proxy_protocol", "true")
    }

    /// Disables retries of a failed fetch.
    pub fn one_attempt(self) -> Self {
        self.set("fetch.attempts", "1")
    }

    /// Allows fetches from this origin and tunnels to it.
    pub fn origin(self, origin: &Origin) -> Self {
        self.port(origin.port())
    }

    /// Lets this port be fetched from by each scheme, and tunnelled to.
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// Adds a `[[rules]]` entry with this body.
    pub fn rule(mut self, body: &str) -> Self {
        write!(self.rules, "[[rules]]\n{body}\n").expect("a string can be written");
        self
    }

    /// Drops all `[[rules]]` and `[[parents]]`.
    pub fn without_rules(self) -> Self {
        Self {
            rules: String::new(),
            ..self
        }
    }

    /// Adds a `[[parents]]` entry with this body.
    pub fn parent(mut self, body: &str) -> Self {
        write!(self.rules, "[[parents]]\n{body}\n").expect("a string can be written");
        self
    }

    /// Adds a `[[hosts]]` entry.
    pub fn host(mut self, name: &str, upstream: &str) -> Self {
        let entry = format!("[[hosts]]\nname = \"{name}\"\nupstream = \"{upstream}\"\n");
        self.rules.push_str(&entry);
        self
    }

    /// Adds a `[registries]` table with further keys.
    pub fn registry(mut self, name: &str, endpoint: &str, keys: &str) -> Self {
        let table = format!("[registries.\"{name}\"]\nendpoint = \"{endpoint}\"\n{keys}\n");
        self.rules.push_str(&table);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Trusts this certificate authority only.
    pub fn authority(self, authority: &Authority) -> Self {
        self.env(
            "SSL_CERT_FILE",
            authority.file().to_str().expect("the path is text"),
        )
    }

    /// Sets the cache folder.
    pub fn cache_in(self, cache: PathBuf) -> Self {
        Self { cache, ..self }
    }

    /// Returns the folder of the configuration file and of the other folders.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs without a configuration file: string settings come from the environment, all
    /// others are the defaults.
    pub fn without_a_file(mut self) -> Self {
        self.has_file = false;
        for (key, value) in &self.settings {
            let Some(text) = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
            else {
                continue;
            };
            self.env.insert(
                format!("MILLPOND_{}", key.replace('.', "__").to_uppercase()),
                text.to_owned(),
            );
        }
        self
    }

    /// Starts the gateway with this soft limit of open files, as a login shell or a
    /// service manager does.
    pub fn descriptors(self, limit: u32) -> Self {
        Self {
            descriptors: Some(("-S", limit)),
            ..self
        }
    }

    /// Starts the gateway with a hard limit of open files, which it cannot raise.
    pub fn hard_descriptors(self, limit: u32) -> Self {
        Self {
            descriptors: Some(("", limit)),
            ..self
        }
    }

    /// Starts the gateway with this umask.
    pub fn umask(self, umask: &'static str) -> Self {
        Self {
            umask: Some(umask),
            ..self
        }
    }

    /// Starts the gateway with these `/etc/hosts` and `/etc/resolv.conf`.
    pub fn system_files(self, hosts: &str, resolv_conf: &str) -> Self {
        self.write_system_files(hosts, resolv_conf);
        Self {
            has_system_files: true,
            ..self
        }
    }

    /// Changes the files of [`Builder::system_files`].
    pub fn write_system_files(&self, hosts: &str, resolv_conf: &str) {
        for (name, text) in [("hosts", hosts), ("resolv.conf", resolv_conf)] {
            std::fs::write(self.folder().join(name), text).expect("the folder can be written");
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder().join("millpond.toml")
    }

    /// Returns the command that starts the gateway.
    pub(super) fn command(&self) -> Command {
        let mut command = match self.descriptors {
            None if self.has_system_files => {
                let mut unshare = Command::new("unshare");
                let folder = self.folder().display();
                let mounts = format!(
                    "mount --bind {folder}/hosts /etc/hosts \
                     && mount --bind {folder}/resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\""
                );
                unshare.args(["--mount", "sh", "-c", &mounts, BINARY]);
                unshare
            }
            None => match self.umask {
                Some(umask) => {
                    let mut shell = Command::new("sh");
                    let script = format!("umask {umask} && exec \"$0\" \"$@\"");
                    shell.args(["-c", &script, BINARY]);
                    shell
                }
                None => Command::new(BINARY),
            },
            Some((which, limit)) => {
                let mut shell = Command::new("sh");
                shell.args([
                    "-c",
                    &format!("ulimit {which} -n {limit} && exec \"$0\" \"$@\""),
                    BINARY,
                ]);
                shell
            }
        };
        command.args(self.arguments()).env_clear().envs(&self.env);
        command
    }

    /// Returns the arguments of the binary.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["serve".to_owned()];
        if self.has_file {
            arguments.push("--config".to_owned());
            arguments.push(self.file().to_string_lossy().into_owned());
        }
        arguments
    }

    pub(super) fn write(&self) {
        let mut toml = String::new();
        let mut settings = self.settings.clone();
        // A bare number means http and https, and a default port its own scheme.
        let schemes = |port: &u16| {
            if *port < 1024 {
                format!("{port}")
            } else {
                format!("{port}, \"ftp:{port}\"")
            }
        };
        let ports: Vec<_> = self.ports.iter().map(schemes).collect();
        settings
            .entry("policy.ports".to_owned())
            .or_insert_with(|| format!("[{}]", ports.join(", ")));
        settings
            .entry("policy.connect_ports".to_owned())
            .or_insert_with(|| format!("{:?}", self.ports));
        let quoted = |path: &Path| format!("{:?}", path.to_str().expect("the path is text"));
        settings
            .entry("cache.dir".to_owned())
            .or_insert_with(|| quoted(&self.cache));
        settings
            .entry("gateway.state_dir".to_owned())
            .or_insert_with(|| quoted(&self.folder().join("state")));
        for (key, value) in settings {
            writeln!(toml, "{key} = {value}").expect("a string can be written");
        }
        std::fs::write(self.file(), toml + &self.rules).expect("the folder can be written");
    }

    /// Writes the configuration and runs `millpond serve`, which must refuse it.
    #[track_caller]
    pub fn run_to_end(&self) -> Run {
        self.write();
        let mut tool = Tool::new(BINARY, "millpond", self.folder());
        for (name, value) in &self.env {
            tool = tool.env(name, value);
        }
        let arguments = self.arguments();
        tool.args(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
            .run()
    }

    /// Returns the same configuration and cache folder with other folders for everything else.
    pub(super) fn on_the_same_cache(&self) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder can be made"));
        Self {
            folder,
            ..self.clone()
        }
    }

    pub(super) fn setting(&self, key: &str) -> &str {
        self.settings
            .get(key)
            .map(String::as_str)
            .unwrap_or_default()
    }

    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }
}
