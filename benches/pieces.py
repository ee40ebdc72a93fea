#!/usr/bin/env python3
"""Measures `millpond get --connections` with nodes whose rate is limited for each client.

    benches/pieces.py [--size-mib 128] [--rate-mib 16] [--binary target/release/millpond]

Three nodes of one cluster run on loopback, with `limits.bandwidth`, and store one file. Then the
origin has it no longer. A client downloads the file from one node over one and over three
connections, and from two and three nodes. Prints a Markdown table. Fails if a file has other bytes,
or if two nodes are not faster than one by half.
"""

import argparse
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import random
import subprocess
import sys
import tempfile
import time

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True

from nodes import start_node
from study_server import MIB, PATIENCE, ROOT, OriginServer

# The limits do not bind the addresses of nodes, so that the client needs another one.
HOSTS = ["127.0.0.91", "127.0.0.92", "127.0.0.93"]
PORT = 18091
PATH = "/pub/x-1.0.tar.gz"
# Nodes, and connections.
CASES = [(1, 1), (1, 3), (2, 2), (3, 3)]

def origin_with(body):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        is_gone = False

        def do_GET(self):
            content = b"absent" if Handler.is_gone else body
            self.send_response(404 if Handler.is_gone else 200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"x"')
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


def ask(host, path):
    connection = http.client.HTTPConnection(host, PORT, timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def start(binary, folder, hosts, origin, rate_mib):
    """Starts nodes that know each other. Stopping them ends the cluster."""
    limit = f'bandwidth = "{rate_mib}MiB"'
    nodes = [start_node(binary, folder, host, hosts, port=PORT, origin=origin, limit=limit) for host in hosts]
    for host in hosts:
        for _ in range(100):
            with contextlib.suppress(OSError):
                ask(host, "/readyz")
                break
            time.sleep(0.1)
    return nodes


def stop(nodes):
    for node in nodes:
        node.terminate()
    for node in nodes:
        node.wait(30)


def await_pieces(hosts, digest):
    """Waits until the first node states the pieces, and all nodes as sources."""
    for _ in range(600):
        _, document = ask(hosts[0], f"/api/v1/objects/sha256/{digest}/metalink")
        if b"<pieces" in document and all(host.encode() in document for host in hosts):
            return
        time.sleep(0.1)
    sys.exit("the pieces are not computed")


def measure(binary, folder, url, digest, connections):
    output = os.path.join(folder, "out")
    command = [binary, "get", "--json", "--gateway", f"http://{HOSTS[0]}:{PORT}", "-o", output]
    began = time.monotonic()
    run = subprocess.run([*command, "--connections", str(connections), url], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - began
    with open(output, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != digest:
            sys.exit("the file has other bytes")
    os.remove(output)
    used = json.loads(run.stdout)["sources"] or []
    return seconds, sum(1 for source in used if source["size_bytes"] > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=128)
    parser.add_argument("--rate-mib", type=int, default=16)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/millpond"))
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.binary)
    body = b"\x1f\x8b\x08\x00" + random.Random(1).randbytes(arguments.size_mib * MIB - 4)
    digest = hashlib.sha256(body).hexdigest()
    handler = origin_with(body)
    origin = OriginServer.start(handler).server_address[1]
    url = f"http://127.0.0.1:{origin}{PATH}"
    rates = {}
    print("| nodes | connections | sources used | seconds | MiB/s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        nodes = start(binary, folder, HOSTS, origin, 1024)
        for host in HOSTS:
            ask(host, f"/{url}")
        await_pieces(HOSTS, digest)
        stop(nodes)
        handler.is_gone = True
        for count, connections in CASES:
            hosts = HOSTS[:count]
            nodes = start(binary, folder, hosts, origin, arguments.rate_mib)
            await_pieces(hosts, digest)
            seconds, used = measure(binary, folder, url, digest, connections)
            stop(nodes)
            rate = rates[count, connections] = arguments.size_mib / seconds
            print(f"| {count} | {connections} | {used} | {seconds:.1f} | {rate:.1f} |", flush=True)
    if rates[2, 2] < 1.5 * rates[1, 1]:
        sys.exit("two nodes are not faster than one")


if __name__ == "__main__":
    main()
