#!/usr/bin/env python3
"""Compares pulls of a container image through Millpond with docker-registry's own pull-through
proxy, client by client, and prints Markdown tables.

    benches/images.py [--clients skopeo,podman,containerd,docker] [--runs 5] [--mib 64]
    benches/images.py --cut 2048

Needs root, skopeo, and the Debian packages docker-registry, podman, containerd and docker.io. All
servers run on free loopback ports with a temporary folder (in $TMPDIR). A cold pull begins with an
empty server, and a hot one follows it. The client is empty each time. Pulls from the servers are
interleaved, and medians are printed. Requests are those in the log of the upstream registry.

With `--cut`, the upstream registry has one layer of so many MiB, and cuts it in the middle.
MILLPOND names the binary, otherwise target/release/millpond.
"""

import argparse
import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
MILLPOND = os.environ.get("MILLPOND", os.path.join(TARGET, "release/millpond"))
NAME, IMAGE = "registry.example.org", "mill/app:1.0"
LAYERS = 4
MIB = 1 << 20
REQUEST = re.compile(r'"(GET|HEAD) (/v2/[^ "]*)')
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_port(port):
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


class Server:
    """A process on a port, until it is stopped."""

    def __init__(self, port, command, log):
        self.port, self.log = port, log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        await_port(port)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def start_registry(folder, upstream=None):
    """Starts docker-registry, as a proxy of another one if there is an upstream port."""
    port = free_port()
    proxy = f"proxy: {{remoteurl: 'http://127.0.0.1:{upstream}'}}\n" if upstream else ""
    text = (
        "version: 0.1\nlog: {level: error, accesslog: {disabled: false}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/store}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{proxy}"
    )
    file = write(f"{folder}/registry.yml", text)
    return Server(port, ["docker-registry", "serve", file], f"{folder}/log")


def start_millpond(folder, upstream):
    port, proxy = free_port(), free_port()
    for name in ("cache", "state"):
        os.makedirs(f"{folder}/{name}")
    text = f"""
[gateway]
listen = "127.0.0.1:{port}"
state_dir = "{folder}/state"
[proxy]
listen = "127.0.0.1:{proxy}"
[cache]
dir = "{folder}/cache"
[policy]
allow_networks = ["127.0.0.0/8"]
ports = [{upstream}]
[registries."{NAME}"]
endpoint = "http://127.0.0.1:{upstream}"
default = true
"""
    file = write(f"{folder}/millpond.toml", text)
    return Server(port, [MILLPOND, "--config", file], f"{folder}/log")


def push_image(folder, port, mib):
    """Pushes an image whose layers do not compress."""
    blobs = f"{folder}/layout/blobs/sha256"
    os.makedirs(blobs)

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{blobs}/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers, ids = [], []
    for number in range(LAYERS):
        content, archive = random.Random(number).randbytes(mib * MIB // LAYERS), io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(f"file-{number}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        ids.append(f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}")
        packed = gzip.compress(archive.getvalue(), 1, mtime=0)
        layers.append(blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = {"architecture": arch, "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ids}}
    config = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    entry = blob(json.dumps(manifest).encode(), MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1.0"}
    write(f"{folder}/layout/oci-layout", '{"imageLayoutVersion": "1.0.0"}')
    write(f"{folder}/layout/index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    run(["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false",
         f"oci:{folder}/layout:1.0", f"docker://127.0.0.1:{port}/{IMAGE}"])


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")


@contextlib.contextmanager
def daemon(command, ready):
    """Runs a daemon until the end of the block."""
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, **quiet)
    try:
        for _ in range(600):
            if subprocess.run(ready, **quiet).returncode == 0:
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def skopeo(folder, port):
    image = f"docker://127.0.0.1:{port}/{IMAGE}"
    return timed(["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", image,
                  f"dir:{folder}/image"])


def podman(folder, port):
    conf = write(f"{folder}/registries.conf", f'[[registry]]\nlocation = "{NAME}"\n'
                 f'[[registry.mirror]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n')
    policy = write(f"{folder}/.config/containers/policy.json",
                   '{"default": [{"type": "insecureAcceptAnything"}]}')
    environment = {**os.environ, "HOME": folder, "CONTAINERS_REGISTRIES_CONF": conf}
    assert os.path.exists(policy)
    return timed(["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
                  "--storage-driver", "vfs", "--events-backend", "none", "pull",
                  f"{NAME}/{IMAGE}"], env=environment)


def containerd(folder, port):
    socket_file = f"{folder}/s"
    config = write(f"{folder}/config.toml", f'version = 2\nroot = "{folder}/root"\n'
                   f'state = "{folder}/state"\n'
                   'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                   f'[grpc]\naddress = "{socket_file}"\n')
    write(f"{folder}/hosts/{NAME}/hosts.toml", f'server = "https://{NAME}"\n\n'
          f'[host."http://127.0.0.1:{port}"]\n  capabilities = ["pull", "resolve"]\n')
    ctr = ["ctr", "-a", socket_file]
    with daemon(["containerd", "--config", config], [*ctr, "version"]):
        return timed([*ctr, "images", "pull", "--snapshotter", "native", "--hosts-dir",
                      f"{folder}/hosts", f"{NAME}/{IMAGE}"])


def docker(folder, port):
    config = write(f"{folder}/daemon.json",
                   json.dumps({"registry-mirrors": [f"http://127.0.0.1:{port}"]}))
    listen = f"unix://{folder}/s"
    command = ["dockerd", "--config-file", config, "--data-root", f"{folder}/root",
               "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--host", listen,
               "--storage-driver", "vfs", "--bridge=none", "--iptables=false",
               "--ip6tables=false", "--ip-forward=false"]
    client = ["docker", "--host", listen]
    with daemon(command, [*client, "version"]):
        return timed([*client, "pull", IMAGE])


CLIENTS = {"skopeo": skopeo, "podman": podman, "containerd": containerd, "docker": docker}


def timed(command, **options):
    started = time.monotonic()
    run(command, **options)
    return time.monotonic() - started


def requests_in(log):
    with open(log, errors="replace") as file:
        return [(method, path.split("?")[0]) for method, path in REQUEST.findall(file.read())]


def pull_twice(client, start, upstream, folder):
    """Returns times and upstream requests of a cold and a hot pull."""
    os.makedirs(f"{folder}/server")
    server, results = start(f"{folder}/server", upstream.port), []
    try:
        for number in range(2):
            before = len(requests_in(upstream.log))
            home = f"{folder}/client-{number}"
            os.makedirs(home)
            seconds = CLIENTS[client](home, server.port)
            time.sleep(0.3)
            results.append((seconds, requests_in(upstream.log)[before:]))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return results


def compare(arguments, folder):
    os.makedirs(f"{folder}/upstream")
    upstream = start_registry(f"{folder}/upstream")
    push_image(folder, upstream.port, arguments.mib)
    servers = {"Millpond": start_millpond, "docker-registry proxy": start_registry}
    print(f"An image of {arguments.mib} MiB in {LAYERS} layers, medians of {arguments.runs}.\n")
    print("| client | server | cold, s | hot, s | requests cold | requests hot |")
    print("|---|---|---|---|---|---|")
    details = []
    for client in arguments.clients.split(","):
        found = {name: [] for name in servers}
        for number in range(arguments.runs):
            for name, start in servers.items():
                work = f"{folder}/{client}-{number}"
                found[name].append(pull_twice(client, start, upstream, work))
        for name, runs in found.items():
            cold, hot = (statistics.median(run[at][0] for run in runs) for at in (0, 1))
            counts = ["/".join(sorted({str(len(run[at][1])) for run in runs})) for at in (0, 1)]
            print(f"| {client} | {name} | {cold:.2f} | {hot:.2f} | {' | '.join(counts)} |",
                  flush=True)
            kinds = [kind_of(*request) for request in runs[-1][0][1]]
            counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
            details.append(f"{client}, {name}, cold: {counted}")
    print("\n" + "\n".join(details))
    upstream.stop()


def kind_of(method, path):
    for word in ("blobs", "manifests"):
        if f"/{word}/" in path:
            by = "" if "sha256:" in path else " by tag"
            return f"{method} {word}{by}"
    return f"{method} {path}"


class CutRegistry(http.server.BaseHTTPRequestHandler):
    """A registry with one blob of zeros, whose first response ends in the middle."""

    protocol_version = "HTTP/1.1"
    size, digest, ranges = 0, "", []

    def do_GET(self):
        if not self.path.endswith(self.digest):
            body = b"{}"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        first = int(asked.split("=")[1].split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", '"layer"')
        self.send_header("Content-Length", str(self.size - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{self.size - 1}/{self.size}")
        self.end_headers()
        end = self.size if asked else self.size // 2
        piece = bytes(MIB)
        while first < end:
            self.wfile.write(piece[: min(MIB, end - first)])
            first += MIB
        if not asked:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, *_):
        pass


def cut(mib, folder):
    hasher = hashlib.sha256()
    for _ in range(mib):
        hasher.update(bytes(MIB))
    CutRegistry.size, CutRegistry.digest = mib * MIB, f"sha256:{hasher.hexdigest()}"
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), CutRegistry)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    server = start_millpond(folder, upstream.server_port)
    try:
        for name in ("cold", "hot"):
            hasher, started = hashlib.sha256(), time.monotonic()
            url = f"http://127.0.0.1:{server.port}/v2/mill/app/blobs/{CutRegistry.digest}"
            with urllib.request.urlopen(url) as response:
                while piece := response.read(MIB):
                    hasher.update(piece)
            seconds = time.monotonic() - started
            assert f"sha256:{hasher.hexdigest()}" == CutRegistry.digest
            print(f"{name}: {mib} MiB in {seconds:.1f} s, ranges asked {CutRegistry.ranges}")
    finally:
        server.stop()
        upstream.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--cut", type=int, metavar="MIB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mp-") as folder:
        if arguments.cut:
            cut(arguments.cut, folder)
        else:
            compare(arguments, folder)


if __name__ == "__main__":
    main()
