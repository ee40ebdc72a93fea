//! Debian's docker-registry with one small image.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::freshness::package_clients::archives::{tar, tar_gz};
use crate::harness::{Body, Tool, eventually, sha256};

/// Repository and tag of the image.
pub const IMAGE: &str = "mill/app:1.0";

/// Login of a registry with a password.
pub const USER: &str = "mill";
pub const PASSWORD: &str = "s3cret-word";

/// Its line in a file of logins. The registry reads bcrypt only.
const HTPASSWD: &str = "mill:$2b$04$vfxIv2mLYqcKPEyWf4UZhOsV7gpZCqUHDxwGtZbXfOijHKzkmybmK\n";

/// A registry on loopback, until it is dropped.
pub struct RealRegistry {
    child: Child,
    port: u16,
    folder: TempDir,
    /// Manifest, configuration and layer.
    parts: [Body; 3],
}

impl RealRegistry {
    /// Starts a registry, and pushes an image.
    pub fn start() -> Self {
        Self::start_with("", &[])
    }

    /// Starts a registry that everyone needs [`USER`] and [`PASSWORD`] for, and pushes an image.
    pub fn start_with_password() -> Self {
        let login = format!("{USER}:{PASSWORD}");
        Self::start_with(HTPASSWD, &["--dest-creds", &login])
    }

    fn start_with(logins: &str, push_options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        // Another process may take the port before the registry does: the wait below then fails.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = free.local_addr().expect("a listener has an address");
        drop(free);
        let port = address.port();
        let auth = if logins.is_empty() {
            String::new()
        } else {
            let file = folder.path().join("htpasswd");
            fs::write(&file, logins).expect("the folder can be written");
            let file = file.display();
            format!("auth: {{htpasswd: {{realm: registry, path: {file}}}}}\n")
        };
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\n{auth}\
             storage: {{filesystem: {{rootdirectory: {}/store}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n",
            folder.path().display()
        );
        let file = folder.path().join("registry.yml");
        fs::write(&file, text).expect("the folder can be written");
        let child = start(&file);
        let parts = write_layout(folder.path());
        let registry = Self {
            child,
            port,
            folder,
            parts,
        };
        eventually("the registry listens", || TcpStream::connect(address).ok());
        let to = format!("docker://127.0.0.1:{port}/{IMAGE}");
        let push = Tool::new("skopeo", "skopeo", registry.folder.path())
            .args(&["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(push_options)
            .args(&["oci:layout:1.0", &to]);
        push.run().assert_success();
        registry
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the targets of manifest, configuration and layer.
    pub fn targets(&self) -> [String; 3] {
        let [manifest, config, layer] = self.parts.each_ref().map(|part| sha256(part));
        [
            self.url(&format!("/v2/mill/app/manifests/sha256:{manifest}")),
            self.url(&format!("/v2/mill/app/blobs/sha256:{config}")),
            self.url(&format!("/v2/mill/app/blobs/sha256:{layer}")),
        ]
    }

    /// Returns the digest of the manifest.
    pub fn digest(&self) -> String {
        format!("sha256:{}", sha256(&self.parts[0]))
    }

    /// Ends the process.
    pub fn stop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(file: &Path) -> Child {
    let mut command = Command::new("docker-registry");
    command
        .arg("serve")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("docker-registry is missing: install the Debian package docker-registry")
        }
        Err(error) => panic!("docker-registry cannot be started: {error}"),
    }
}

/// Writes the image as a layout of OCI, and returns its parts.
fn write_layout(folder: &Path) -> [Body; 3] {
    let layer = tar_gz(&[("hello.txt", b"hello\n")]);
    let plain = tar(&[("hello.txt", b"hello\n")]);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = document(
        &json!({"architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&plain))]}}),
    );
    let part = |media_type: &str, part: &Body| {
        json!({"mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": format!("sha256:{}", sha256(part)), "size": part.len()})
    };
    let manifest = document(&json!({"schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part("config.v1+json", &config),
        "layers": [part("layer.v1.tar+gzip", &layer)]}));
    let mut entry = part("manifest.v1+json", &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "1.0"});
    let layout = folder.join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder can be made");
    let write = |file: &str, bytes: &[u8]| {
        fs::write(layout.join(file), bytes).expect("the folder can be written");
    };
    write("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#);
    write(
        "index.json",
        &document(&json!({"schemaVersion": 2, "manifests": [entry]})),
    );
    let parts = [manifest, config, layer];
    for part in &parts {
        write(&format!("blobs/sha256/{}", sha256(part)), part);
    }
    parts
}

fn document(value: &Value) -> Body {
    value.to_string().into_bytes().into()
}
