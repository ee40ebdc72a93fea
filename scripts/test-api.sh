#!/bin/bash
# A longer trial of the API: schemathesis sends generated requests, valid and invalid ones, by the
# description at /openapi.json, and compares the responses with it.
#
#     scripts/test-api.sh          100 requests for each operation and phase; EXAMPLES changes this
#
# MILLPOND selects an existing binary, and SCHEMATHESIS an installed program; otherwise the script
# builds the one, and installs the other with pip into a folder of its own. The gateway listens on
# loopback and can reach loopback only. All files are removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
examples=${EXAMPLES:-100}
# How often gateway and origin are asked whether they are ready, ten times a second.
patience=300

folder=$(mktemp -d "${TMPDIR:-/tmp}/millpond-schemathesis-XXXXXX")
gateway=
origin=
clean_up() {
    for process in $gateway $origin; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap clean_up EXIT

if [ -z "${MILLPOND:-}" ]; then
    cargo build --locked --quiet
    MILLPOND=$(realpath "${CARGO_TARGET_DIR:-target}/debug/millpond")
fi
if [ -z "${SCHEMATHESIS:-}" ]; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet "schemathesis==$version"
    SCHEMATHESIS=$folder/venv/bin/schemathesis
fi

# Two free ports, and one of an origin.
read -r port proxy origin_port < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))')
mkdir "$folder/files"
head -c 3000 /dev/urandom | gzip >"$folder/files/x-1.0.tar.gz"
python3 -m http.server --bind 127.0.0.1 --directory "$folder/files" "$origin_port" \
    >/dev/null 2>&1 &
origin=$!
cat >"$folder/millpond.toml" <<EOF
[gateway]
listen = "127.0.0.1:$port"
state_dir = "$folder/state"
[proxy]
listen = "127.0.0.1:$proxy"
[cache]
dir = "$folder/cache"
[policy]
allow_networks = ["127.0.0.0/8"]
allow_hosts = ["127.0.0.1"]
ports = [443, "http:$origin_port"]
[fetch]
attempts = 1
[limits]
requests_per_second = 0
EOF
"$MILLPOND" serve --config "$folder/millpond.toml" >"$folder/log" 2>&1 &
gateway=$!
base=http://127.0.0.1:$port
for page in "$base/readyz" "http://127.0.0.1:$origin_port/"; do
    for _ in $(seq $patience); do
        curl -sf "$page" >/dev/null && break
        sleep 0.1
    done
done
curl -sf "$base/http://127.0.0.1:$origin_port/x-1.0.tar.gz" >/dev/null

# Events without end are not read. A generated URL has no record in most cases, so that valid data
# is not always accepted. After some wrong tokens each token of the client is refused for a while,
# which is no property of one operation. A cancelled job stays in the list.
trial() {
    "$SCHEMATHESIS" "$@" run "$base/openapi.json" --url "$base" \
        --header "Authorization: Bearer $(cat "$folder/state/admin_token")" \
        --header "Accept: application/json, */*" \
        --exclude-operation-id followEvents --exclude-operation-id followEventsHead \
        --exclude-checks positive_data_acceptance,ignored_auth,use_after_free \
        --max-examples "$examples" --request-timeout 30 --suppress-health-check all
}
# The program writes its notes into the current folder.
cd "$folder"
trial
# Once more with the URL of a file that exists, so that requests get behind the first check.
cat >known.toml <<EOF
[parameters]
"query.url" = "http://127.0.0.1:$origin_port/x-1.0.tar.gz"
EOF
trial --config-file known.toml
kill -0 "$gateway"
if grep -E 'panicked|level=ERROR' "$folder/log"; then
    echo "the gateway has logged errors" >&2
    exit 1
fi
