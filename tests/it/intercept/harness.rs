//! A gateway that intercepts `localhost`, the https origin there, and a TLS client of its own. A
//! folder with a certificate authority and no gateway.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, GeneralSubtree, IsCa, KeyPair,
    NameConstraints,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Authority, Builder, Gateway, Origin, Run, Tool, Waiting, is_request_of, millpond,
};

/// Hosts of the certificate authority. The origin has the first one.
pub const HOSTS: &str = "[\"localhost\", \"other.example.org\"]";

/// Makes a certificate authority for the hosts, a TOML value, in a folder.
#[track_caller]
pub fn make_authority(folder: &Path, hosts: &str) -> PathBuf {
    let ca_dir = folder.join("intercept-ca");
    let setting = format!("intercept.ca_dir={}", ca_dir.display());
    let hosts = format!("intercept.hosts={hosts}");
    let arguments = ["ca", "init", "--set", &hosts, "--set", &setting];
    millpond(folder, &arguments).assert_success();
    ca_dir
}

/// A gateway that intercepts, and its origin.
pub struct Intercepting {
    pub origin: Origin,
    pub gateway: Gateway,
    pub folder: TempDir,
    /// Authority of the origin's own certificate.
    pub authority: Authority,
}

impl Intercepting {
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    #[track_caller]
    pub fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let authority = Authority::new();
        let origin = Origin::start_tls(&authority);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let ca_dir = make_authority(folder.path(), HOSTS);
        let builder = Gateway::builder()
            .origin(&origin)
            .relay()
            .one_attempt()
            .authority(&authority)
            .set("intercept.hosts", HOSTS)
            .text("intercept.ca_dir", ca_dir.to_str().expect("it is text"));
        Self {
            gateway: change(builder).start(),
            origin,
            folder,
            authority,
        }
    }

    /// Returns the file that clients trust.
    pub fn ca_file(&self) -> String {
        let file = self.folder.path().join("intercept-ca/ca.pem");
        file.to_str().expect("the path is text").to_owned()
    }

    pub fn url(&self, path: &str) -> String {
        self.origin.named_url(path)
    }

    pub fn proxy(&self) -> String {
        format!("http://{}", self.gateway.proxy_addr())
    }

    /// Returns curl with the proxy and the authority.
    pub fn curl(&self) -> Tool {
        let (proxy, ca) = (self.proxy(), self.ca_file());
        Tool::curl(self.folder.path()).args(&["--proxy", &proxy, "--cacert", &ca])
    }

    /// Returns the authority of the origin, as in a `CONNECT`.
    pub fn origin_authority(&self) -> String {
        format!("localhost:{}", self.origin.port())
    }

    /// Opens a `CONNECT` to the origin.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        self.connect_to(&self.origin_authority())
    }

    /// Opens a `CONNECT` to an authority.
    #[track_caller]
    pub fn connect_to(&self, authority: &str) -> TcpStream {
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let accepted = Waiting::send(self.gateway.proxy_addr(), head.as_bytes(), false).head();
        assert_eq!(accepted.head.status, 200, "{:?}", accepted.head);
        accepted.into_socket().0
    }

    /// Opens a `CONNECT` to the origin, and TLS inside with this server name.
    #[track_caller]
    pub fn secure(&self, server_name: &str) -> Secure {
        self.secure_on(self.connect(), server_name)
    }

    /// Begins TLS on a `CONNECT`, with this server name.
    #[track_caller]
    pub fn secure_on(&self, socket: TcpStream, server_name: &str) -> Secure {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.ca_file()).expect("it is PEM");
        roots.add(certificate).expect("it is an authority");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Secure::new(socket, config, server_name)
    }

    /// Waits for the log event of the `CONNECT` whose handshake failed.
    #[track_caller]
    pub fn failed_connect(&self) -> Value {
        self.gateway.log().wait_for("the failed CONNECT", |event| {
            event["endpoint"] == "tunnel" && event["error"].is_string()
        })
    }

    /// Waits for the log event of a request inside.
    #[track_caller]
    pub fn inner_request(&self, path: &str) -> Value {
        let log = self.gateway.log();
        log.wait_for("the request", |event| is_request_of(event, path))
    }
}

/// TLS connection inside a `CONNECT`.
pub struct Secure(pub StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    pub fn new(socket: TcpStream, config: ClientConfig, server_name: &str) -> Self {
        let name = ServerName::try_from(server_name.to_owned()).expect("a host name");
        let client = ClientConnection::new(Arc::new(config), name).expect("it is a client");
        Self(StreamOwned::new(client, socket))
    }

    /// Sends a request without a body and closes the half, and returns the whole response.
    #[track_caller]
    pub fn ask(mut self, head: &str) -> Vec<u8> {
        self.0.write_all(head.as_bytes()).expect("it is open");
        self.0.conn.send_close_notify();
        self.0.flush().expect("the connection is open");
        // The gateway may have closed the connection after its response.
        drop(self.0.sock.shutdown(Shutdown::Write));
        self.read_all().expect("the response ends cleanly")
    }

    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A folder with a configuration that lists intercepted hosts, and with their certificate
/// authority.
pub struct AuthorityFolder {
    folder: TempDir,
}

impl AuthorityFolder {
    /// Returns a folder without an authority.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self { folder }
    }

    #[track_caller]
    pub fn with_authority(hosts: &[&str]) -> Self {
        let own = Self::empty();
        own.run(hosts, &["ca", "init"]).assert_success();
        own
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of a file of the authority.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join("state/ca").join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("the file can be read")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(name), content).expect("the file can be written");
    }

    /// Returns the mode of a file of the authority.
    pub fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.file(name)).expect("the file exists");
        metadata.permissions().mode() & 0o777
    }

    /// Sets the mode of a file of the authority. An empty name means the folder.
    pub fn set_mode(&self, name: &str, mode: u32) {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.file(name), mode).expect("the mode can be set");
    }

    /// Writes a configuration with these hosts, and runs a command with it.
    #[track_caller]
    pub fn run(&self, hosts: &[&str], command: &[&str]) -> Run {
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\n[proxy]\nlisten = \"127.0.0.1:0\"\n\
             [intercept]\nhosts = {hosts:?}\n"
        );
        fs::write(self.path().join("a.toml"), text).expect("the folder is writable");
        millpond(self.path(), &[command, &["--config", "a.toml"]].concat())
    }

    /// Puts an authority for `example.org` and its subdomains there, with a change.
    pub fn put(&self, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::default();
        let name = "An authority of the company";
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let all = ["0.0.0.0", "::"].map(|address| {
            let address = address.parse().expect("an address");
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0))
        });
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
            excluded_subtrees: all.to_vec(),
        });
        change(&mut params);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("a key can sign");
        fs::create_dir_all(self.file("")).expect("a folder can be made");
        self.write("ca.pem", certificate.pem());
        self.write("ca.key", key.serialize_pem());
        self.set_mode("ca.key", 0o600);
    }
}
