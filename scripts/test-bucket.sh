#!/bin/bash
# End-to-end test with a real bucket: Ceph's object gateway (radosgw), with one monitor and one
# in-memory OSD.
#
#     scripts/test-bucket.sh               tests Millpond; MILLPOND selects an existing binary
#     scripts/test-bucket.sh COMMAND...    runs a command while the bucket is up
#
# The command gets the bucket in the variables of Millpond's configuration: MILLPOND_S3__ENDPOINT,
# __BUCKET, __REGION, __ACCESS_KEY_ID, __SECRET_ACCESS_KEY and __PATH_STYLE. At the end, all
# processes are stopped and all files removed. As root, the test installs missing Debian packages.
# Exit code 77: the bucket could not be started here, and nothing was tested.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

packages=(ceph-mon ceph-osd radosgw ceph-common curl wget nginx)
programs=(ceph-mon ceph-osd radosgw ceph curl wget nginx)
# Timeout of a wait, in seconds.
patience=60

skip() {
    echo "SKIPPED: $1. NO REAL BUCKET WAS TESTED." >&2
    exit 77
}

is_installed() { type "${programs[@]}" >/dev/null 2>&1; }
if ! is_installed; then
    [ "$(id -u)" = 0 ] || skip "some of ${packages[*]} are missing, and only root can install them"
    # Do not start the packages' daemons. An existing policy stays in place.
    policy=/usr/sbin/policy-rc.d
    is_policy_ours=
    if [ ! -e $policy ]; then
        is_policy_ours=yes
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}"; } \
        >/dev/null 2>&1 || skip "the packages ${packages[*]} cannot be installed"
    [ -z "$is_policy_ours" ] || rm -f $policy
    is_installed || skip "the packages ${packages[*]} lack some of ${programs[*]}"
fi

kept=$(mkdir -p "${CARGO_TARGET_DIR:-target}/rgw" && cd "${CARGO_TARGET_DIR:-target}/rgw" && pwd)
# A short path, because socket paths are limited to 107 bytes.
work=$(mktemp -d /tmp/millpond-rgw.XXXXXX)
mkdir "$work/pids"
rm -rf "$kept/logs"
mkdir -p "$kept/logs"
# shellcheck source=scripts/lib/checks.sh
. scripts/lib/checks.sh

# Starts a program in the background, with its output in the log of that name.
start() {
    local name=$1
    shift
    "$@" >>"$kept/logs/$name.log" 2>&1 &
    echo $! >"$work/pids/$name"
}

# A zombie does not count as running.
is_running() { grep --quiet --invert-match '^State:.*Z' <(grep '^State:' "/proc/$1/status" 2>/dev/null); }

# Sends SIGTERM, and SIGKILL after 10 s.
stop() {
    local left pid
    pid=$(cat "$work/pids/$1")
    rm "$work/pids/$1"
    kill "$pid" 2>/dev/null || true
    for ((left = 100; left > 0; left--)); do
        is_running "$pid" || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

stop_everything() {
    local name
    for name in millpond origin radosgw osd mon; do
        [ ! -e "$work/pids/$name" ] || stop $name
    done
    rm -rf "$work"
}
trap stop_everything EXIT
trap 'exit 130' INT TERM

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a free loopback port outside the kernel's ephemeral port range.
free_port() {
    local port
    for port in $(shuf --input-range=20000-29999 --head-count=50); do
        is_open "$port" || { echo "$port" && return; }
    done
    return 1
}

# --- The store ---

mon_port=$(free_port)
export MILLPOND_S3__BUCKET=mill MILLPOND_S3__REGION=default MILLPOND_S3__PATH_STYLE=true
export MILLPOND_S3__ACCESS_KEY_ID=millpond-test MILLPOND_S3__SECRET_ACCESS_KEY=a-secret-of-the-trial
s3_port=$(free_port)
export MILLPOND_S3__ENDPOINT=http://127.0.0.1:$s3_port
export CEPH_CONF=$work/ceph.conf

# One replica, in memory, on loopback. Without a manager there are no placement group statistics,
# which the gateway does not need.
configure_store() {
    cat >"$CEPH_CONF" <<-END
	[global]
	fsid = $(cat /proc/sys/kernel/random/uuid)
	mon host = [v2:127.0.0.1:$mon_port]
	public addr = 127.0.0.1
	cluster addr = 127.0.0.1
	run dir = $work
	admin socket = $work/\$name.sock
	keyring = $work/keyring
	log to stderr = true
	err to stderr = true
	log file =
	mon cluster log file =
	mon cluster log to stderr = true
	mon data = $work/mon
	mon allow pool size one = true
	mon warn on pool no redundancy = false
	mon data avail crit = 1
	osd data = $work/osd
	osd objectstore = memstore
	memstore device bytes = 1073741824
	osd pool default size = 1
	osd pool default min size = 1
	osd pool default pg num = 4
	osd pool default pg autoscale mode = off
	osd crush chooseleaf type = 0
	rgw frontends = beast endpoint=127.0.0.1:$s3_port
	rgw data = $work/rgw
	END
    mkdir "$work/mon" "$work/osd" "$work/rgw"
    ceph-authtool --create-keyring "$work/keyring" --gen-key --name mon. --cap mon 'allow *'
    ceph-authtool "$work/keyring" --gen-key --name client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    monmaptool --create --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" \
        --addv a "[v2:127.0.0.1:$mon_port]" "$work/monmap"
    ceph-mon --mkfs --id a --monmap "$work/monmap" --keyring "$work/keyring"
}

start_monitor() {
    start mon ceph-mon --foreground --id a
    until_true ceph --connect-timeout 2 status >/dev/null
}

start_osd() {
    local uuid
    uuid=$(cat /proc/sys/kernel/random/uuid)
    ceph osd new "$uuid"
    ceph auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' >>"$work/keyring"
    ceph-osd --id 0 --mkfs --osd-uuid "$uuid"
    start osd ceph-osd --foreground --id 0
    until_true is_osd_up
}
is_osd_up() { ceph osd stat | grep '1 up'; }

start_gateway() {
    start radosgw radosgw --foreground --name client.admin
    until_true curl --silent --fail --max-time 5 "$MILLPOND_S3__ENDPOINT"
}

s3() {
    curl --silent --show-error --fail --max-time 20 --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 "aws:amz:$MILLPOND_S3__REGION:s3" \
        --user "$MILLPOND_S3__ACCESS_KEY_ID:$MILLPOND_S3__SECRET_ACCESS_KEY" "$@"
}

make_bucket() {
    radosgw-admin user create --uid=mill --display-name=mill \
        --access-key="$MILLPOND_S3__ACCESS_KEY_ID" --secret-key="$MILLPOND_S3__SECRET_ACCESS_KEY"
    s3 --request PUT "$MILLPOND_S3__ENDPOINT/$MILLPOND_S3__BUCKET"
}

# --- Millpond and its origin ---

binary=${MILLPOND:-${CARGO_TARGET_DIR:-target}/debug/millpond}
origin_port=$(free_port)
gateway_port=$(free_port)
origin=http://127.0.0.1:$origin_port
gateway=http://127.0.0.1:$gateway_port/$origin
prefix=sources/

# Starts nginx as origin. One of its files is large enough for a multipart upload.
start_origin() {
    local name
    mkdir "$work/origin"
    for name in small large held late; do
        head -c $((300 << 10)) /dev/urandom >"$work/origin/payload"
        [ $name != large ] || head -c $((20 << 20)) /dev/urandom >"$work/origin/payload"
        gzip -1 <"$work/origin/payload" >"$work/origin/$name-1.0.gz"
    done
    chmod -R a+rX "$work" "$work/origin"
    cat >"$work/nginx.conf" <<-END
	daemon off;
	pid $work/nginx.pid;
	events {}
	http {
	    server {
	        listen 127.0.0.1:$origin_port;
	        access_log $work/access.log;
	        root $work/origin;
	    }
	}
	END
    touch "$work/access.log"
    start origin nginx -e stderr -c "$work/nginx.conf"
    until_true is_open "$origin_port"
}
asked() { grep --count "GET /$1-1.0.gz " "$work/access.log" || true; }

configure_millpond() {
    # Use the test build, because its dependencies are already compiled.
    [ -n "${MILLPOND:-}" ] || cargo test --locked --test it --no-run
    cat >"$work/millpond.toml" <<-END
	[gateway]
	listen = "127.0.0.1:$gateway_port"
	state_dir = "$work/state"
	shutdown_grace = "5s"
	[proxy]
	listen = ""
	[cache]
	dir = "$work/cache"
	min_free = "1MiB"
	max_size = "1GiB"
	[policy]
	allow_networks = ["127.0.0.0/8"]
	ports = [$origin_port]
	[s3]
	prefix = "$prefix"
	multipart_threshold = "8MiB"
	END
    "$binary" check-config --config "$work/millpond.toml"
}

start_millpond() {
    start millpond "$binary" serve --config "$work/millpond.toml"
    until_true curl --silent --fail --output /dev/null "http://127.0.0.1:$gateway_port/healthz"
}

# Simulates a new machine with the same bucket and an empty disk.
empty_disk() {
    stop millpond
    rm -rf "$work/cache"
    start_millpond
}

digest_of() { sha256sum <"$work/origin/$1-1.0.gz" | cut -c 1-64; }
object_of() { digest_of "$1" | sed 's|^\(..\)|objects/\1/\1|'; }
record_of() {
    local key
    key=$(printf '%s/%s-1.0.gz' "$origin" "$1" | sha256sum | cut -c 1-64)
    echo "records/${key:0:2}/$key/$(digest_of "$1").json"
}
head_of() { s3 --head "$MILLPOND_S3__ENDPOINT/$MILLPOND_S3__BUCKET/$prefix$1"; }
is_uploaded() { head_of "$(object_of "$1")" && head_of "$(record_of "$1")"; }

# Millpond never redirects curl (gateway.relay_agents), so curl gets Millpond's own response.
relayed() {
    curl --silent --show-error --fail --max-time 60 --dump-header "$work/head" --output "$work/got" "${@:2}" "$gateway/$1-1.0.gz"
}

# --- Test cases ---

what_is_stored_is_uploaded() {
    relayed small
    cmp "$work/got" "$work/origin/small-1.0.gz"
    until_true is_uploaded small
    s3 --output "$work/got" "$MILLPOND_S3__ENDPOINT/$MILLPOND_S3__BUCKET/$prefix$(object_of small)"
    cmp "$work/got" "$work/origin/small-1.0.gz"
}

large_goes_in_parts() {
    relayed large
    until_true is_uploaded large
    # The ETag of a multipart upload ends in the number of parts.
    head_of "$(object_of large)" | grep -i '^etag: ".*-[0-9]*"'
}

redirect_leads_to_the_bytes() {
    local name
    empty_disk
    for name in small large; do
        wget --server-response --no-verbose --tries=1 --timeout=60 --output-document="$work/got" "$gateway/$name-1.0.gz" 2>&1 |
            tee "$work/head"
        grep -i "Location: $MILLPOND_S3__ENDPOINT/.*X-Amz-Signature=" "$work/head"
        cmp "$work/got" "$work/origin/$name-1.0.gz"
        [ "$(asked $name)" = 1 ]
    done
}

head_and_range_are_relayed() {
    local size
    size=$(stat --format %s "$work/origin/large-1.0.gz")
    empty_disk
    relayed large --head
    cat "$work/head"
    grep -i "^content-length: $size" "$work/head"
    empty_disk
    relayed large --range 1000000-1999999
    grep '^HTTP/1.1 206' "$work/head"
    cmp "$work/got" <(tail -c +1000001 "$work/origin/large-1.0.gz" | head -c 1000000)
    [ "$(asked large)" = 1 ]
}

# The bucket goes down, and clients must not notice.
hits_go_on() {
    relayed held
    stop radosgw
    relayed held
    cmp "$work/got" "$work/origin/held-1.0.gz"
    [ "$(asked held)" = 1 ]
}

misses_come_from_upstream() {
    relayed late
    cmp "$work/got" "$work/origin/late-1.0.gz"
    [ "$(asked late)" = 1 ]
}

# Neither object is on disk. Millpond has seen the first in the bucket before the outage, but not
# the second.
bucket_is_replaced_by_upstream() {
    relayed large
    cmp "$work/got" "$work/origin/large-1.0.gz"
    relayed small
    cmp "$work/got" "$work/origin/small-1.0.gz"
    [ "$(asked large) $(asked small)" = "2 2" ]
}

queue_drains() {
    start_gateway
    until_true is_uploaded late
}

need "Ceph configuration" configure_store
need "Ceph monitor" start_monitor
need "Ceph OSD" start_osd
need "Ceph object gateway" start_gateway
need "bucket" make_bucket
echo "$MILLPOND_S3__ENDPOINT/$MILLPOND_S3__BUCKET is up after $SECONDS s"
[ $# = 0 ] || { result=0; "$@" || result=$?; exit $result; }

need "origin" start_origin
need "Millpond configuration is valid" configure_millpond
need "Millpond is up" start_millpond
check "stored objects and records are uploaded" what_is_stored_is_uploaded
check "a large object is uploaded in parts" large_goes_in_parts
check "with an empty disk clients are redirected to the bucket" redirect_leads_to_the_bytes
check "HEAD and ranges are relayed from the bucket" head_and_range_are_relayed
check "disk hits work without the bucket" hits_go_on
check "misses come from the origin without the bucket" misses_come_from_upstream
check "bucket objects come from the origin without the bucket" bucket_is_replaced_by_upstream
check "pending uploads complete when the bucket is back" queue_drains

[ ${#failed[@]} = 0 ] || { echo "FAILED: ${#failed[@]}, after $SECONDS s" >&2; exit 1; }
echo "All passed, in $SECONDS s."
