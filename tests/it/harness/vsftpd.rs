//! The real vsftpd as an unprivileged process, with a folder for anonymous users.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wire::listen;
use super::{Authority, eventually};

pub struct Vsftpd {
    child: Child,
    folder: TempDir,
    ip: &'static str,
    port: u16,
}

impl Vsftpd {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1", "")
    }

    /// Starts a server that offers TLS with a certificate of this authority.
    pub fn start_tls(authority: &Authority, more: &str) -> Self {
        let leaf = authority.leaf_file();
        let leaf = leaf.display();
        let tls = format!(
            "ssl_enable=YES\nrsa_cert_file={leaf}\nrsa_private_key_file={leaf}\n\
             ssl_ciphers=HIGH\n{more}"
        );
        Self::start_at("127.0.0.1", &tls)
    }

    /// Starts a server at an IPv4 or IPv6 loopback address, with more lines of configuration.
    pub fn start_at(ip: &'static str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for name in ["files", "empty"] {
            std::fs::create_dir(folder.path().join(name)).expect("the folder can be written");
        }
        // Another process may take the port before vsftpd does: the wait below then fails.
        let port = listen(ip)
            .local_addr()
            .expect("a listener has an address")
            .port();
        let own = folder.path().display();
        let (listen, address) = if ip.contains(':') {
            ("listen_ipv6", "listen_address6")
        } else {
            ("listen", "listen_address")
        };
        let mut text = format!("{listen}=YES\n{address}={ip}\nlisten_port={port}\nbackground=NO\n");
        if listen == "listen_ipv6" {
            text.push_str("listen=NO\n");
        }
        write!(
            text,
            "run_as_launching_user=YES\nseccomp_sandbox=NO\n\
             anonymous_enable=YES\nlocal_enable=NO\nanon_root={own}/files\n\
             secure_chroot_dir={own}/empty\nvsftpd_log_file={own}/log\n\
             xferlog_enable=YES\nlog_ftp_protocol=YES\n\
             setproctitle_enable=NO\nconnect_from_port_20=NO\n{more}\n"
        )
        .expect("a string can be written");
        let file = folder.path().join("vsftpd.conf");
        std::fs::write(&file, text).expect("the folder can be written");
        let child = start(&file);
        let server = Self {
            child,
            folder,
            ip,
            port,
        };
        let address = if ip.contains(':') {
            format!("[{ip}]:{port}")
        } else {
            format!("{ip}:{port}")
        };
        eventually("vsftpd listens", || TcpStream::connect(&address).ok());
        server
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("the file is in a folder"))
            .expect("a folder can be made");
        std::fs::write(path, bytes).expect("a file can be written");
    }

    /// Returns the path of a public file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        let host = if self.ip.contains(':') {
            format!("[{}]", self.ip)
        } else {
            self.ip.to_owned()
        };
        format!("ftp://{host}:{}{path}", self.port)
    }

    /// Returns how often a text occurs in the log of commands and replies.
    pub fn count(&self, part: &str) -> usize {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(part).count()
    }
}

fn start(file: &Path) -> Child {
    let mut command = Command::new("/usr/sbin/vsftpd");
    command
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("vsftpd is missing: install the Debian package vsftpd")
        }
        Err(error) => panic!("vsftpd cannot be started: {error}"),
    }
}

impl Drop for Vsftpd {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
