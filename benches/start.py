#!/usr/bin/env python3
"""Measures the start of Millpond on a cache folder with many records, and prints a Markdown table.

    benches/start.py [RECORDS] [--binary FILE]

Creates a folder with RECORDS (a million) targets, each with its own record and small object, which
takes 12 KB per target in $TMPDIR. Then starts Millpond's release build on it without an index, with
the index, and after kill -9. The page cache is dropped before each start, if permitted. Hits are
requested while the index is built, and every response is compared with the expected bytes.
"""

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Number of targets that are requested while the index is built, and the timeout in seconds.
SAMPLE = 2000
PATIENCE = 3600


def uri(number):
    return f"https://example.org/pub/source-{number}.tar.gz"


def body(number):
    return b"\x1f\x8b\x08\x00" + b"source %d\n" % number * 16


def make(folder, first, last):
    """Creates the files that `folder` would contain after fetching targets `first` to `last`."""
    for number in range(first, last):
        name, key = hashlib.sha256(body(number)).hexdigest(), hashlib.sha256(uri(number).encode()).hexdigest()
        with open(f"{folder}/objects/{name[:2]}/{name}", "wb") as file:
            file.write(body(number))
        os.mkdir(f"{folder}/records/{key[:2]}/{key}")
        record = {"version": 1, "uri": uri(number), "sha256": name, "size_bytes": len(body(number)),
                  "first_seen": "2026-01-01T00:00:00.000Z", "source": "https://example.org",
                  "headers": {"last_modified": "Mon, 01 Jan 2024 00:00:00 GMT", "content_type": "application/gzip"}}
        with open(f"{folder}/records/{key[:2]}/{key}/{name}.json", "w") as file:
            json.dump(record, file)


class Millpond:
    """Millpond process that serves `folder`."""

    def __init__(self, binary, folder):
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = open(f"{folder}/../log", "wb")
        settings = [f"gateway.listen=127.0.0.1:{self.port}", "proxy.listen=", f"cache.dir={folder}",
                    f"gateway.state_dir={folder}/../state", "cache.min_free=1MiB", "cache.max_size=1TiB",
                    "limits.requests_per_second=1000000", "limits.burst=1000000"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        self.began = time.monotonic()
        self.process = subprocess.Popen([binary, "serve", *arguments], stderr=self.log)

    def ask(self, number):
        """Asserts a hit with the expected bytes. Returns its duration in seconds."""
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{uri(number)}", timeout=PATIENCE) as answer:
            got, cache = answer.read(), answer.headers["Cache-Status"]
        assert got == body(number) and "; hit" in cache, (number, cache)
        return time.monotonic() - began

    def first_hit(self, number):
        while True:
            try:
                self.ask(number)
                return time.monotonic() - self.began
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError:
                # The process is not listening yet.
                time.sleep(0.002)

    def await_index(self):
        """Waits until the index is reconciled with the disk. Returns the time since the start in seconds."""
        while time.monotonic() - self.began < PATIENCE:
            with open(self.log.name, "rb") as log:
                if b"reconciled index with disk" in log.read():
                    return time.monotonic() - self.began
            time.sleep(0.1)
        raise TimeoutError("the index was not built")

    def memory_mib(self, what):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(what + ":")) / 1024

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()


def forget_cached_files():
    with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def row(what, first_hit, extra):
    print(f"| {what} | {first_hit:.3f} | {extra} |", flush=True)


def measure(binary, folder, count):
    print("|  | first hit, s |  |\n| --- | ---: | --- |")
    forget_cached_files()
    gateway = Millpond(binary, folder)
    first = gateway.first_hit(count // 3)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        made = threads.submit(gateway.await_index)
        waits = [gateway.ask(number * 7919 % count) for number in range(SAMPLE)]
        took = made.result()
    waits.sort()
    row("no index", first, f"built in {took:.0f} s; {SAMPLE} hits meanwhile: median {statistics.median(waits) * 1000:.1f} ms, "
        f"p99 {waits[SAMPLE * 99 // 100] * 1000:.0f} ms, maximum {waits[-1] * 1000:.0f} ms; "
        f"peak memory {gateway.memory_mib('VmHWM'):.0f} MiB")
    gateway.end(signal.SIGTERM)
    size = sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder) if name.startswith("index.sqlite"))
    forget_cached_files()
    gateway = Millpond(binary, folder)
    first = gateway.first_hit(count // 5)
    row("with index", first, f"memory {gateway.memory_mib('VmRSS'):.0f} MiB; index size {size / (1 << 20):.0f} MiB")
    for number in range(0, count, max(1, count // 100_000)):
        gateway.ask(number)
    print(f"| {len(range(0, count, max(1, count // 100_000)))} targets requested |  | memory {gateway.memory_mib('VmRSS'):.0f} MiB |", flush=True)
    gateway.end(signal.SIGKILL)
    forget_cached_files()
    gateway = Millpond(binary, folder)
    first = gateway.first_hit(count // 7)
    row("after kill -9", first, f"reconciled in {gateway.await_index():.0f} s; peak memory {gateway.memory_mib('VmHWM'):.0f} MiB")
    gateway.end(signal.SIGTERM)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("records", nargs="?", type=int, default=1_000_000)
    options.add_argument("--binary", default=os.path.join(ROOT, "target/release/millpond"))
    options = options.parse_args()
    if not os.path.exists(options.binary):
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="millpond-start.") as scratch:
        folder = os.path.join(scratch, "cache")
        for kind in ("objects", "records"):
            for shard in range(256):
                os.makedirs(f"{folder}/{kind}/{shard:02x}")
        workers, step = os.cpu_count() or 1, 10_000
        began = time.monotonic()
        with concurrent.futures.ProcessPoolExecutor(workers) as pool:
            steps = range(0, options.records, step)
            parts = [pool.submit(make, folder, first, min(first + step, options.records)) for first in steps]
            for part in parts:
                part.result()
        os.sync()
        print(f"{options.records} records, created in {time.monotonic() - began:.0f} s\n", flush=True)
        measure(options.binary, folder, options.records)


if __name__ == "__main__":
    sys.exit(main())
