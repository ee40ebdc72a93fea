//! Real clients, with the settings of the guide: each pulls an image twice, the second time while
//! the registry is stopped.

use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Gateway, Run, Tool, eventually, is_root};
use crate::registry::real_registry::{IMAGE, RealRegistry};
use crate::registry::stage::NAME;

/// A machine with a client, and the gateway that it knows.
struct Machine<'a> {
    folder: TempDir,
    gateway: &'a Gateway,
    digest: &'a str,
}

impl Machine<'_> {
    fn tool(&self, program: &str, package: &'static str) -> Tool {
        Tool::new(program, package, self.folder.path())
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        let folder = path.parent().expect("a file has a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(path, text).expect("the folder can be written");
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    fn address(&self) -> String {
        self.gateway.addr().to_string()
    }
}

/// Pulls on two machines without any state, the second time while the registry is stopped.
fn pull_twice(pull: impl Fn(&Machine<'_>)) {
    let mut registry = RealRegistry::start();
    let gateway = Gateway::builder()
        .port(registry.port())
        .one_attempt()
        .registry(NAME, &registry.url(""), "tag_ttl = \"0s\"\ndefault = true")
        .start();
    let digest = registry.digest();
    for is_away in [false, true] {
        if is_away {
            for target in registry.targets() {
                gateway.await_stored(&target);
            }
            registry.stop();
        }
        pull(&Machine {
            folder: tempfile::tempdir().expect("a folder can be made"),
            gateway: &gateway,
            digest: &digest,
        });
    }
    let events = gateway.log().events();
    let served = events
        .iter()
        .filter(|event| event["endpoint"] == "registry" && event["status"] == 200);
    assert!(served.count() >= 6, "each part is served twice");
}

fn assert_prints(run: &Run, wanted: &str) {
    run.assert_success();
    assert!(run.stdout.contains(wanted), "{}", run.stdout);
}

#[test]
fn skopeo_pulls_image_without_registry() {
    pull_twice(|machine| {
        let from = format!("docker://{}/{NAME}/{IMAGE}", machine.address());
        let copy = machine.tool("skopeo", "skopeo").args(&[
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            &from,
            "oci:app:1.0",
        ]);
        copy.run().assert_success();
        let index = fs::read_to_string(machine.path("app/index.json"));
        let index = index.expect("skopeo wrote the image");
        assert!(index.contains(machine.digest), "{index}");
    });
}

#[test]
fn podman_pulls_image_without_registry() {
    if !is_root() {
        eprintln!("skipped: podman needs the rights of root here");
        return;
    }
    pull_twice(|machine| {
        let mirror = format!(
            "[[registry]]\nlocation = \"{NAME}\"\n\n[[registry.mirror]]\n\
             location = \"{}/{NAME}\"\ninsecure = true\n",
            machine.address()
        );
        machine.write("registries.conf", &mirror);
        machine.write(
            ".config/containers/policy.json",
            "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}",
        );
        let podman = |args: &[&str]| {
            let run = machine
                .tool("podman", "podman")
                .env(
                    "CONTAINERS_REGISTRIES_CONF",
                    &machine.path("registries.conf"),
                )
                .args(&["--root", &machine.path("root")])
                .args(&["--runroot", &machine.path("run")])
                .args(&["--storage-driver", "vfs", "--events-backend", "none"])
                .args(args);
            run.run()
        };
        let image = format!("{NAME}/{IMAGE}");
        podman(&["pull", &image]).assert_success();
        let inspect = podman(&["image", "inspect", "--format", "{{.Digest}}", &image]);
        assert_prints(&inspect, machine.digest);
    });
}

/// A daemon of a client, until it is dropped.
struct Daemon(Child);

impl Daemon {
    /// Starts a program of a Debian package.
    fn start(program: &str, package: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments)
            // No daemon asks the registry of its images in place of the gateway.
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => Self(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{program} is missing: install the Debian package {package}")
            }
            Err(error) => panic!("{program} cannot be started: {error}"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // dockerd ends its own containerd if it is asked to.
        let pid = self.0.id().to_string();
        drop(Command::new("kill").arg(&pid).status());
        drop(self.0.wait());
    }
}

#[test]
fn containerd_pulls_image_without_registry() {
    if !is_root() {
        eprintln!("skipped: containerd needs the rights of root");
        return;
    }
    pull_twice(|machine| {
        let (root, state, socket) = (
            machine.path("root"),
            machine.path("state"),
            machine.path("s"),
        );
        let config = format!(
            "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{socket}\"\n"
        );
        machine.write("config.toml", &config);
        let hosts = format!(
            "server = \"https://{NAME}\"\n\n[host.\"http://{}\"]\n  \
             capabilities = [\"pull\", \"resolve\"]\n",
            machine.address()
        );
        machine.write(&format!("hosts/{NAME}/hosts.toml"), &hosts);
        let config = machine.path("config.toml");
        let _daemon = Daemon::start("containerd", "containerd", &["--config", &config]);
        let ctr = |args: &[&str]| {
            let run = machine.tool("ctr", "containerd").args(&["-a", &socket]);
            run.args(args).run()
        };
        eventually("containerd answers", || {
            (ctr(&["version"]).code == Some(0)).then_some(())
        });
        let image = format!("{NAME}/{IMAGE}");
        let hosts = machine.path("hosts");
        let options = ["--snapshotter", "native", "--hosts-dir", &hosts];
        let pull = [&["images", "pull"], &options[..], &[&image]].concat();
        ctr(&pull).assert_success();
        assert_prints(&ctr(&["images", "list"]), machine.digest);
    });
}

#[test]
fn docker_pulls_image_without_registry() {
    if !is_root() {
        eprintln!("skipped: dockerd needs the rights of root");
        return;
    }
    pull_twice(|machine| {
        let mirrors = format!(
            "{{\"registry-mirrors\": [\"http://{}\"]}}",
            machine.address()
        );
        machine.write("daemon.json", &mirrors);
        let socket = format!("unix://{}", machine.path("s"));
        let (config, root, exec, pid) = (
            machine.path("daemon.json"),
            machine.path("root"),
            machine.path("exec"),
            machine.path("pid"),
        );
        let files = [
            "--config-file",
            &config,
            "--data-root",
            &root,
            "--exec-root",
            &exec,
        ];
        let listen = [
            "--pidfile",
            &pid,
            "--host",
            &socket,
            "--storage-driver",
            "vfs",
        ];
        // The network of the machine stays as it is.
        let network = ["--bridge=none", "--iptables=false", "--ip6tables=false"];
        let arguments = [&files[..], &listen, &network, &["--ip-forward=false"]].concat();
        let _daemon = Daemon::start("dockerd", "docker.io", &arguments);
        let docker = |args: &[&str]| {
            let run = machine.tool("docker", "docker.io");
            run.args(&["--host", &socket]).args(args).run()
        };
        eventually("dockerd answers", || {
            (docker(&["version"]).code == Some(0)).then_some(())
        });
        docker(&["pull", IMAGE]).assert_success();
        assert_prints(&docker(&["images", "--digests"]), machine.digest);
    });
}
