"""Hostile clients of benches/soak.py: what one client does to the hits and misses of the others.

Each kind runs in processes of its own, from one address, so that it delays the measurement only
through Millpond and the machine. Honest clients have other addresses and are not exempt.
"""

import collections
import contextlib
import itertools
import multiprocessing
import os
import random
import socket
import statistics
import threading
import time

KIB, MIB = 1 << 10, 1 << 20

# Address of all hostile clients, and network of the origins that help them. Each kind has an origin,
# so that the fetches that one kind has left do not slow down the next.
EVE, EVIL_NETWORK = "127.66.0.1", "127.66.1"
NICENESS = 10
# Threads of each kind, and their pause between two actions in seconds.
THREADS, PAUSE = 4, 0.02
# Connections that a kind holds open at the same time.
MAX_HELD = 400
PATIENCE = 30
# Part of a phase that is not measured: the attack has to take hold first.
WARM_UP = 0.2
# Fresh small files that an honest client fetches, and the time between two of them in seconds.
MISS_BYTES, MISS_PAUSE = 64 * KIB, 0.25
HONEST_CLIENTS, HONEST_PAUSE = 8, 0.04


class EvilOrigin:
    """Serves /KIND/...: bodies that never end, tiny chunks, redirects, claims."""

    def __init__(self, host, port):
        self.listener = socket.create_server((host, port), backlog=1024)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError, IndexError):
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(4096)
                if not received:
                    return
                head += received
            path = head.split(b" ")[1].decode("latin-1")
            getattr(self, path.split("/")[1], self.small)(connection, path)

    @staticmethod
    def small(connection, path):
        body = b"\x1f\x8b\x08\x00" + path.encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))

    @staticmethod
    def drip(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n\x1f\x8b\x08\x00")
        while True:
            time.sleep(1)
            connection.sendall(b"x")

    @staticmethod
    def silent(connection, _):
        connection.recv(1)

    @staticmethod
    def huge(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n\x1f\x8b\x08\x00" + bytes(100 * KIB))
        connection.recv(1)

    @staticmethod
    def chunks(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x1f\x8b\r\n")
        for _ in range(200):
            connection.sendall(b"1\r\nx\r\n" * 1000)

    @staticmethod
    def loop(connection, path):
        target = f"/loop/{random.random()}{path[-12:]}"
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())


class Attack:
    """One kind of hostile clients. Each method is one action of one thread."""

    def __init__(self, kind, ports, stored):
        self.authority, self.ports, self.stored = f"{evil_host(kind)}:{ports['evil']}", ports, stored
        self.held, self.lock, self.serial = [], threading.Lock(), itertools.count(random.randrange(10**9))

    def connect(self, port="gateway"):
        return socket.create_connection(("127.0.0.1", self.ports[port]), PATIENCE, source_address=(EVE, 0))

    def hold(self, connection):
        """Keeps a connection open. The oldest one is closed if there are too many."""
        with self.lock:
            self.held.append(connection)
            oldest = self.held.pop(0) if len(self.held) > MAX_HELD else None
        if oldest:
            oldest.close()

    def request(self, target, fields="", method="GET", port="gateway"):
        connection = self.connect(port)
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        return connection

    def evil(self, kind, suffix="tar.gz"):
        return f"/http://{self.authority}/{kind}/x-{next(self.serial)}.{suffix}"

    def finish(self, connection, most=MIB):
        with connection, contextlib.suppress(OSError):
            while most > 0 and (received := connection.recv(64 * KIB)):
                most -= len(received)

    def slow_origins(self):
        self.hold(self.request(self.evil(random.choice(["drip", "silent"]))))

    def slow_pages(self):
        self.hold(self.request(self.evil("silent", "html")))

    def unread_bodies(self):
        self.hold(self.request("/" + random.choice(self.stored)))

    def redirects(self):
        self.finish(self.request(self.evil("loop"), "Connection: close\r\n"))

    def tunnels(self):
        self.hold(self.request(self.authority, method="CONNECT", port="proxy"))

    def idle_connections(self):
        self.hold(self.connect(random.choice(["gateway", "proxy"])))

    def half_open_heads(self):
        connection = self.connect()
        connection.sendall(b"GET /http://x/ HTTP/1.1\r\nX: " + b"x" * random.randrange(16 * KIB))
        self.hold(connection)

    def half_closed(self):
        connection = self.request(self.evil("silent"))
        connection.shutdown(socket.SHUT_WR)
        self.hold(connection)

    def resets(self):
        connection = self.request("/" + random.choice(self.stored))
        connection.recv(1)
        connection.close()

    def bogus_digests(self):
        name, length = random.choice([("Md5", 32), ("Sha1", 40), ("Sha256", 64), ("Sha512", 128)])
        digest = os.urandom(length // 2).hex()
        self.finish(self.request("/" + random.choice(self.stored), f"X-Expected-{name}: {digest}\r\nConnection: close\r\n"))

    def huge_lengths(self):
        self.hold(self.request(self.evil("huge")))

    def new_targets(self):
        self.finish(self.request(self.evil("small"), "Connection: close\r\n"))

    def wrong_tokens(self):
        fields = f"Authorization: Bearer {os.urandom(16).hex()}\r\nConnection: close\r\n"
        self.finish(self.request("/api/v1/objects", fields))

    def tiny_chunks(self):
        self.finish(self.request(self.evil("chunks", random.choice(["tar.gz", "html"])), "Connection: close\r\n"))

    def slow_uploads(self):
        connection = self.request(self.evil("silent"), "Content-Length: 1000000\r\n", "POST")
        connection.sendall(b"x" * 1000)
        self.hold(connection)

    def failing_hosts(self):
        number = next(self.serial)
        host = f"127.67.{number // 250 % 250}.{1 + number % 250}"
        self.finish(self.request(f"/http://{host}:{self.ports['dead']}/x-{number}.tar.gz", "Connection: close\r\n"))

    def many_ranges(self):
        ranges = ",".join(f"{first}-{first + 1}" for first in range(0, 4000, 4))
        self.finish(self.request("/" + random.choice(self.stored), f"Range: bytes={ranges}\r\nConnection: close\r\n"))


KINDS = [name for name in vars(Attack) if name not in ("connect", "hold", "request", "evil", "finish") and not name.startswith("_")]


def evil_host(kind):
    return f"{EVIL_NETWORK}.{1 + KINDS.index(kind)}"


def attack(kind, ports, stored, counts):
    """Body of a hostile process. It leaves the processor to Millpond and to the honest clients."""
    os.nice(NICENESS)
    if kind == "origin":
        for other in KINDS:
            EvilOrigin(evil_host(other), ports["evil"])
        threading.Event().wait()
    attack = Attack(kind, ports, stored)

    def act():
        while True:
            with contextlib.suppress(OSError):
                getattr(attack, kind)()
                with counts.get_lock():
                    counts.value += 1
            time.sleep(PAUSE)

    for _ in range(THREADS):
        threading.Thread(target=act, daemon=True).start()
    threading.Event().wait()


class Phase:
    """Measurements beside some kinds of hostile clients."""

    def __init__(self, name):
        self.name, self.hits, self.misses, self.ends, self.refused = name, [], [], [], []
        self.is_measured = False

    def row(self, soak, actions):
        ms = lambda seconds: f"{seconds * 1000:.1f}"  # noqa: E731
        part = lambda values, rank: ms(sorted(values)[min(len(values) - 1, int(len(values) * rank))]) if values else "-"  # noqa: E731
        look = soak.look()
        return [
            self.name, actions, len(self.hits), part(self.hits, 0.5), part(self.hits, 0.99), len(self.misses),
            part(self.misses, 0.5), part(self.misses, 1), part(self.ends, 0.5), part(self.ends, 1), len(self.refused), len(soak.wrong), look["own MiB"], look["descriptors"],
        ]  # fmt: skip


HEADER = [
    "beside", "hostile actions", "hits", "hit p50 ms", "hit p99 ms", "misses", "miss begins p50 ms", "max ms", "ends p50 ms", "max ms",
    "refused", "wrong", "own MiB", "descriptors",
]  # fmt: skip


class HostileRun:
    """Runs honest clients alone, beside each kind, and beside all kinds."""

    def __init__(self, soak, kinds, hot):
        self.soak, self.kinds, self.hot = soak, kinds, hot
        self.phase, self.rows = Phase("alone"), []
        self.stored = [soak.url(f"/good/{size}/hot-{number}.tar.gz") for size, number in hot]
        self.context = multiprocessing.get_context("fork")

    def ask(self, number, path):
        """Requests a path, compares the body, and returns the seconds until its first byte."""
        begun = time.monotonic()
        connection, answer = self.soak.ask(self.soak.url(path), source=f"127.0.1.{number}")
        with contextlib.closing(connection):
            got = answer.read(1)
            first = time.monotonic() - begun
            got += answer.read()
        self.soak.done[path.split("/")[3].split("-")[0] if "hot" in path else "miss"] += 1
        if answer.status != 200:
            self.phase.refused.append(answer.status)
            return None
        self.soak.compare(path, got)
        return first

    def be_honest(self, number, pause, path, measured):
        while not self.soak.is_over.wait(random.expovariate(1 / pause)):
            phase = self.phase
            begun = time.monotonic()
            try:
                first = self.ask(number, path())
            except AssertionError as error:
                self.soak.wrong.append(f"{phase.name}: {error}")
                continue
            except Exception as error:  # noqa: BLE001
                phase.refused.append(f"{type(error).__name__}: {error}")
                continue
            if first is None or phase is not self.phase or not phase.is_measured:
                continue
            whole = time.monotonic() - begun
            if measured(phase) is phase.misses:
                phase.misses.append(first)
                phase.ends.append(whole)
            else:
                phase.hits.append(whole)

    def begin(self):
        for size, number in self.hot:
            self.soak.get(f"/good/{size}/hot-{number}.tar.gz")
        hot = lambda: "/good/{}/hot-{}.tar.gz".format(*random.choice(self.hot))  # noqa: E731
        fresh = lambda: self.soak.fresh("good", MISS_BYTES)  # noqa: E731
        threads = [(number, HONEST_PAUSE, hot, lambda phase: phase.hits) for number in range(1, 1 + HONEST_CLIENTS)]
        threads.append((100, MISS_PAUSE, fresh, lambda phase: phase.misses))
        for args in threads:
            threading.Thread(target=self.be_honest, args=args, daemon=True).start()

    def measure(self, name, kinds, seconds):
        counts = self.context.Value("q", 0)
        processes = [self.context.Process(target=attack, args=(kind, self.soak.ports, self.stored, counts), daemon=True) for kind in kinds]
        self.phase = Phase(name)
        for process in processes:
            process.start()
        time.sleep(seconds * WARM_UP)
        self.phase.is_measured = True
        time.sleep(seconds * (1 - WARM_UP))
        row = self.phase.row(self.soak, counts.value)
        for process in processes:
            process.terminate()
            process.join()
        self.rows.append((self.phase, row))
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
        for status, count in collections.Counter(self.phase.refused).most_common(3):
            print(f"  refused: {count} x {status}", flush=True)

    def run(self, seconds):
        origin = self.context.Process(target=attack, args=("origin", self.soak.ports, [], None), daemon=True)
        origin.start()
        self.begin()
        phases = [("nothing", [])] + [(kind, [kind]) for kind in self.kinds]
        if len(self.kinds) > 1:
            phases.append(("all", self.kinds))
        print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER), flush=True)
        for name, kinds in phases:
            if self.soak.process.poll() is not None:
                self.soak.wrong.append(f"the process exited with {self.soak.process.returncode}")
                break
            self.measure(name, kinds, seconds / len(phases))
        self.soak.is_over.set()
        origin.terminate()
        origin.join()
        for phase, _ in self.rows:
            if phase.refused:
                self.soak.wrong.append(f"{len(phase.refused)} honest requests were refused beside {phase.name}")
            if not phase.hits or not phase.misses:
                self.soak.wrong.append(f"nothing was measured beside {phase.name}")
        worst = max((statistics.median(phase.hits) for phase, _ in self.rows if phase.hits), default=0)
        print(f"largest median of honest hits: {worst * 1000:.1f} ms")
