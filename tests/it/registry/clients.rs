//! Real clients, with the files and commands of their guides: each pulls an image twice, the second
//! time while the registry is stopped.

use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Gateway, Run, Tool, eventually, is_root};
use crate::registry::real_registry::{IMAGE, RealRegistry};
use crate::registry::stage::NAME;
use crate::specs::page::{blocks, read_page};

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

    /// Returns the blocks of a guide in one language, with the address of the gateway.
    fn guide(&self, page: &str, language: &str) -> Vec<String> {
        let page = read_page(&format!("docs/guides/images-{page}.md"));
        let blocks = blocks(&page, language).into_iter();
        blocks
            .map(|block| block.replace("gw:8080", &self.address()))
            .collect()
    }

    /// Allows images without a signature, as the files of Debian do.
    fn write_policy(&self) {
        let policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}";
        self.write(".config/containers/policy.json", policy);
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

/// Returns the arguments of a command of a guide, behind the program.
#[track_caller]
fn arguments_of<'a>(command: &'a str, program: &str) -> Vec<&'a str> {
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some(program), "{command}");
    words.collect()
}

#[test]
fn skopeo_pulls_image_without_registry() {
    pull_twice(|machine| {
        machine.write_policy();
        for command in machine.guide("skopeo", "sh") {
            let run = machine.tool("sh", "dash").args(&["-ec", &command]).run();
            run.assert_success();
            if command.starts_with("skopeo inspect") {
                assert_prints(&run, machine.digest);
            }
        }
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
        machine.write("registries.conf", &machine.guide("podman", "toml")[0]);
        machine.write_policy();
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
        let pull = &machine.guide("podman", "sh")[0];
        podman(&arguments_of(pull, "podman")).assert_success();
        let image = format!("{NAME}/{IMAGE}");
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
        let hosts = &machine.guide("containerd", "toml")[0];
        machine.write(&format!("hosts/{NAME}/hosts.toml"), hosts);
        let config = machine.path("config.toml");
        let _daemon = Daemon::start("containerd", "containerd", &["--config", &config]);
        let ctr = |args: &[&str]| {
            let run = machine.tool("ctr", "containerd").args(&["-a", &socket]);
            run.args(args).run()
        };
        eventually("containerd answers", || {
            (ctr(&["version"]).code == Some(0)).then_some(())
        });
        let pull = machine.guide("containerd", "sh")[0].replace(
            "--hosts-dir /etc/containerd/certs.d",
            &format!("--snapshotter native --hosts-dir {}", machine.path("hosts")),
        );
        ctr(&arguments_of(&pull, "ctr")).assert_success();
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
        machine.write("daemon.json", &machine.guide("docker", "json")[0]);
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
        let by_path = format!("{}/{NAME}/mill/app", machine.address());
        let pulls = machine.guide("docker", "sh");
        for (pull, name) in pulls.iter().zip(["mill/app", &by_path]) {
            docker(&arguments_of(pull, "docker")).assert_success();
            let images = docker(&["images", "--digests", name]);
            assert_prints(&images, machine.digest);
        }
    });
}
