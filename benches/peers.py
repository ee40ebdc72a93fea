"""Other caches beside which benches/run.py measures Millpond: Varnish, Traffic Server and Squid.

Each one that is installed becomes a column. All of them keep each response for a year, and have
512 MiB of memory, two threads where that is a setting, and no log, so that they do the least work
that a cache can do.
"""

import os
import shutil

# Files of the configuration of Traffic Server that only have to be there.
TRAFFIC_SERVER_FILES = (
    "cache.config", "hosting.config", "parent.config", "socks.config", "splitdns.config",
    "volume.config", "plugin.config", "ssl_multicert.config",
)
VARNISH = """
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{origin}"; }}
sub vcl_backend_response {{ if (beresp.status == 200) {{ set beresp.ttl = 365d; }} }}
"""
TRAFFIC_SERVER = """
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig.enabled INT 0
CONFIG proxy.config.exec_thread.limit INT 2
CONFIG proxy.config.http.cache.required_headers INT 0
CONFIG proxy.config.http.cache.heuristic_min_lifetime INT 31536000
CONFIG proxy.config.http.cache.heuristic_max_lifetime INT 31536000
CONFIG proxy.config.cache.ram_cache.size INT 536870912
CONFIG proxy.config.cache.enable_read_while_writer INT 1
CONFIG proxy.config.http.background_fill_completed_threshold FLOAT 0.0
CONFIG proxy.config.http.cache.max_open_read_retries INT 100
CONFIG proxy.config.http.cache.open_read_retry_time INT 50
CONFIG proxy.config.net.connections_throttle INT 10000
CONFIG proxy.config.log.logging_enabled INT 0
"""
TRAFFIC_SERVER_ROOT = """
prefix: {dir}
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: {dir}/etc
datadir: {dir}/cache
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {dir}
runtimedir: {dir}/run
logdir: {dir}/log
cachedir: {dir}/cache
"""
SQUID = """
http_port 127.0.0.1:{port} accel defaultsite=127.0.0.1 no-vhost
cache_peer 127.0.0.1 parent {origin} 0 no-query originserver
http_access allow all
cache_mem 512 MB
maximum_object_size_in_memory 300 MB
maximum_object_size 1 GB
refresh_pattern . 525600 100% 525600
collapsed_forwarding on
access_log none
cache_log {dir}/cache.log
pid_filename {dir}/squid.pid
coredump_dir {dir}
shutdown_lifetime 1 second
"""


def varnish(bench, origin):
    command = [
        "varnishd", "-j", "none", "-F", "-a", "127.0.0.1:{port}", "-f", "{config}", "-n", "{dir}/work",
        "-s", "default,512m", "-p", "thread_pools=2", "-p", "thread_pool_max=1000",
    ]
    return bench.start("Varnish", VARNISH, command, origin=origin)


def traffic_server(bench, origin):
    def prepare(folder):
        etc = os.path.join(folder, "etc")
        for name in ("etc", "run", "log", "cache"):
            os.makedirs(os.path.join(folder, name))
        for name in TRAFFIC_SERVER_FILES:
            open(os.path.join(etc, name), "w").close()
        for name in ("ip_allow.yaml", "logging.yaml", "sni.yaml", "strategies.yaml"):
            shutil.copy(os.path.join("/etc/trafficserver", name), etc)
        os.rename(os.path.join(folder, "config"), os.path.join(etc, "records.config"))
        with open(os.path.join(etc, "remap.config"), "w") as file:
            file.write(f"map / http://127.0.0.1:{origin}/\n")
        with open(os.path.join(etc, "storage.config"), "w") as file:
            file.write(f"{folder}/cache 4G\n")
        with open(os.path.join(folder, "runroot.yaml"), "w") as file:
            file.write(TRAFFIC_SERVER_ROOT.format(dir=folder))

    command = ["traffic_server", "--run-root={dir}/runroot.yaml"]
    return bench.start("Traffic Server", TRAFFIC_SERVER, command, before=prepare)


def squid(bench, origin):
    def prepare(folder):
        # Its account in Debian, which it changes to.
        if os.geteuid() == 0:
            shutil.chown(folder, "proxy")

    return bench.start("Squid", SQUID, ["squid", "-N", "-f", "{config}"], before=prepare, origin=origin)


def start_installed(bench, origin):
    """Starts the caches that are installed. Returns their servers."""
    programs = (("varnishd", varnish), ("traffic_server", traffic_server), ("squid", squid))
    return [start(bench, origin) for program, start in programs if shutil.which(program)]
