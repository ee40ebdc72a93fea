"""Origin of benches/soak.py: files generated from their names, and various server failures."""

import collections
import contextlib
import hashlib
import http.server
import random
import re
import socket
import threading
import time


def body_of(path):
    """Returns the body of a path, which contains its size. The body begins like a gzip file."""
    size = int(path.split("/")[2])
    return b"\x1f\x8b\x08\x00" + random.Random(path).randbytes(size - 4)


class Bodies:
    """Cache of recent bodies, because generating a body costs more than sending it."""

    def __init__(self, most):
        self.kept, self.most, self.lock = collections.OrderedDict(), most, threading.Lock()

    def get(self, path):
        with self.lock:
            if path in self.kept:
                self.kept.move_to_end(path)
                return self.kept[path]
        body = body_of(path)
        with self.lock:
            self.kept[path] = body
            while len(self.kept) > self.most:
                self.kept.popitem(last=False)
        return body


BODIES = Bodies(96)


class Origin(http.server.BaseHTTPRequestHandler):
    """Serves /KIND/SIZE/NAME: a good file, or one that is truncated, stalls, is slow, fails or is missing."""

    protocol_version = "HTTP/1.1"
    asked = collections.Counter()

    def log_message(self, *_):
        pass

    def do_GET(self):
        kind = self.path.split("/")[1]
        self.asked[self.path] += 1
        if kind in ("absent", "fails"):
            self.send_response(404 if kind == "absent" else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = BODIES.get(self.path)
        first = 0
        tag = '"' + hashlib.sha256(self.path.encode()).hexdigest()[:16] + '"'
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range") in (None, tag) and int(span[1]) < len(body):
            first = int(span[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.send_part(kind, memoryview(body)[first:])

    def send_part(self, kind, body):
        is_first = self.asked[self.path] % 2 == 1
        if kind in ("cut", "stall") and is_first:
            self.wfile.write(body[: len(body) // 2])
            if kind == "stall":
                time.sleep(7)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif kind == "drip":
            for at in range(0, len(body), max(len(body) // 20, 1)):
                self.wfile.write(body[at : at + max(len(body) // 20, 1)])
                time.sleep(0.1)
        else:
            self.wfile.write(body)


class OriginServer(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_):
        pass
