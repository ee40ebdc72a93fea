#!/usr/bin/env python3
"""Compares hits, misses, redirects and collapsing with nginx, and prints a Markdown table.

    benches/run.py [--only hit,rules,scrub,miss,small,limited,redirect,herd] [--rounds 5]
                   [--json FILE] [--record] [--keep]

Writes the rows to FILE (target/bench.json), which benches/compare.py compares with
benches/RESULTS.json. --record replaces that file, and the table in benches/RESULTS.md.

Needs nginx, gcc and cargo. Starts nginx with static files (the upper bound for a server in user
space, and the origin of the cold tests), nginx with proxy_cache, and Millpond's release build. All
run on free loopback ports with a temporary folder (about 8 GB, in $TMPDIR). Loads are interleaved,
and medians are printed. CPU is user and system time of a server's whole process tree. On loopback
that includes the receiving side of TCP, which is the same for all.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import platform
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
import urllib.request

# Do not write __pycache__ into the checkout.
sys.dont_write_bytecode = True

import peers

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICKS = os.sysconf("SC_CLK_TCK")
KIB, MIB = 1 << 10, 1 << 20
# Magic bytes of gzip: Millpond rejects a body of another file type under a .gz name.
GZIP_MARK = b"\x1f\x8b\x08\x00"
SIZES = {"1k.tar.gz": KIB, "20m.tar.gz": 20 * MIB, "64m.tar.gz": 64 * MIB, "256m.tar.gz": 256 * MIB}
HERD_CLIENTS = 600
HERD_RATE_MIB = 20
LIMIT_MIB = 2
PARTS = ("hit", "rules", "scrub", "miss", "small", "limited", "redirect", "herd")
SEGMENTS = 6
SMALL_FILES = 1000
# Time in which all objects are read once.
SCRUB_SECONDS = 5
# One less than the bound, since there is another rule.
RULES = 999
RESULTS = os.path.join(ROOT, "benches", "RESULTS")
# Lines around the table in RESULTS.md.
TABLE_MARKS = ("<!-- rows of benches/run.py -->", "<!-- end of the rows -->")
# Columns of the table. One of a cache that is not installed is left out.
COLUMNS = (
    "nginx static", "nginx proxy_cache", "Varnish", "Traffic Server", "Squid",
    "Millpond", "Millpond, proxy port", "nginx + Millpond",
)
# Of the others, the table also has the ratio to the first column.
OWN_COLUMNS = COLUMNS[5:]

NGINX_COMMON = """
worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/error.log warn; worker_rlimit_nofile 8192; {user}
events {{ worker_connections 4096; }}
"""
NGINX_HTTP = """
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5; sendfile on; sendfile_max_chunk 1m; tcp_nopush on; keepalive_requests 10000000;
  default_type application/octet-stream; open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h;
"""
# /cold/TAG/NAME serves NAME under any number of URLs, and logs the requests. /text/ serves another
# text of about 1 KiB at each URL.
NGINX_ORIGIN = (
    NGINX_COMMON
    + "http {{"
    + NGINX_HTTP
    + """
  log_format asked '$request_uri $status'; access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /hot/ {{ alias {data}/; }}
    location ~ ^/cold/[^/]+/(.+)$ {{ alias {data}/$1; access_log {dir}/asked.log asked; }}
    location ~ ^/slow/[^/]+/(.+)$ {{ alias {data}/$1; access_log {dir}/asked.log asked; limit_rate {rate}m; }}
    location ~ ^/limited/[^/]+/(.+)$ {{ alias {data}/$1; limit_rate {limit}m; }}
    location /text/ {{ return 200 "$request_uri {padding}\\n"; }}
    location /redirect {{ return 302 http://127.0.0.1:{port}/hot/1k.tar.gz; }}
  }}
}}
"""
)
NGINX_CACHE = (
    NGINX_COMMON
    + "http {{"
    + NGINX_HTTP
    + """
  access_log off;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_cache_path {dir}/cache levels=1:2 keys_zone=z:16m max_size=20g inactive=1d use_temp_path=off;
  proxy_cache z; proxy_cache_key $uri; proxy_cache_valid 200 1d;
  proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://origin; }} }}
}}
"""
)
MILLPOND = """
[gateway]
listen = "127.0.0.1:{port}"
state_dir = "{dir}/state"
miss = "{miss}"
redirect_agents = ["load"]         # load.c
shutdown_grace = "1s"
{gateway}

[proxy]
listen = "127.0.0.1:{proxy}"

[cache]
dir = "{dir}/cache"
max_size = "20GiB"
min_free = "1GiB"

[policy]
allow_networks = ["127.0.0.0/8"]
ports = [{origin}]

[limits]
exempt_clients = ["127.0.0.0/8"]

[log]
level = "warn"

[[rules]]
host = "127.0.0.1"
path_prefix = "/limited/"
segments = {segments}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_tree(root):
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    tree, todo = [], [root]
    while todo:
        tree.append(todo.pop())
        todo += children.get(tree[-1], [])
    return tree


class Server:
    """Server process on its own port, with its CPU time and memory."""

    def __init__(self, name, template, command, folder, prefix="", more="", before=None, **values):
        self.name = name
        self.folder = os.path.join(folder, name.replace(" ", "_"))
        os.makedirs(self.folder)
        self.port, self.proxy = free_port(), free_port()
        self.prefix = prefix
        config = os.path.join(self.folder, "config")
        with open(config, "w") as file:
            ports = {"port": self.port, "proxy": self.proxy}
            file.write(template.format(dir=self.folder, segments=SEGMENTS, **ports, **values) + more)
        if before:
            before(self.folder)
        self.log = os.path.join(self.folder, "output.log")
        with open(self.log, "w") as log:
            command = [part.format(dir=self.folder, config=config, port=self.port) for part in command]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def wait_until_it_listens(self):
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        with open(self.log) as log:
            sys.exit(f"{self.name} does not start:\n{log.read()[-2000:]}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self):
        ticks = 0
        for pid in process_tree(self.process.pid):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def memory_mib(self):
        """Returns anonymous and shared memory. Mapped files do not count: the kernel can reclaim them."""
        kib = 0
        for pid in process_tree(self.process.pid):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/status") as status:
                    kib += sum(int(size) for size in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", status.read(), re.M))
        return kib / 1024

    def target(self, path):
        return self.prefix + path


class ProxyPort:
    """The proxy port of a Millpond whose gateway port is measured too."""

    def __init__(self, behind):
        self.name = f"{behind.name}, proxy port"
        self.port = behind.proxy
        self.prefix = behind.prefix.removeprefix("/")
        self.cpu_seconds, self.memory_mib = behind.cpu_seconds, behind.memory_mib

    def target(self, path):
        return self.prefix + path


class Front(Server):
    """Millpond behind nginx with the shipped configuration, except for paths, ports and limits."""

    def __init__(self, name, behind, command, folder):
        self.behind = behind
        folder = os.path.join(folder, "front")
        shutil.copytree(os.path.join(ROOT, "nginx"), os.path.join(folder, "nginx"))
        port, proxy = free_port(), free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.edit(folder, "nginx.conf", ("user www-data;", user), ("/run/nginx.pid", f"{folder}/nginx.pid"))
        self.edit(folder, "nginx.conf", ("/var/log/nginx", folder), ("include http.conf;", f"{temporary} include http.conf;"))
        self.edit(folder, "http.conf", ("listen 80 ", f"listen 127.0.0.1:{port} "), ("listen [::]:80 ", f"listen [::1]:{port} "))
        self.edit(folder, "http.conf", ("/var/log/nginx", folder), ("/var/lib/millpond/cache", f"{behind.folder}/cache"))
        self.edit(folder, "stream.conf", ("listen 3128 ", f"listen 127.0.0.1:{proxy} "), ("listen [::]:3128 ", f"listen [::1]:{proxy} "))
        self.edit(folder, "upstreams/one/http.conf", ("server millpond:8080", f"server 127.0.0.1:{behind.port}"))
        self.edit(folder, "upstreams/one/stream.conf", ("server millpond:3128", "server 127.0.0.1:9"))
        with open(os.path.join(folder, "nginx", "exempt.conf"), "a") as exempt:
            exempt.write("127.0.0.0/8 1;\n")
        super().__init__(name, "", [part.format(folder=folder) for part in command], folder, behind.prefix)
        self.port = port

    @staticmethod
    def edit(folder, name, *changes):
        path = os.path.join(folder, "nginx", name)
        with open(path) as file:
            text = file.read()
        for old, new in changes:
            if old not in text:
                sys.exit(f"nginx/{name} does not contain {old!r}")
            text = text.replace(old, new)
        with open(path, "w") as file:
            file.write(text)

    def cpu_seconds(self):
        return super().cpu_seconds() + self.behind.cpu_seconds()

    def memory_mib(self):
        return super().memory_mib() + self.behind.memory_mib()


class Bench:
    def __init__(self, folder, rounds):
        self.folder = folder
        self.rounds = rounds
        self.client = os.path.join(folder, "load")
        self.data = os.path.join(folder, "data")
        self.servers, self.rows, self.results, self.serial = [], [], [], 0

    def prepare(self):
        run(["gcc", "-O2", "-o", self.client, os.path.join(ROOT, "benches", "load.c")])
        os.makedirs(self.data)
        for name, size in SIZES.items():
            with open(os.path.join(self.data, name), "wb") as file:
                file.write(GZIP_MARK)
                while (rest := size - file.tell()) > 0:
                    file.write(os.urandom(min(rest, MIB)))
        nginx = ["nginx", "-p", "{dir}", "-c", "{config}", "-e", "{dir}/error.log", "-g", "daemon off;"]
        user = "user root;" if os.geteuid() == 0 else ""
        binary = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "millpond")
        self.millpond = [os.path.abspath(binary), "serve", "--config", "{config}"]
        self.static = self.start("nginx static", NGINX_ORIGIN, nginx, data=self.data, user=user, rate=HERD_RATE_MIB, limit=LIMIT_MIB, padding="x" * 960)
        origin = self.static.port
        self.cache = self.start("nginx proxy_cache", NGINX_CACHE, nginx, origin=origin, user=user)
        prefix = f"/http://127.0.0.1:{origin}"
        self.ours = self.start("Millpond", MILLPOND, self.millpond, prefix, origin=origin, miss="relay", gateway="")
        self.proxy = ProxyPort(self.ours)
        self.front = self.in_front("nginx + Millpond", prefix, origin, "relay")
        self.others = peers.start_installed(self, origin)
        self.peers = [self.static, self.cache, *self.others, self.ours, self.proxy, self.front]

    def start(self, name, template, command, prefix="", **values):
        self.servers.append(Server(name, template, command, self.folder, prefix, **values))
        self.servers[-1].wait_until_it_listens()
        return self.servers[-1]

    def in_front(self, name, prefix, origin, miss):
        """Starts another Millpond behind nginx."""
        gateway = 'trusted_proxies = ["127.0.0.1/32"]\naccel_redirect = "/_objects/"'
        behind = self.start(f"behind {name}", MILLPOND, self.millpond, prefix, origin=origin, miss=miss, gateway=gateway)
        command = ["nginx", "-c", "{folder}/nginx/nginx.conf", "-e", "{folder}/error.log", "-g", "daemon off;"]
        self.servers.append(Front(name, behind, command, behind.folder))
        self.servers[-1].wait_until_it_listens()
        return self.servers[-1]

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def tag(self):
        self.serial += 1
        return f"t{self.serial}"

    def load(self, server, path, *options):
        """Runs one load. Returns the client's measurements and the server's CPU time."""
        before = server.cpu_seconds()
        command = [self.client, *map(str, options), f"127.0.0.1:{server.port}", server.target(path)]
        seen = json.loads(run(command))
        seen["cpu"] = server.cpu_seconds() - before
        if seen["whole"] != seen["requests"]:
            sys.exit(f"{server.name} {path}: some responses were incomplete: {seen}")
        return seen

    def wait_until_idle(self, server):
        """Waits for the end of work in the background, such as hashing the pieces of an object."""
        for _ in range(60):
            before = server.cpu_seconds()
            time.sleep(1)
            if server.cpu_seconds() - before < 0.05:
                return

    def check_bytes(self, server, path, name):
        with open(os.path.join(self.data, name), "rb") as file:
            expected = hashlib.sha256(file.read()).hexdigest()
        url = f"http://127.0.0.1:{server.port}{server.target(path)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            found = hashlib.sha256(answer.read()).hexdigest()
        if found != expected:
            sys.exit(f"{server.name} {path}: the bytes differ from the origin's")

    def row(self, what, unit, seen, digits=2):
        """Adds a row to the table: medians by server, and their ratios to static files.

        `seen` has the values of all rounds by server.
        """
        medians = {name: statistics.median(values) for name, values in seen.items()}
        numbers = [medians.get(name) for name in self.columns()]
        cells = ["" if number is None else f"{number:.{digits}f}" for number in numbers]
        static = numbers[0]
        own = [medians.get(name) for name in OWN_COLUMNS]
        ratios = [f"{number / static:.2f}" if static and number is not None else "" for number in own]
        is_same = bool(self.results) and what == self.results[-1]["row"]
        self.rows.append(["" if is_same else what, unit, *cells, *ratios])
        self.results.append({"row": what, "unit": unit, "values": seen})
        print("  ", " | ".join([what, *self.rows[-1][1:]]), file=sys.stderr, flush=True)

    def rounds_of(self, measure, servers=None, rounds=None):
        """Returns the values of `measure(server)` by name and server. The servers alternate in each round."""
        servers = servers or self.peers
        seen = {server.name: [] for server in servers}
        for _ in range(rounds or self.rounds):
            for server in servers:
                seen[server.name].append(measure(server))
        names = seen[servers[-1].name][0].keys()
        return {name: {peer: [numbers[name] for numbers in rows] for peer, rows in seen.items()} for name in names}

    def hit(self):
        for name in SIZES:
            for server in self.peers:
                self.load(server, f"/hot/{name}")
        self.check_bytes(self.ours, "/hot/20m.tar.gz", "20m.tar.gz")
        for server in (self.ours, self.front):
            self.wait_until_idle(server)

        def small(server):
            seen = self.load(server, "/hot/1k.tar.gz", "-k", "-c", 64, "-d", 3)
            return {**per_request(seen), "p99": seen["end_p99"] * 1e3}

        found = self.rounds_of(small)
        title = "hit, 1 KiB, 64 connections"
        self.row(title, "requests/s", found["rate"], 0)
        self.row(title, "CPU µs/request", found["cost"], 1)
        self.row(title, "p99 ms", found["p99"], 1)
        for clients in (1, 8):

            def large(server):
                seen = self.load(server, "/hot/256m.tar.gz", "-c", clients, "-n", 8)
                size_gb = seen["body_bytes"] / 1e9
                return {"rate": size_gb / seen["seconds"], "cost": seen["cpu"] / size_gb}

            found = self.rounds_of(large)
            title = f"hit, 256 MiB, {clients} client{'s' * (clients > 1)}"
            self.row(title, "CPU s/GB", found["cost"], 3)
            self.row(title, "GB/s", found["rate"])

    def rules(self):
        """Measures hits of a Millpond with many rules, none of which is for the target."""
        rules = "".join(
            f'\n[[rules]]\nhost = "host{number}.example.org"\npath_prefix = "/pub/"\nclass = "immutable"\n'
            for number in range(RULES)
        )
        many = self.start(
            "many rules", MILLPOND, self.millpond, self.ours.prefix, more=rules,
            origin=self.static.port, miss="relay", gateway="",
        )
        for server in (self.static, many):
            self.load(server, "/hot/1k.tar.gz")

        def small(server):
            return per_request(self.load(server, "/hot/1k.tar.gz", "-k", "-c", 64, "-d", 1))

        cost = self.rounds_of(small, [self.static, many])["cost"]
        cost[self.ours.name] = cost.pop(many.name)
        self.row(f"hit, 1 KiB, with {RULES} rules", "CPU µs/request", cost, 1)

    def scrub(self):
        """Measures hits of a Millpond that reads all objects again and again meanwhile."""
        template = MILLPOND.replace("[policy]", f'scrub_interval = "{SCRUB_SECONDS}s"\n\n[policy]')
        busy = self.start(
            "scrubbing", template, self.millpond, self.ours.prefix,
            origin=self.static.port, miss="relay", gateway="",
        )
        for name in SIZES:
            for server in (self.static, self.ours, busy):
                self.load(server, f"/hot/{name}")
        self.wait_until_idle(self.ours)

        def small(server):
            return per_request(self.load(server, "/hot/1k.tar.gz", "-k", "-c", 64, "-d", 3))

        rate = self.rounds_of(small, [self.static, self.ours, busy])["rate"]
        beside = rate.pop(busy.name)
        size_mb = sum(SIZES.values()) / 1e6 / SCRUB_SECONDS
        self.row("hit, 1 KiB, without a scrub", "requests/s", rate, 0)
        self.row(f"the same beside a scrub of {size_mb:.0f} MB/s", "requests/s", {**rate, self.ours.name: beside}, 0)

    def miss(self):
        def cold(server):
            if server in (self.ours, self.proxy, self.front):
                self.wait_until_idle(server)
            seen = self.load(server, f"/cold/{self.tag()}/256m.tar.gz")
            return {
                "cost": seen["cpu"] / (seen["body_bytes"] / 1e9),
                "seconds": seen["seconds"],
                "first": seen["first_p50"] * 1e3,
            }

        found = self.rounds_of(cold)
        self.row("miss, 256 MiB", "CPU s/GB", found["cost"])
        self.row("miss, 256 MiB", "seconds", found["seconds"])
        self.row("miss, 256 MiB", "first byte, ms", found["first"], 1)

    def small(self):
        def cold(server):
            seen = self.load(server, f"/text/{self.tag()}/fix-1.@.patch", "-k", "-c", 16, "-n", SMALL_FILES)
            return {"seconds": seen["seconds"], **per_request(seen)}

        found = self.rounds_of(cold)
        title = f"miss, {SMALL_FILES} different files of 1 KiB, 16 connections"
        self.row(title, "seconds", found["seconds"])
        self.row(title, "CPU µs/request", found["cost"], 0)

    def limited(self):
        def cold(server):
            seen = self.load(server, f"/limited/{self.tag()}/64m.tar.gz")
            return {"seconds": seen["seconds"], "first": seen["first_p50"] * 1e3}

        found = self.rounds_of(cold, [self.static, self.cache, *self.others, self.ours, self.front], 1)
        title = f"miss, 64 MiB at {LIMIT_MIB} MiB/s a connection, {SEGMENTS} segments"
        self.row(title, "seconds", found["seconds"])
        self.row(title, "first byte, ms", found["first"], 1)

    def redirect(self):
        # Millpond redirects a miss and fetches in the background. This origin never responds, so
        # only the redirect is measured.
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(16)
            origin = silent.getsockname()[1]
            prefix = f"/http://127.0.0.1:{origin}"
            redirecting = self.start(
                "redirecting", MILLPOND, self.millpond, prefix, origin=origin, miss="redirect", gateway=""
            )
            behind = self.in_front("redirecting in front", prefix, origin, "redirect")

            def rate(server):
                options = ("-k", "-c", 64, "-d", 3)
                if server is self.static:
                    return per_request(self.load(server, "/redirect", *options))
                asked = redirecting if server is self.ours else behind
                return per_request(self.load(asked, f"/{self.tag()}-@.tar.gz", *options))

            found = self.rounds_of(rate, [self.static, self.ours, self.front])
        self.row("redirect (302)", "requests/s", found["rate"], 0)
        self.row("redirect (302)", "CPU µs/request", found["cost"], 1)

    def herd(self):
        found = self.rounds_of(self.one_herd, [self.cache, *self.others, self.ours, self.front], min(self.rounds, 3))
        title = f"collapsing: {HERD_CLIENTS} clients, one cold 20 MiB at {HERD_RATE_MIB} MiB/s"
        self.row(title, "origin requests", found["asked"], 0)
        self.row(title, "first byte p50, s", found["first_p50"], 3)
        self.row(title, "first byte max, s", found["first_max"], 3)
        self.row(title, "all done, s", found["seconds"])
        self.row(title, "CPU s", found["cpu"])
        self.row(title, "peak memory, MiB", found["memory"], 0)

    def one_herd(self, server):
        tag = self.tag()
        peak, done = [server.memory_mib()], threading.Event()

        def watch():
            while not done.wait(0.05):
                peak.append(server.memory_mib())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            seen = self.load(server, f"/slow/{tag}/20m.tar.gz", "-c", HERD_CLIENTS, "-n", HERD_CLIENTS)
        finally:
            done.set()
            watcher.join()
        # nginx logs a request at its end.
        time.sleep(0.5)
        with open(os.path.join(self.static.folder, "asked.log")) as log:
            asked = sum(f"/{tag}/" in line for line in log)
        return {**seen, "asked": asked, "memory": max(peak)}

    def columns(self):
        """Returns the columns of the servers that were started."""
        started = [server.name for server in self.peers]
        return [name for name in COLUMNS if name in started]

    def table(self):
        heads = ["", "", *self.columns(), *(f"{name} / static" for name in OWN_COLUMNS)]
        lines = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 2), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def record(results, text):
    """Replaces the results in the repository: the JSON file, and the table in the Markdown file."""
    with open(f"{RESULTS}.json", "w") as file:
        file.write(results)
    with open(f"{RESULTS}.md") as file:
        before, _, rest = file.read().partition(TABLE_MARKS[0])
    after = rest.partition(TABLE_MARKS[1])[2]
    with open(f"{RESULTS}.md", "w") as file:
        file.write(f"{before}{TABLE_MARKS[0]}\n\n{text}\n\n{TABLE_MARKS[1]}{after}")


def per_request(seen):
    return {"rate": seen["whole"] / seen["seconds"], "cost": seen["cpu"] / seen["whole"] * 1e6}


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr or result.stdout}")
    return result.stdout


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        models = re.findall(r"^model name\s*:\s*(.*)", cpuinfo.read(), re.M)
    model = models[0] if models else platform.machine()
    nginx = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True).stderr.strip().rpartition("/")[2]
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, nginx {nginx}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"which of {', '.join(PARTS)}")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    parser.add_argument("--rounds", type=int, default=5, help="how often each load is measured")
    parser.add_argument("--json", default=os.path.join(target, "bench.json"), help="file for the rows")
    parser.add_argument("--record", action="store_true", help="replace the results in the repository")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [tool for tool in ("nginx", "gcc", "cargo") if not shutil.which(tool)]:
        sys.exit(f"missing: {', '.join(missing)}")
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    folder = tempfile.mkdtemp(prefix="millpond-bench-")
    bench = Bench(folder, arguments.rounds)
    try:
        bench.prepare()
        started = time.monotonic()
        for part in parts:
            print(part, file=sys.stderr, flush=True)
            getattr(bench, part)()
        took = f"{arguments.rounds} rounds, {time.monotonic() - started:.0f} s"
        title = f"{datetime.date.today()}, {machine()}; {took}"
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in bench.results)
        results = f'{{"measured": {json.dumps(title)}, "rows": [\n{rows}\n]}}\n'
        with open(arguments.json, "w") as file:
            file.write(results)
        text = f"{title}\n\n{bench.table()}"
        print(f"\n{text}")
        if arguments.record:
            record(results, text)
    finally:
        bench.stop()
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
