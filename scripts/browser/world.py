"""A gateway with many objects and an origin, both on loopback, for the test of the page."""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.parse
import urllib.request

from devtools import DEADLINE, Failure, wait_until

READER = "a-token-of-a-reader"


def archive(seed, size=3000):
    """Returns bytes that begin like gzip, the same for each seed."""
    mark = b"\x1f\x8b\x08"
    return mark + hashlib.shake_256(str(seed).encode()).digest(size - len(mark))


class Origin:
    """An origin whose bodies the test sets."""

    def __init__(self):
        self.bodies = {}
        # A held body stops in its middle until the event is set.
        self.held = {}
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = origin.bodies.get(self.path)
                status = 200 if body is not None else 404
                body = body if body is not None else b"not here"
                self.send_response(status)
                kind = "text/html" if body.startswith(b"<") else "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                half = len(body) // 2
                self.wfile.write(body[:half])
                if self.path in origin.held:
                    self.wfile.flush()
                    origin.held[self.path].wait(DEADLINE * 4)
                # The gateway may have ended the fetch meanwhile.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body[half:])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


class Gateway:
    """The real binary on a folder of its own."""

    def __init__(self, binary, origin):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millpond-ui-"))
        self.binary, self.origin = binary, origin
        self.process = None
        # Nothing listens there: the socket is closed at once.
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.closed_port = unused.getsockname()[1]
        config = f"""
gateway.listen = "127.0.0.1:0"
gateway.name = "mill.test"
gateway.state_dir = "{self.folder}/state"
gateway.shutdown_grace = "1s"
gateway.miss = "relay"
gateway.reader_tokens = ["{READER}"]
proxy.listen = ""
cache.dir = "{self.folder}/cache"
cache.min_free = "1MiB"
cache.max_size = "256MiB"
fetch.attempts = 1
fetch.backoff = "10ms"
policy.allow_networks = ["127.0.0.0/8"]
policy.ports = [{origin.port}, {self.closed_port}]
log.format = "json"
"""
        (self.folder / "millpond.toml").write_text(config)

    def start(self):
        log = self.folder / "log"
        arguments = [self.binary, "serve", "--config", self.folder / "millpond.toml"]
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(arguments, stderr=errors, stdin=subprocess.DEVNULL)

        def port():
            if self.process.poll() is not None:
                raise Failure(f"the gateway has ended: {log.read_text()}")
            found = re.search(r'"address":"127\.0\.0\.1:(\d+)"', log.read_text())
            return found and int(found[1])

        self.base = f"http://127.0.0.1:{wait_until('the gateway listens', port)}"
        self.token = (self.folder / "state/admin_token").read_text().strip()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=DEADLINE)
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def seed(self, count):
        """Writes records and objects while the gateway is stopped."""
        cache = self.folder / "cache"
        for index in cache.glob("index.sqlite*"):
            index.unlink()
        for number in range(count):
            url = self.origin.url(f"/seed/group-{number % 40}/package-{number}.0.tar.gz")
            body = archive(number, 200)
            digest = hashlib.sha256(body).hexdigest()
            key = hashlib.sha256(url.encode()).hexdigest()
            record = {
                "version": 1, "uri": url, "sha256": digest, "size_bytes": len(body),
                "generation": 1, "first_seen": "2030-01-02T03:04:05Z",
                "source": self.origin.url(""), "headers": {},
            }
            folder = cache / "records" / key[:2] / key
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{digest}.json").write_text(json.dumps(record))
            objects = cache / "objects" / digest[:2]
            objects.mkdir(parents=True, exist_ok=True)
            (objects / digest).write_bytes(body)
            os.chmod(objects / digest, 0o444)

    def follow(self):
        return Events(self)

    def get(self, path):
        """Returns status and body of a request to the gateway."""
        request = urllib.request.Request(self.base + path)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE * 4) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def fetch(self, url):
        return self.get(f"/{url}")

    def operate(self, method, path, document=None):
        """Sends a request with the operator token, and returns its JSON."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.base + path, data=body, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read())


class Events:
    """Counts the events of a gateway from now on, until the end of the block."""

    def __init__(self, gateway):
        request = urllib.request.Request(f"{gateway.base}/api/v1/events?follow=true")
        request.add_header("Authorization", f"Bearer {gateway.token}")
        request.add_header("Accept", "application/x-ndjson")
        self.stream = urllib.request.urlopen(request, timeout=DEADLINE * 4)
        self.count = 0

    def __enter__(self):
        threading.Thread(target=self.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        # The thread ends with the gateway.
        pass

    def read(self):
        for line in self.stream:
            if line.strip() and json.loads(line).get("type") == "fetch_failed":
                self.count += 1


def quoted(url):
    return urllib.parse.quote(url, safe="")
