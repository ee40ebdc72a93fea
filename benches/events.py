#!/usr/bin/env python3
"""Soak test of the events: followers that keep up, read slowly, stop reading, leave and come back.

    benches/events.py [--minutes 60] [--rate 300] [--binary target/release/millpond]

Jobs fetch files that the origin has or lacks, so that each target makes one event. Each follower
checks the numbers of its events. One that keeps up, or comes back with `Last-Event-ID` while the
ring has what it missed, must get each event once and in order. A slow one must be told exactly how
many it has lost. Beside them, a client measures hits. All runs on loopback with a temporary folder.
Prints a Markdown table over time. Fails if an event is lost, repeated or not accounted for, if a
job has other counts, or if memory or descriptors grow.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True

from study_server import PATIENCE, ROOT, Client, Millpond

# Events that the gateway keeps.
RING = 1000
FOLLOWERS = {"in time": 6, "coming back": 6, "slow": 4, "stalled": 2}
# One target of so many is stored, and the others fail.
STORED_SHARE = 20
SLOW_BYTES = 400
ROWS = 15
MAX_GROWTH, MAX_GROWTH_MIB = 1.10, 8
BODY = b"\x1f\x8b\x08\x00" + bytes(996)


class Origin(asyncio.Protocol):
    """One connection of the origin. It has files below /good/ only."""

    def connection_made(self, transport):
        self.transport, self.head = transport, b""

    def data_received(self, data):
        self.head += data
        while b"\r\n\r\n" in self.head:
            head, self.head = self.head.split(b"\r\n\r\n", 1)
            is_good = head.split(b" ", 2)[1].startswith(b"/good/")
            status, body = (b"200 OK", BODY) if is_good else (b"404 Not Found", b"absent")
            length = str(len(body)).encode()
            self.transport.write(b"HTTP/1.1 %b\r\nContent-Length: %b\r\n\r\n%b" % (status, length, body))


def serve_origin(listener):
    async def serve():
        server = await asyncio.get_running_loop().create_server(Origin, sock=listener)
        await server.serve_forever()

    asyncio.run(serve())


class Follower:
    """Follows the events, and counts what it got and what it was told to have lost."""

    def __init__(self, study, kind, number):
        self.study, self.kind, self.is_lines = study, kind, number % 2 == 0
        # Number of the last event, or of the last one that was lost.
        self.last, self.last_id = None, None
        self.got = self.lost = self.views = 0

    def run(self):
        while not self.study.is_over.is_set():
            try:
                self.follow()
            except (OSError, http.client.HTTPException) as error:
                if not self.study.is_over.is_set():
                    self.wrong(f"{type(error).__name__}: {error}")
                    return

    def wrong(self, text):
        self.study.wrong.append(f"{self.kind}, event {self.last}: {text}")

    def follow(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.study.gateway_port, timeout=PATIENCE)
        connection.connect()
        if self.kind in ("slow", "stalled"):
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        fields = {"Authorization": f"Bearer {self.study.token}"}
        fields["Accept"] = "application/x-ndjson" if self.is_lines else "text/event-stream"
        if self.last_id:
            fields["Last-Event-ID"] = self.last_id
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/events", headers=fields)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            self.views += 1
            until = time.monotonic() + random.uniform(1, 20)
            while not self.study.is_over.is_set():
                line = answer.readline()
                if not line:
                    raise OSError("the events have ended")
                self.take(line.strip())
                if self.kind == "slow":
                    time.sleep(len(line) / SLOW_BYTES)
                elif self.kind == "stalled":
                    self.study.is_over.wait(30)
                elif self.kind == "coming back" and time.monotonic() > until:
                    break
        if self.kind == "coming back":
            # The ring still has what happens meanwhile.
            self.study.is_over.wait(random.uniform(0, 0.5 * RING / self.study.rate))

    def take(self, line):
        if line.startswith(b"data: "):
            line = line.removeprefix(b"data: ")
        elif not self.is_lines or not line:
            return
        event = json.loads(line)
        if event["type"] == "lost":
            self.lost += event["count"]
            if self.last is not None:
                self.last += event["count"]
            if self.kind in ("in time", "coming back"):
                self.wrong(f"{event['count']} events are lost")
            return
        number = int(event["id"].split("-")[1], 16)
        if self.last is not None and number != self.last + 1:
            self.wrong(f"the next one is {number}")
        self.last, self.last_id = number, event["id"]
        self.got += 1


class Study:
    def __init__(self, options, folder):
        self.rate = options.rate
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.origin_port = listener.getsockname()[1]
        self.origin = multiprocessing.Process(target=serve_origin, args=(listener,), daemon=True)
        self.origin.start()
        listener.close()
        self.millpond = Millpond(options.binary, folder, self.origin_port, "256MiB")
        self.gateway_port = self.millpond.ports["gateway"]
        # The ports are open before the token is written.
        token = os.path.join(folder, "state/admin_token")
        while not os.path.exists(token) and self.millpond.process.poll() is None:
            time.sleep(0.1)
        with open(token) as file:
            self.token = file.read().strip()
        self.is_over, self.wrong, self.hits, self.ordered = threading.Event(), [], [], 0
        self.followers = [
            Follower(self, kind, number) for kind, count in FOLLOWERS.items() for number in range(count)
        ]

    def operate(self, method, path, document=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=PATIENCE)
        with contextlib.closing(connection):
            body = None if document is None else json.dumps(document)
            fields = {"Authorization": f"Bearer {self.token}"}
            connection.request(method, f"/api/v1/{path}", body, fields)
            answer = connection.getresponse()
            if answer.status >= 300:
                raise OSError(f"{path}: {answer.status} {answer.read()[:100]!r}")
            return json.loads(answer.read())

    def url(self, number):
        folder = "good" if number % STORED_SHARE == 0 else "absent"
        return f"http://127.0.0.1:{self.origin_port}/{folder}/x-{number}.0.tar.gz"

    def order(self):
        """Orders the events of one second, and checks the job before."""
        numbers = range(self.ordered, self.ordered + self.rate)
        order = {"kind": "fetch", "targets": list(map(self.url, numbers)), "concurrency": 16}
        job = self.operate("POST", "jobs", order)["id"]
        self.ordered += self.rate
        return job, sum(number % STORED_SHARE != 0 for number in numbers)

    def load(self):
        due, jobs = time.monotonic(), []
        while not self.is_over.wait(max(due - time.monotonic(), 0)):
            due += 1
            jobs.append(self.order())
            if len(jobs) > 5:
                self.check_job(*jobs.pop(0))
        for job in jobs:
            self.check_job(*job)

    def check_job(self, job, failed):
        ended = None
        for _ in range(10 * PATIENCE):
            ended = self.operate("GET", f"jobs/{job}")
            if ended["ended"]:
                break
            time.sleep(0.1)
        if (ended["done"], ended["failed"]) != (self.rate, failed):
            self.wrong.append(f"a job has other counts: {ended['done']} done, {ended['failed']} failed")

    def measure_hits(self):
        client, path = Client(self.gateway_port, False), f"/{self.url(0)}"
        while not self.is_over.wait(0.02):
            began = time.monotonic()
            status, _, body = client.get(self.origin_port, path)
            self.hits.append((time.monotonic() - began) * 1000)
            if (status, body) != (200, BODY):
                self.wrong.append(f"a hit has status {status}")

    def look(self):
        with open(f"/proc/{self.millpond.process.pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        hits = sorted(self.hits) or [0]
        self.hits = []
        of_kind = lambda kind: [one for one in self.followers if one.kind == kind]  # noqa: E731
        return {
            "own MiB": round(int(lines["RssAnon"].split()[0]) / 1024, 1),
            "descriptors": len(os.listdir(f"/proc/{self.millpond.process.pid}/fd")),
            "ordered": self.ordered,
            "got by each in time": min(one.got for one in of_kind("in time")),
            "views": sum(one.views for one in of_kind("coming back")),
            "lost by slow": sum(one.lost for one in of_kind("slow") + of_kind("stalled")),
            "hit p50 ms": round(statistics.median(hits), 1),
            "hit p99 ms": round(hits[int(0.99 * (len(hits) - 1))], 1),
            "wrong": len(self.wrong),
        }

    def run(self, seconds):
        threads = [threading.Thread(target=one.run, daemon=True) for one in self.followers]
        for thread in threads:
            thread.start()
        time.sleep(1)
        first, _ = self.order()
        self.check_job(first, self.rate - len(range(0, self.rate, STORED_SHARE)))
        load = threading.Thread(target=self.load, daemon=True)
        for thread in (load, threading.Thread(target=self.measure_hits, daemon=True)):
            thread.start()
        began, samples, rows = time.monotonic(), [], 0
        while (elapsed := time.monotonic() - began) < seconds and self.millpond.process.poll() is None:
            time.sleep(seconds / ROWS / 10)
            if elapsed >= rows * seconds / ROWS:
                samples.append(self.look())
                self.print_row(elapsed, samples[-1], rows == 0)
                rows += 1
        self.is_over.set()
        load.join(PATIENCE)
        # The last events are on their way.
        time.sleep(2)
        return samples

    @staticmethod
    def print_row(elapsed, row, is_first):
        if is_first:
            print("| minute | " + " | ".join(row) + " |\n|" + " ---: |" * (len(row) + 1))
        print(f"| {elapsed / 60:.1f} | " + " | ".join(map(str, row.values())) + " |", flush=True)

    def judge(self, samples):
        third = len(samples) // 3
        for name, slack in [("own MiB", MAX_GROWTH_MIB), ("descriptors", 32)]:
            middle = statistics.median(row[name] for row in samples[third : 2 * third])
            last = statistics.median(row[name] for row in samples[2 * third :])
            print(f"{name}: {middle} in the middle third, {last} in the last third")
            if last > middle * MAX_GROWTH + slack:
                self.wrong.append(f"{name} grew from {middle} to {last}")
        for kind in FOLLOWERS:
            followers = [one for one in self.followers if one.kind == kind]
            got, lost = sum(one.got for one in followers), sum(one.lost for one in followers)
            print(f"{kind}: {got} events, {lost} lost, {sum(one.views for one in followers)} views")
        if not any(one.lost for one in self.followers):
            self.wrong.append("no slow follower has lost an event, so that nothing was tried")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=300, help="events a second")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--binary", default=os.path.join(target, "release", "millpond"))
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="millpond-events-")
    study = Study(options, folder)
    try:
        study.judge(study.run(options.minutes * 60))
    finally:
        study.millpond.stop()
        study.origin.terminate()
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(study.wrong[:20]) or "no event is missing")
    sys.exit(bool(study.wrong))


if __name__ == "__main__":
    main()
