#!/usr/bin/env python3
"""Study: a large number of pages asked for through the proxy leaves immutable objects alone.

    benches/pages.py [--pages 20000] [--clients 8] [--minutes 5] [--max-size 64MiB]
                  [--binary target/release/millpond]

Stores immutable archives first. Then requests N different pages of 1 to 8 KiB, each with a
validator. All runs on loopback with a temporary folder in $TMPDIR. A million pages need a folder in
memory, because each page is made durable. At the end each archive must be answered from the store
with the right bytes, without a request to the origin. Prints a Markdown table of the rate, memory,
disk and inodes over the run. Fails if an archive is gone or wrong, if the blocks of the pages take
more than three times their share, or if memory grows with their number. The share counts bytes, and
the block of a small page is larger.
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True

from study_server import MIB, PATIENCE, ROOT, Millpond

ARCHIVES, ARCHIVE_BYTES = 24, MIB
ROWS = 10
# Share of the disk for class `revalidate`, and what an eviction may lag behind.
SHARE, SLACK = 0.2, 1.2
# Bound on the space that a page takes on the file system, relative to its size.
BLOCKS_OF_PAGE = 3
# Allowed growth of memory from the first tenth to the end, in MiB.
MAX_GROWTH_MIB = 64


def body_of(path):
    chooser = random.Random(path)
    if path.startswith("/archives/"):
        return b"\x1f\x8b\x08\x00" + chooser.randbytes(ARCHIVE_BYTES - 4)
    return f"page {path}\n".encode() * chooser.randint(50, 400)


class Origin(asyncio.Protocol):
    """One connection of the origin, with little work for each request."""

    def __init__(self, asked):
        self.asked, self.head = asked, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.head += data
        while b"\r\n\r\n" in self.head:
            head, self.head = self.head.split(b"\r\n\r\n", 1)
            self.asked.value += 1
            self.transport.write(response_to(head.split(b" ", 2)[1].decode()))


def response_to(path):
    body = body_of(path)
    etag = hashlib.sha256(path.encode()).hexdigest()[:16]
    head = f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Type: text/plain\r\n'
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def serve_origin(listener, asked):
    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Origin(asked), sock=listener)
        await server.serve_forever()

    asyncio.run(serve())


class Client:
    """A client with one kept connection to the proxy port."""

    def __init__(self, proxy_port, origin_port):
        self.base = f"http://127.0.0.1:{origin_port}"
        self.socket = socket.create_connection(("127.0.0.1", proxy_port), PATIENCE)
        self.reader = self.socket.makefile("rb", 1 << 16)

    def get(self, path):
        """Returns the status, the header fields in lower case, and the body."""
        host = self.base.removeprefix("http://")
        self.socket.sendall(f"GET {self.base}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status = int(self.reader.readline().split()[1])
        fields = {}
        while (line := self.reader.readline()) not in (b"\r\n", b""):
            name, value = line.decode().split(":", 1)
            fields[name.lower()] = value.strip()
        return status, fields, self.reader.read(int(fields["content-length"]))


class Study:
    def __init__(self, options, folder):
        self.options = options
        # A process of its own, so that it does not share a processor with the clients.
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = listener.getsockname()[1]
        self.asked = multiprocessing.Value("Q", 0, lock=False)
        arguments = (listener, self.asked)
        self.origin = multiprocessing.Process(target=serve_origin, args=arguments, daemon=True)
        self.origin.start()
        listener.close()
        self.millpond = Millpond(options.binary, folder, self.port, options.max_size)
        self.wrong, self.rows = [], []
        self.next_page, self.lock = 0, threading.Lock()

    def client(self):
        return Client(self.millpond.ports["proxy"], self.port)

    def store_archives(self):
        client = self.client()
        for number in range(ARCHIVES):
            self.check(client, f"/archives/x-{number}.0.tar.gz")

    def check(self, client, path):
        status, headers, body = client.get(path)
        if status != 200 or body != body_of(path):
            self.wrong.append(f"{path}: {status}, {len(body)} bytes")
        return headers

    def take_page(self):
        with self.lock:
            if self.next_page >= self.options.pages or time.monotonic() > self.deadline:
                return None
            self.next_page += 1
            return self.next_page

    def ask(self):
        client = self.client()
        while (number := self.take_page()) is not None:
            self.check(client, f"/pages/{number}")

    def run(self):
        self.store_archives()
        print(
            "| pages | pages/s | memory MiB | objects MiB | objects | observations | inodes "
            "| index MiB |"
        )
        print("|---|---|---|---|---|---|---|---|")
        self.measure()
        self.deadline = time.monotonic() + self.options.minutes * 60
        threads = [threading.Thread(target=self.ask) for _ in range(self.options.clients)]
        for thread in threads:
            thread.start()
        wanted = self.options.pages / ROWS
        while any(thread.is_alive() for thread in threads):
            if self.next_page >= wanted:
                self.measure()
                wanted += self.options.pages / ROWS
            time.sleep(0.2)
        # Evictions follow within the maintenance interval.
        time.sleep(12)
        self.measure()
        asked = self.asked.value
        client = self.client()
        for number in range(ARCHIVES):
            headers = self.check(client, f"/archives/x-{number}.0.tar.gz")
            if "; hit" not in headers.get("cache-status", ""):
                self.wrong.append(f"archive {number} is not stored")
        if self.asked.value != asked:
            self.wrong.append(f"{self.asked.value - asked} archives were fetched again")

    def measure(self):
        use = self.millpond.disk_use()
        row = (self.next_page, time.monotonic(), self.millpond.resident_mib(), use)
        self.rows.append(row)
        print(self.line(row), flush=True)

    def line(self, row):
        """Returns a line of the table. The rate is that since the line before."""
        pages, at, memory, use = row
        before = self.rows[max(self.rows.index(row) - 1, 0)]
        rate = (pages - before[0]) / max(at - before[1], 1e-3)
        objects, observations = use.get("objects", (0, 0)), use.get("observations", (0, 0))
        index_mib = sum(size for name, (size, _) in use.items() if name.startswith("index"))
        inodes = sum(count for _, count in use.values())
        return (
            f"| {pages} | {rate:.0f} | {memory:.0f} | {objects[0]:.1f} | {objects[1]} "
            f"| {observations[1]} | {inodes} | {index_mib:.1f} |"
        )

    def report(self):
        print(f"\npeak memory: {self.millpond.peak_mib():.0f} MiB; requests to the origin: {self.asked.value}")

    def judge(self):
        if self.next_page < self.options.pages:
            print(f"stopped after {self.next_page} of {self.options.pages} pages")
        archives_mib = ARCHIVES * ARCHIVE_BYTES / MIB
        share_mib = size_mib(self.options.max_size) * SHARE * SLACK
        objects_mib = self.rows[-1][3]["objects"][0] - archives_mib
        if objects_mib > share_mib * BLOCKS_OF_PAGE:
            self.wrong.append(f"pages take {objects_mib:.0f} MiB")
        grown_mib = self.rows[-1][2] - self.rows[min(1, len(self.rows) - 1)][2]
        if grown_mib > MAX_GROWTH_MIB:
            self.wrong.append(f"memory has grown by {grown_mib:.0f} MiB")
        for line in self.wrong[:20]:
            print(line)
        return not self.wrong


def size_mib(text):
    units = {"MiB": 1, "GiB": 1024}
    return int(text[:-3]) * units[text[-3:]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--max-size", default="64MiB")
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/millpond"))
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="millpond-pages-")
    study = Study(options, folder)
    try:
        study.run()
        study.report()
        is_right = study.judge()
    finally:
        study.millpond.stop()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
