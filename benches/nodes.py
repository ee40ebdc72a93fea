"""Nodes of one cluster, each on a loopback address of its own, for the benchmarks of clusters."""

import json
import os
import subprocess

NODE = """
[gateway]
name = "node-{host}"
listen = "{host}:{port}"
state_dir = "{dir}/state"
miss = "relay"

[proxy]
listen = ""

[cache]
dir = "{dir}/cache"
max_size = "4GiB"
min_free = "1GiB"

[cluster]
peers = {peers}
secret = "a secret of all nodes"

[policy]
allow_networks = ["127.0.0.0/8"]
ports = [{origin}]

[limits]
{limit}

[log]
level = "error"
"""


def start_node(binary, folder, host, hosts, **values):
    """Starts the node at `host`, whose peers are the other `hosts`. Its files are below `folder`.

    The values are `port` of all nodes, `origin`, the port of the origin, and `limit`, a line of the section [limits].
    """
    own = os.path.join(folder, host)
    os.makedirs(own, exist_ok=True)
    config = os.path.join(own, "millpond.toml")
    peers = json.dumps([f"http://{peer}:{values['port']}" for peer in hosts if peer != host])
    with open(config, "w") as file:
        file.write(NODE.format(dir=own, host=host, peers=peers, **values))
    return subprocess.Popen([binary, "serve", "--config", config], cwd=own)
