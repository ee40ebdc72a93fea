#!/usr/bin/env python3
"""Measures 600 clients of three nodes that ask for one file which no node has.

    benches/cluster.py [--rounds 5] [--clients 600] [--binary target/release/millpond]

nginx is the origin, and sends 20 MiB/s over each connection. A third of the clients asks each node
for the same 20 MiB. The same clients then ask one node for another file. Prints a Markdown table of
medians and largest values. Fails if a response is incomplete, or if the origin is asked twice.
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True

from nodes import start_node
from study_server import MIB, PATIENCE, ROOT

HOSTS = ["127.0.0.94", "127.0.0.95", "127.0.0.96"]
PORT, ORIGIN_PORT = 18094, 18097
SIZE_MIB = RATE_MIB = 20
# nginx logs a request at its end.
LOG_DELAY_SECONDS = 0.5

ORIGIN = """
worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log warn; daemon off; {user}
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5; log_format asked '$request_uri $status'; access_log {dir}/asked.log asked;
  server {{ listen 127.0.0.1:{port}; location ~ ^/[^/]+/(.+)$ {{ alias {dir}/$1; limit_rate {rate}m; }} }}
}}
"""

# All clients have one address.
LIMIT = 'exempt_clients = ["127.0.0.0/8"]'


def ask(host, path):
    connection = http.client.HTTPConnection(host, PORT, timeout=PATIENCE)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def start_origin(folder):
    with open(os.path.join(folder, "x-1.0.tar.gz"), "wb") as file:
        file.write(b"\x1f\x8b\x08\x00" + os.urandom(SIZE_MIB * MIB - 4))
    config = os.path.join(folder, "nginx.conf")
    user = "user root;" if os.geteuid() == 0 else ""
    with open(config, "w") as file:
        file.write(ORIGIN.format(dir=folder, port=ORIGIN_PORT, rate=RATE_MIB, user=user))
    return subprocess.Popen(["nginx", "-p", folder, "-c", config, "-e", f"{folder}/error.log"])


def await_cluster():
    """Waits until each node has two ready peers."""
    for host in HOSTS:
        for _ in range(200):
            with contextlib.suppress(OSError):
                metrics = ask(host, "/metrics").decode()
                if 'millpond_cluster_peers{state="ready"} 2' in metrics:
                    break
            time.sleep(0.1)
        else:
            sys.exit(f"{host} does not see its peers")


def one_round(client, folder, hosts, clients, tag):
    """Has all clients ask at the same time. Returns the worst values of the loads."""
    path = f"/http://127.0.0.1:{ORIGIN_PORT}/{tag}/x-1.0.tar.gz"
    count = str(clients // len(hosts))
    loads = [
        subprocess.Popen([client, "-c", count, "-n", count, f"{host}:{PORT}", path], stdout=subprocess.PIPE)
        for host in hosts
    ]
    seen = [json.loads(load.communicate()[0]) for load in loads]
    if any(load["whole"] != load["requests"] for load in seen):
        sys.exit(f"some responses were incomplete: {seen}")
    time.sleep(LOG_DELAY_SECONDS)
    with open(os.path.join(folder, "asked.log")) as log:
        asked = sum(f"/{tag}/" in line for line in log)
    if asked != 1:
        sys.exit(f"the origin was asked {asked} times")
    return {name: max(load[name] for load in seen) for name in ("first_p50", "first_max", "seconds")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=600)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--binary", default=os.path.join(target, "release", "millpond"))
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    binary = os.path.abspath(arguments.binary)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        os.chmod(folder, 0o755)
        client = os.path.join(folder, "load")
        subprocess.run(["gcc", "-O2", "-o", client, os.path.join(ROOT, "benches", "load.c")], check=True)
        ports = {"port": PORT, "origin": ORIGIN_PORT}
        nodes = [start_node(binary, folder, host, HOSTS, limit=LIMIT, **ports) for host in HOSTS]
        processes = [start_origin(folder), *nodes]
        for process in processes:
            started.callback(process.wait, PATIENCE)
            started.callback(process.terminate)
        await_cluster()
        found = {"three nodes": [], "one of them": []}
        for number in range(arguments.rounds):
            found["three nodes"].append(one_round(client, folder, HOSTS, arguments.clients, f"three-{number}"))
            found["one of them"].append(one_round(client, folder, HOSTS[:1], arguments.clients, f"one-{number}"))
    print(f"\n{arguments.clients} clients, one file of {SIZE_MIB} MiB at {RATE_MIB} MiB/s, {arguments.rounds} rounds\n")
    print("| asked | first byte, median, s | last first byte, s | its largest, s | all done, s |")
    print("|---|---:|---:|---:|---:|")
    for asked, rounds in found.items():
        def middle(name):
            return statistics.median(one[name] for one in rounds)

        largest = max(one["first_max"] for one in rounds)
        cells = [middle("first_p50"), middle("first_max"), largest, middle("seconds")]
        print(f"| {asked} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
