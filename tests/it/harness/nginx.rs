//! The real nginx with the shipped files. Only addresses, paths and the user differ.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use super::gateway::{Gateway, signal};
use super::{Request, eventually, listen};

/// Variable that names another nginx binary, with the stream module built in.
const OTHER_NGINX: &str = "MILLPOND_TEST_NGINX";

/// Attempts to find free ports. Another process may take a port before nginx binds it.
const PORT_ATTEMPTS: usize = 5;

/// Names of the three instances in the shipped files.
const INSTANCES: [&str; 3] = ["millpond-1", "millpond-2", "millpond-3"];

/// The shipped files with the changes of a test.
#[derive(Clone)]
pub struct NginxBuilder {
    upstreams: &'static str,
    changes: Vec<Change>,
    user: &'static str,
}

/// A replacement of a text in a file.
#[derive(Clone)]
struct Change {
    file: &'static str,
    from: String,
    to: String,
}

impl NginxBuilder {
    /// Replaces a text, which must occur in the file.
    pub fn change(mut self, file: &'static str, from: &str, to: &str) -> Self {
        self.changes.push(Change {
            file,
            from: from.to_owned(),
            to: to.to_owned(),
        });
        self
    }

    /// Runs the workers without root's permission to read every file, in the group of the files.
    pub fn without_root(self) -> Self {
        Self {
            user: "www-data root",
            ..self
        }
    }

    /// Starts nginx and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Nginx {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for _ in 0..PORT_ATTEMPTS {
            let (http, proxy) = (free_port(), free_port());
            self.with_paths(folder.path(), http, proxy)
                .write(folder.path());
            let mut child = spawn(folder.path());
            let listens = eventually("nginx listens or ends", || {
                let has_ended = child.try_wait().expect("a child can be asked").is_some();
                let listens = [http, proxy]
                    .iter()
                    .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok());
                (has_ended || listens).then_some(!has_ended)
            });
            if listens {
                return Nginx {
                    child,
                    folder,
                    http,
                    proxy,
                };
            }
            let log = read(&folder.path().join("error.log"));
            assert!(
                log.contains("Address already in use"),
                "nginx does not start\n{log}"
            );
        }
        panic!("no ports are free for nginx");
    }

    /// Adds the changes that every test needs.
    fn with_paths(&self, folder: &Path, http: u16, proxy: u16) -> Self {
        let path = |name: &str| {
            folder
                .join(name)
                .to_str()
                .expect("the path is text")
                .to_owned()
        };
        let temporary: Vec<String> = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {};", path(name)))
            .collect();
        let modules = "include /etc/nginx/modules-enabled/*.conf;";
        let mut builder = Self {
            changes: Vec::new(),
            ..self.clone()
        }
        .change(
            "nginx.conf",
            modules,
            if std::env::var_os(OTHER_NGINX).is_some() {
                ""
            } else {
                modules
            },
        )
        .change(
            "nginx.conf",
            "user www-data;",
            &format!("user {};", self.user),
        )
        .change("nginx.conf", "/run/nginx.pid", &path("pid"))
        .change("nginx.conf", "/var/log/nginx/error.log", &path("error.log"))
        .change(
            "nginx.conf",
            "upstreams/one/",
            &format!("upstreams/{}/", self.upstreams),
        )
        .change(
            "nginx.conf",
            "include http.conf;",
            &format!("{} include http.conf;", temporary.concat()),
        )
        .change(
            "http.conf",
            "/var/log/nginx/access.log",
            &path("access.log"),
        )
        .change("http.conf", "flush=1s", "flush=10ms")
        .change(
            "http.conf",
            "listen 80 ",
            &format!("listen 127.0.0.1:{http} "),
        )
        .change(
            "http.conf",
            "listen [::]:80 ",
            &format!("listen [::1]:{http} "),
        )
        .change(
            "stream.conf",
            "listen 3128 ",
            &format!("listen 127.0.0.1:{proxy} "),
        )
        .change(
            "stream.conf",
            "listen [::]:3128 ",
            &format!("listen [::1]:{proxy} "),
        );
        builder.changes.extend_from_slice(&self.changes);
        builder
    }

    fn write(&self, folder: &Path) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx");
        for entry in super::files_under(&shipped) {
            let name = entry
                .strip_prefix(&shipped)
                .expect("the file is in the folder");
            let to = folder.join(name);
            fs::create_dir_all(to.parent().expect("a file is in a folder"))
                .expect("a folder can be made");
            fs::copy(&entry, to).expect("a file can be copied");
        }
        for Change { file, from, to } in &self.changes {
            let path = folder.join(file);
            let text = read(&path);
            assert!(text.contains(from), "{file} does not contain {from:?}");
            fs::write(&path, text.replace(from, to)).expect("the folder can be written");
        }
    }
}

fn spawn(folder: &Path) -> Child {
    let program = std::env::var_os(OTHER_NGINX).map_or_else(system_nginx, PathBuf::from);
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-e")
        .arg(folder.join("error.log"));
    command.args(["-g", "daemon off;"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
        .spawn()
        .expect("nginx can be started: install the Debian packages nginx and libnginx-mod-stream")
}

/// Returns the system's nginx. The `PATH` of an ordinary user often lacks `sbin`.
fn system_nginx() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join("nginx"))
        .find(|file| file.is_file())
        .unwrap_or_else(|| "nginx".into())
}

/// Returns a port that is free at this moment.
fn free_port() -> u16 {
    listen("127.0.0.1")
        .local_addr()
        .expect("a listener has an address")
        .port()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A running nginx. Dropping it stops nginx.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    http: u16,
    proxy: u16,
}

impl Nginx {
    /// Configures nginx in front of one gateway, or of three on one cache folder.
    #[track_caller]
    pub fn builder(gateways: &[&Gateway]) -> NginxBuilder {
        let upstreams = if gateways.len() == 1 { "one" } else { "three" };
        let names: &[&str] = if gateways.len() == 1 {
            &["millpond"]
        } else {
            &INSTANCES
        };
        assert_eq!(names.len(), gateways.len(), "one gateway or three");
        let [http, stream] = match upstreams {
            "one" => ["upstreams/one/http.conf", "upstreams/one/stream.conf"],
            _ => ["upstreams/three/http.conf", "upstreams/three/stream.conf"],
        };
        let objects = gateways[0].cache().join("objects/");
        let objects = objects.to_str().expect("the path is text");
        let builder = NginxBuilder {
            upstreams,
            changes: Vec::new(),
            user: "root",
        };
        let builder = builder.change("http.conf", "/var/lib/millpond/cache/objects/", objects);
        gateways
            .iter()
            .zip(names)
            .fold(builder, |builder, (gateway, name)| {
                builder
                    .change(
                        http,
                        &format!("server {name}:8080"),
                        &format!("server {}", gateway.addr()),
                    )
                    .change(
                        stream,
                        &format!("server {name}:3128"),
                        &format!("server {}", gateway.proxy_addr()),
                    )
            })
    }

    /// Starts nginx as shipped, in front of one gateway.
    #[track_caller]
    pub fn before(gateway: &Gateway) -> Self {
        Self::builder(&[gateway]).start()
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.http))
    }

    /// Returns the gateway port at the IPv6 loopback address.
    pub fn addr_v6(&self) -> SocketAddr {
        SocketAddr::new("::1".parse().expect("the address is valid"), self.http)
    }

    pub fn proxy_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.proxy))
    }

    /// Returns the URL of a target behind nginx's URL.
    pub fn rewritten(&self, target: &str) -> String {
        format!("http://{}/{target}", self.addr())
    }

    /// Returns a GET request for a target at the gateway port.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", &format!("/{target}"))
    }

    /// Returns a request at the gateway port, by its request target.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.addr(), method, target)
    }

    /// Returns a request at the proxy port.
    pub fn proxied(&self, method: &str, target: &str) -> Request {
        Request::new(self.proxy_addr(), method, target)
    }

    /// Returns the access log, line by line. The last requests may be missing for some time.
    pub fn accesses(&self) -> Vec<String> {
        read(&self.folder.path().join("access.log"))
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Returns the file that nginx was started with.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("nginx.conf")
    }

    pub fn errors(&self) -> String {
        read(&self.folder.path().join("error.log"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        self.child.wait().expect("a child can be waited for");
        if thread::panicking() {
            eprintln!("--- nginx's log\n{}\n---", self.errors());
        }
    }
}
