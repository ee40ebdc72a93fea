"""Runs Millpond for a study: configuration, start, client requests, memory and files of the cache."""

import contextlib
import http.client
import http.server
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIB = 1 << 20
# Timeout of a response, in seconds.
PATIENCE = 60

CONFIG = """
[gateway]
listen = "127.0.0.1:{gateway}"
state_dir = "{dir}/state"
miss = "relay"
shutdown_grace = "5s"

[proxy]
listen = "127.0.0.1:{proxy}"

[cache]
dir = "{dir}/cache"
max_size = "{max_size}"
min_free = "1GiB"
maintenance_interval = "10s"

[policy]
allow_networks = ["127.0.0.0/8"]
ports = [{origin}]

[limits]
exempt_clients = ["127.0.0.0/8"]

[log]
level = "error"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class OriginServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Origin on loopback."""

    daemon_threads = True
    request_queue_size = 256

    @classmethod
    def start(cls, handler):
        server = cls(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def handle_error(self, *_):
        pass


class Millpond:
    """A running Millpond with a cache of its own in `folder`."""

    def __init__(self, binary, folder, origin_port, max_size):
        self.folder = folder
        self.ports = {"gateway": free_port(), "proxy": free_port(), "origin": origin_port}
        config = os.path.join(folder, "millpond.toml")
        with open(config, "w") as file:
            file.write(CONFIG.format(dir=folder, max_size=max_size, **self.ports))
        self.log = open(os.path.join(folder, "log"), "w")
        command = [os.path.abspath(binary), "serve", "--config", config]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=folder)
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.ports["proxy"]), 1).close()
                return
            time.sleep(0.1)
        sys.exit("Millpond does not start")

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmRSS"].split()[0]) / 1024

    def peak_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmHWM"].split()[0]) / 1024

    def disk_use(self):
        """Returns the MiB on the disk and the inodes of each file and folder of the cache."""
        found = {}
        cache = os.path.join(self.folder, "cache")
        for name in sorted(os.listdir(cache)):
            top = os.path.join(cache, name)
            blocks, inodes = 0, 0
            below = (
                os.path.join(folder, entry)
                for folder, folders, files in os.walk(top)
                for entry in [*folders, *files]
            )
            for path in [top, *below]:
                with contextlib.suppress(OSError):
                    blocks += os.lstat(path).st_blocks
                    inodes += 1
            found[name] = (blocks * 512 / MIB, inodes)
        return found

    def stop(self):
        self.process.terminate()
        code = self.process.wait(30)
        self.log.close()
        if code != 0:
            sys.exit(f"Millpond ended with {code}")


class Client:
    """A client with one kept connection, to a port of Millpond or to the origin itself."""

    def __init__(self, port, is_proxy):
        self.port, self.is_proxy = port, is_proxy
        self.connection = None
        self.received_bytes = 0

    def get(self, origin_port, path, headers=()):
        """Returns the status, the header fields and the body."""
        url = f"http://127.0.0.1:{origin_port}{path}" if self.is_proxy else path
        for attempt in range(2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                self.connection.putrequest("GET", url, skip_accept_encoding=True)
                for name, value in headers:
                    self.connection.putheader(name, value)
                self.connection.endheaders()
                answer = self.connection.getresponse()
                body = answer.read()
                self.received_bytes += len(body)
                return answer.status, answer.headers, body
            except (OSError, http.client.HTTPException):
                # A kept connection may have been closed meanwhile.
                self.connection.close()
                self.connection = None
                if attempt:
                    raise
        return None
