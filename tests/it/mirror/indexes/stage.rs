//! A gateway whose registries are folders of one local origin, and machines with clients.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{Answer, Builder, Gateway, Origin, Reply, Tool, eventually, millpond, sha256};

/// An origin with registries at `/simple`, `/npm` and `/index`, and a gateway.
pub struct IndexStage {
    pub origin: Origin,
    pub gateway: Gateway,
}

impl IndexStage {
    pub fn new() -> Self {
        let origin = Origin::start();
        let builder = Gateway::builder().origin(&origin).one_attempt();
        let gateway = gateway_of(builder, &origin).start();
        Self { origin, gateway }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.gateway.request("GET", path).send()
    }

    /// Returns a machine without any state of earlier downloads.
    pub fn machine(&self) -> ClientMachine {
        ClientMachine {
            folder: tempfile::tempdir().expect("a folder can be made"),
            gateway: self.gateway.url(""),
        }
    }

    /// Waits until all files that were fetched are stored.
    pub fn await_stored(&self) {
        for path in self.origin.asked() {
            eventually(&format!("{path} is stored"), || {
                let answer = self.gateway.get(&self.origin.url(&path)).send();
                let status = answer.wants("cache-status");
                let is_stored = status.contains("hit") || status.contains("fwd-status=304");
                is_stored.then_some(())
            });
        }
    }
}

/// A machine with a client.
pub struct ClientMachine {
    folder: TempDir,
    gateway: String,
}

impl ClientMachine {
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder().join(name);
        path.to_str().expect("the path is text").to_owned()
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        let file = self.folder().join(name);
        let folder = file.parent().expect("a file has a folder");
        std::fs::create_dir_all(folder).expect("the folder can be made");
        std::fs::write(file, content).expect("the folder can be written");
    }

    /// Writes the text of `render-config` for a client to a file, as printed.
    pub fn write_setup(&self, client: &str, name: &str) {
        let args = ["render-config", client, "--gateway", &self.gateway];
        let run = millpond(self.folder(), &args);
        run.assert_success();
        self.write(name, run.stdout.as_bytes());
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let file = self.folder().join(name);
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    pub fn tool(&self, program: &str, package: &'static str) -> Tool {
        Tool::new(program, package, self.folder())
    }
}

/// Names the registries of the origin.
pub fn gateway_of(builder: Builder, origin: &Origin) -> Builder {
    builder
        .text("mirror.pypi_upstream", &origin.url("/simple/"))
        .text("mirror.npm_upstream", &origin.url("/npm"))
        .text(
            "mirror.cargo_upstream",
            &format!("sparse+{}", origin.url("/index/")),
        )
}

/// Returns a document of an index, with a validator.
pub fn document(media_type: &str, content: &[u8]) -> Reply {
    Reply::ok(&content.into())
        .header("Content-Type", media_type)
        .header("ETag", &format!("\"{}\"", &sha256(content)[..16]))
        .conditional()
}

/// Returns the validator of a document.
pub fn etag_of_upstream(origin: &Origin, path: &str) -> String {
    let request = crate::harness::Request::new(origin.address(), "GET", path);
    request.send().wants("etag").to_owned()
}
