#!/usr/bin/env python3
"""Soak test: runs Millpond's release build under a mixed load, and checks for wrong bytes and leaks.

    benches/soak.py [--minutes 30] [--clients 16] [--pause 0.05] [--binary target/release/millpond]
    benches/soak.py --hostile all|KIND,KIND [--minutes 5]

The load has hits of all sizes, misses, collapsed requests, ranges, tunnels, bad requests, clients
that disconnect or read slowly, and origins that truncate, stall, send slowly or fail. The cache is
always too small, and the configuration is reloaded periodically. All runs on loopback with a
temporary folder (about 500 MB, in $TMPDIR). Every byte of every complete response is compared.
Prints a Markdown table of the process's resources over time. Fails if a byte or a status is wrong,
or if memory or descriptors grow.

With --hostile, it measures honest clients alone, beside each kind of hostile clients, and beside
all of them: the latencies of hits, and the time until a miss at a healthy host begins. It fails if
a byte is wrong or an honest request is refused. --help lists the kinds.
"""

import argparse
import collections
import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True
from soak_hostile import KINDS, HostileRun
from soak_origin import BODIES, Origin, OriginServer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KIB, MIB = 1 << 10, 1 << 20
ROWS = 20
RELOAD_SECONDS = 45
MAX_HELD_MIB = 192
# Allowed growth from the middle to the last third of the run, as a factor and in MiB: allocator
# noise.
MAX_GROWTH, MAX_GROWTH_MIB = 1.10, 8
# Timeout of a response, in seconds. Longer than every timeout of the gateway in this test.
PATIENCE = 60
HOT = [(KIB, n) for n in range(40)] + [(100 * KIB, n) for n in range(20)] + [(MIB, n) for n in range(12)]
LARGE = [(24 * MIB, n) for n in range(3)]

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
max_size = "{held}MiB"
min_free = "1GiB"
maintenance_interval = "10s"
positive_ttl = "30s"
negative_ttl = "5s"

[fetch]
idle_timeout = "5s"
backoff = "50ms"
per_host = 32
breaker_failures = 0

[policy]
allow_networks = ["127.0.0.0/8"]
ports = [{origin}, {dead}, {evil}]
connect_ports = [{origin}, {evil}]
deny_hosts = [".denied.example.org"]

[limits]
exempt_clients = [{exempt}]

[log]
level = "error"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Soak:
    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        self.done, self.wrong = collections.Counter(), []
        self.is_over = threading.Event()
        self.serial = iter(range(10**12))
        self.origin = OriginServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=self.origin.serve_forever, daemon=True).start()
        self.ports = {"gateway": free_port(), "proxy": free_port(), "origin": self.origin.server_address[1], "dead": free_port(), "evil": free_port()}
        config = os.path.join(folder, "millpond.toml")
        with open(config, "w") as file:
            exempt = "" if options.hostile else '"127.0.0.0/8"'
            file.write(CONFIG.format(dir=folder, held=MAX_HELD_MIB, exempt=exempt, **self.ports))
        self.log = open(os.path.join(folder, "log"), "w")
        command = [os.path.abspath(options.binary), "serve", "--config", config]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=folder)
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.ports["gateway"]), 1).close()
                return
            time.sleep(0.1)
        sys.exit("Millpond does not start")

    def url(self, path):
        return f"http://127.0.0.1:{self.ports['origin']}{path}"

    def fresh(self, kind, size):
        return f"/{kind}/{size}/{next(self.serial)}.tar.gz"

    def ask(self, target, port="gateway", headers=(), source="127.0.0.1"):
        """Sends a request from an address. Returns the connection and the open response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=PATIENCE, source_address=(source, 0))
        connection.putrequest("GET", target if port == "proxy" else f"/{target}", skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        return connection, connection.getresponse()

    def get(self, path, port="gateway", status=200, span=None):
        """Requests a path of the origin and compares the whole body."""
        headers = [("Range", f"bytes={span[0]}-{span[1]}")] if span else []
        connection, answer = self.ask(self.url(path), port, headers)
        with contextlib.closing(connection):
            got = answer.read()
        if answer.status != status:
            raise AssertionError(f"{path}: {answer.status} instead of {status}: {got[:100]!r}")
        if status in (200, 206):
            self.compare(path, got, span)

    @staticmethod
    def compare(path, got, span=None):
        whole = BODIES.get(path)
        wanted = whole[span[0] : span[1] + 1] if span else whole
        if got != wanted:
            raise AssertionError(f"{path}: wrong bytes, got {len(got)} of {len(wanted)}")

    def hot(self):
        size, number = random.choice(HOT)
        return f"/good/{size}/hot-{number}.tar.gz"

    def large(self):
        size, number = random.choice(LARGE)
        return f"/good/{size}/large-{number}.tar.gz"

    # Client actions.

    def hit(self):
        self.get(self.hot(), random.choice(["gateway", "proxy"]))

    def large_hit(self):
        self.get(self.large())

    def miss(self):
        self.get(self.fresh("good", random.choice([KIB, 64 * KIB, MIB, 3 * MIB])), random.choice(["gateway", "proxy"]))

    def part(self):
        first = random.randrange(KIB)
        self.get(self.large() if random.random() < 0.1 else self.hot(), status=206, span=(first, first + random.randrange(KIB - first)))

    def faulty(self):
        """Millpond resumes or restarts the fetch; the client must not notice."""
        self.get(self.fresh(random.choice(["cut", "cut", "drip", "stall"]), random.choice([64 * KIB, MIB])))

    def herd(self):
        path, failures = self.fresh("drip", 2 * MIB), []

        def one():
            try:
                self.get(path)
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        herd = [threading.Thread(target=one) for _ in range(20)]
        for client in herd:
            client.start()
        for client in herd:
            client.join()
        if failures:
            raise failures[0]
        if Origin.asked[path] != 1:
            raise AssertionError(f"{path}: {Origin.asked[path]} origin requests instead of one")

    def leave(self):
        connection, answer = self.ask(self.url(random.choice([self.large(), self.fresh("drip", MIB)])))
        answer.read(random.choice([1, 10 * KIB, 300 * KIB]))
        connection.close()

    def read_slowly(self):
        connection, answer = self.ask(self.url(self.large()))
        with contextlib.closing(connection):
            for _ in range(random.randrange(1, 40)):
                answer.read(32 * KIB)
                if self.is_over.wait(0.25):
                    break

    def bad(self):
        number = next(self.serial)
        target, status = random.choice([
            (f"http://127.0.0.1:{self.ports['origin']}/../{number}.tar.gz", 404),
            (f"https://h{number}.denied.example.org/x.tar.gz", 403),
            (self.url(self.fresh("absent", KIB)), 404),
            (self.url(self.fresh("fails", KIB)), 502),
            (f"http://127.0.0.1:{self.ports['dead']}/{number}.tar.gz", 504),
        ])
        connection, answer = self.ask(target)
        with contextlib.closing(connection):
            answer.read()
        if answer.status != status:
            raise AssertionError(f"{target}: {answer.status} instead of {status}")

    def passed(self):
        """A target without a file suffix is passed through and not stored."""
        path = f"/good/{random.choice([KIB, MIB])}/{next(self.serial)}"
        self.get(path, random.choice(["gateway", "proxy"]))

    def tunnel(self):
        path = self.hot()
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["proxy"], timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.set_tunnel("127.0.0.1", self.ports["origin"])
            connection.request("GET", path)
            if connection.getresponse().read() != BODIES.get(path):
                raise AssertionError(f"{path}: wrong bytes through a tunnel")

    def nonsense(self):
        with socket.create_connection(("127.0.0.1", self.ports[random.choice(["gateway", "proxy"])]), PATIENCE) as client:
            client.sendall(random.choice([b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /x", b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]))
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while client.recv(4096):
                    pass

    WEIGHTS = {"hit": 40, "large_hit": 2, "miss": 12, "part": 10, "faulty": 6, "herd": 1, "leave": 5, "read_slowly": 3, "bad": 15, "passed": 5, "tunnel": 3, "nonsense": 3}

    def be_a_client(self):
        names, weights = list(self.WEIGHTS), list(self.WEIGHTS.values())
        while not self.is_over.wait(random.expovariate(1 / self.options.pause)):
            name = random.choices(names, weights)[0]
            try:
                getattr(self, name)()
                self.done[name] += 1
            except Exception as error:  # noqa: BLE001
                if not self.is_over.is_set():
                    self.wrong.append(f"{time.strftime('%T')} {name}: {type(error).__name__}: {error}")

    # Resources of the process.

    def look(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            status = file.read()
        number = lambda name: int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1])  # noqa: E731
        cache = os.path.join(self.folder, "cache")
        held = 0
        for folder, _, files in os.walk(os.path.join(cache, "objects")):
            for name in files:
                with contextlib.suppress(OSError):
                    held += os.stat(os.path.join(folder, name)).st_size
        staged = sum(len([name for name in files if name[0] != "."]) for _, _, files in os.walk(os.path.join(cache, "staging")))
        claims = len(os.listdir(os.path.join(cache, "leases")))
        descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return {
            "RSS MiB": round(number("VmRSS") / 1024, 1),
            "own MiB": round(number("RssAnon") / 1024, 1),
            "peak MiB": round(number("VmHWM") / 1024, 1),
            "descriptors": descriptors,
            "threads": number("Threads"),
            "claims": claims,
            "staged": staged,
            "held MiB": round(held / MIB),
            "requests": sum(self.done.values()),
            "wrong": len(self.wrong),
        }

    def run(self):
        seconds = self.options.minutes * 60
        clients = [threading.Thread(target=self.be_a_client, daemon=True) for _ in range(self.options.clients)]
        for client in clients:
            client.start()
        began, rows, reloads, samples = time.monotonic(), 0, 0, []
        while (elapsed := time.monotonic() - began) < seconds and self.process.poll() is None:
            time.sleep(1)
            samples.append((elapsed, self.look()))
            if elapsed >= reloads * RELOAD_SECONDS:
                self.process.send_signal(signal.SIGHUP)
                reloads += 1
            if elapsed >= rows * seconds / ROWS:
                self.print_row(elapsed, samples[-1][1], rows == 0)
                rows += 1
        if self.process.poll() is not None:
            self.wrong.append(f"the process exited with {self.process.returncode}")
            return samples
        self.is_over.set()
        for client in clients:
            client.join(PATIENCE)
        time.sleep(3)
        samples.append((elapsed, self.look()))
        self.print_row(elapsed, samples[-1][1], False)
        return samples

    @staticmethod
    def print_row(elapsed, row, is_first):
        if is_first:
            print("| minute | " + " | ".join(row) + " |\n|" + " ---: |" * (len(row) + 1))
        print(f"| {elapsed / 60:.1f} | " + " | ".join(map(str, row.values())) + " |", flush=True)

    def stop(self):
        self.process.terminate()
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code != 0:
            self.wrong.append(f"the process exited with {code}")
        self.origin.shutdown()


def judge(soak, samples):
    """Checks for growth from the middle third of the run to the last third."""
    third = samples[-1][0] / 3
    for name, slack in [("own MiB", MAX_GROWTH_MIB), ("descriptors", 32), ("threads", 16), ("staged", 32), ("claims", 32)]:
        middle, last = (
            statistics.median(row[name] for at, row in samples if third * part <= at < third * (part + 1)) for part in (1, 2)
        )
        print(f"{name}: {middle} in the middle third, {last} in the last third")
        if last > middle * MAX_GROWTH + slack:
            soak.wrong.append(f"{name} grew from {middle} to {last}")
    rest = samples[-1][1]
    if rest["claims"] or rest["staged"]:
        soak.wrong.append(f"leases or staged files were left over: {rest}")


def hostile_kinds(text):
    kinds = KINDS if text == "all" else text.split(",")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown kinds: {', '.join(unknown)}")
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two requests of a client, on average")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--binary", default=os.path.join(target, "release", "millpond"))
    parser.add_argument("--hostile", type=hostile_kinds, metavar="KINDS", help=f"all, or some of: {', '.join(KINDS)}")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="millpond-soak-")
    soak = Soak(folder, options)
    try:
        if options.hostile:
            HostileRun(soak, options.hostile, HOT).run(options.minutes * 60)
            samples = []
        else:
            samples = soak.run()
    finally:
        soak.stop()
    if len(samples) > 1:
        judge(soak, samples)
    print(dict(soak.done))
    with open(os.path.join(folder, "log")) as log:
        lines = [line for line in log if "level=ERROR" in line]
    print(f"{len(lines)} errors in the log", *lines[:5], sep="\n")
    shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(soak.wrong[:20]) or "no errors")
    sys.exit(bool(soak.wrong))


if __name__ == "__main__":
    main()
