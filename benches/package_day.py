#!/usr/bin/env python3
"""Study: a day of apt and pip clients at an origin whose indexes change every hour.

    benches/package_day.py [--hours 24] [--hosts 20] [--hour-seconds 2] [--max-size 256MiB]
                        [--minutes 5] [--binary target/release/millpond]

Each host updates once an hour. An apt host asks for InRelease and, if that has changed, for
Packages, then for two packages. A pip host asks for the simple index of five projects and for one
file of each. The origin is a script on loopback. Its indexes change every hour, and an hour takes
`--hour-seconds`. Indexes of apt have validators only, those of pip are fresh for a tenth of an
hour. The same day runs once directly at the origin and once through Millpond. Prints a Markdown
table with requests and bytes upstream, disk and memory. Fails if a client gets an index of an
earlier hour after it was due, or wrong bytes.
"""

import argparse
import collections
import hashlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True
import http.server

from study_server import MIB, ROOT, Client, Millpond, OriginServer

PACKAGES, PROJECTS = 400, 40
PACKAGES_PER_HOUR, PROJECTS_PER_HOUR = 2, 5
INDEX_BYTES, FILE_BYTES = 400_000, 200_000


class Clock:
    """Hours of the day, which a script advances."""

    def __init__(self, hour_seconds):
        self.hour, self.hour_seconds = 0, hour_seconds


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    clock = None
    requests, body_bytes = collections.Counter(), collections.Counter()
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_GET(self):
        hour = Origin.clock.hour
        body = body_of(self.path, hour)
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        is_current = tag in self.headers.get("If-None-Match", "")
        with Origin.lock:
            kind = self.path.split("/")[1]
            Origin.requests[kind, 304 if is_current else 200] += 1
            Origin.body_bytes[kind] += 0 if is_current else len(body)
        self.send_response(304 if is_current else 200)
        self.send_header("ETag", tag)
        if self.path.startswith("/simple/"):
            self.send_header("Cache-Control", f"max-age={max(1, int(Origin.clock.hour_seconds / 10))}")
        if not is_current:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not is_current:
            self.wfile.write(body)


def body_of(path, hour):
    """Returns the body of a path. An index depends on the hour."""
    if path.startswith("/debian/dists/"):
        size = 2000 if path.endswith("Release") else INDEX_BYTES
        return f"hour: {hour}\n".encode() + random.Random(f"{path}{hour}").randbytes(size).hex().encode()[:size]
    if path.startswith("/simple/"):
        return f"<!DOCTYPE html><!-- hour: {hour} -->".encode() + b"<a href='x'>x</a>\n" * 200
    magic = b"!<arch>\ndebian-binary   " if path.endswith(".deb") else b"PK\x03\x04"
    return magic + random.Random(path).randbytes(FILE_BYTES)


class Host:
    """A build host, with what it has seen."""

    def __init__(self, number, client, origin_port):
        self.number, self.client, self.port = number, client, origin_port
        self.tags, self.wrong, self.asked = {}, [], 0

    def get(self, path, hour, is_index):
        headers = [("If-None-Match", self.tags[path])] if is_index and path in self.tags else []
        headers.append(("User-Agent", "Debian APT-HTTP/1.3" if "debian" in path else "pip/24.0"))
        status, fields, body = self.client.get(self.port, path, headers)
        self.asked += 1
        if status == 304:
            body = body_of(path, hour)
            if self.tags[path] != f'"{hashlib.sha256(body).hexdigest()[:16]}"':
                self.wrong.append(f"{path}: an earlier hour was confirmed in hour {hour}")
            return False
        if status != 200 or body != body_of(path, hour):
            self.wrong.append(f"{path}: {status}, {len(body)} bytes in hour {hour}: {body[:20]!r}")
        self.tags[path] = fields.get("ETag", "")
        return True

    def update(self, hour):
        chooser = random.Random(f"{self.number}/{hour}")
        if self.number % 2:
            if self.get("/debian/dists/stable/InRelease", hour, True):
                self.get("/debian/dists/stable/main/binary-amd64/Packages", hour, True)
            for _ in range(PACKAGES_PER_HOUR):
                name = chooser.randrange(PACKAGES)
                self.get(f"/debian/pool/main/p/p{name}_1.{name}-1_amd64.deb", hour, False)
            return
        for _ in range(PROJECTS_PER_HOUR):
            name = chooser.randrange(PROJECTS)
            self.get(f"/simple/project{name}/", hour, True)
            self.get(f"/packages/project{name}-1.{name}-py3-none-any.whl", hour, False)


def run_day(options, clock, make_client, deadline):
    """Runs one day. Returns the requests of all hosts, and what was wrong."""
    hosts = [Host(number, make_client(), options.port) for number in range(options.hosts)]
    for hour in range(options.hours):
        clock.hour = hour
        started = time.monotonic()
        threads = [threading.Thread(target=host.update, args=(hour,)) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if time.monotonic() > deadline:
            sys.exit("the day takes longer than --minutes")
        # All lifetimes of this hour end before the next one.
        time.sleep(max(1.1, clock.hour_seconds - (time.monotonic() - started)))
    wrong = [line for host in hosts for line in host.wrong]
    received = sum(host.client.received_bytes for host in hosts)
    return sum(host.asked for host in hosts), received, wrong


def take_counts():
    """Returns the requests and bytes at the origin since the last call."""
    with Origin.lock:
        requests, body_bytes = Origin.requests.copy(), Origin.body_bytes.copy()
        Origin.requests.clear()
        Origin.body_bytes.clear()
    return requests, body_bytes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--hour-seconds", type=float, default=2)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--max-size", default="256MiB")
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/millpond"))
    options = parser.parse_args()
    Origin.clock = clock = Clock(options.hour_seconds)
    options.port = OriginServer.start(Origin).server_address[1]
    deadline = time.monotonic() + options.minutes * 60
    direct = run_day(options, clock, lambda: Client(options.port, is_proxy=False), deadline)
    direct_counts = take_counts()
    folder = tempfile.mkdtemp(prefix="millpond-day-")
    millpond = Millpond(options.binary, folder, options.port, options.max_size)
    try:
        port = millpond.ports["proxy"]
        cached = run_day(options, clock, lambda: Client(port, is_proxy=True), deadline)
        cached_counts = take_counts()
        use, memory, peak = millpond.disk_use(), millpond.resident_mib(), millpond.peak_mib()
    finally:
        millpond.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print("| way | client requests | upstream requests | of them 304 | upstream MiB | client MiB |")
    print("|---|---|---|---|---|---|")
    for name, day, (requests, body_bytes) in [
        ("direct", direct, direct_counts),
        ("Millpond", cached, cached_counts),
    ]:
        confirmed = sum(count for (_, status), count in requests.items() if status == 304)
        upstream_mib = sum(body_bytes.values()) / MIB
        print(
            f"| {name} | {day[0]} | {sum(requests.values())} | {confirmed} "
            f"| {upstream_mib:.1f} | {day[1] / MIB:.1f} |"
        )
    disk_mib, inodes = (sum(column) for column in zip(*use.values()))
    print(f"\ndisk: {disk_mib:.1f} MiB, {inodes} inodes; memory: {memory:.0f} MiB, at most {peak:.0f} MiB")
    wrong = direct[2] + cached[2]
    for line in wrong[:20]:
        print(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
