#!/bin/bash
# End-to-end test of docker-compose.yml: builds and starts the images from a clean clone, and tests
# them through the published ports.
#
#     scripts/test-compose.sh          compiles Millpond in its image, as an operator does
#     scripts/test-compose.sh quick    takes the unoptimized binary of this checkout instead, if the
#                                      machine has the Debian of the image; else compiles without
#                                      optimization
#
# Needs root. The test runs its own engine in its own network namespace, and removes both at the
# end. Base images and layers stay in target/compose for the next run. No image is pulled: the base
# images are built from Debian packages and the host's Rust. COMPOSE selects another docker-compose
# command. Exit code 77: no engine can run here, and nothing was tested.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

# image_mb: maximum size of an image above Debian's, in megabytes.
case ${1:-} in
    "") mode=release image_mb=60 ;;
    quick) mode=unoptimized image_mb=130 ;;
    *) echo "usage: scripts/test-compose.sh [quick]" >&2; exit 2 ;;
esac
if [ $mode = unoptimized ] && grep -q VERSION_CODENAME=bookworm /etc/os-release; then
    mode=compiled
fi

skip() {
    echo "SKIPPED: $1. docker-compose.yml WAS NOT TESTED." >&2
    exit 77
}

[ "$(id -u)" = 0 ] || skip "only root can start an engine"

checkout=$PWD
kept=$(mkdir -p "${CARGO_TARGET_DIR:-target}/compose" && cd "${CARGO_TARGET_DIR:-target}/compose" && pwd)
# A short path, because socket paths are limited to 107 bytes.
work=$(mktemp -d /tmp/millpond-compose.XXXXXX)
export COMPOSE_PROJECT_NAME=millpond-test
subnet=172.31.253
origin=http://$subnet.50
gateway=http://127.0.0.1/$origin
proxy=http://127.0.0.1:3128
# Timeout of a wait, in seconds.
patience=60

# shellcheck source=scripts/lib/checks.sh
. scripts/lib/checks.sh
# shellcheck source=scripts/lib/engine.sh
. scripts/lib/engine.sh

compose() {
    (cd "$work/clone" && ${COMPOSE:-docker-compose} --file docker-compose.yml --file "$work/origin.yml" "$@")
}

clean_clone() {
    git clone --quiet "$checkout" "$work/clone"
    git -C "$work/clone" log -1 --oneline
}

# Keeps only the layers of the last build for the next run.
build() {
    compose build
    docker build --quiet --target build --tag "millpond-build:$mode" "$work/clone"
    docker container prune --force
    docker image prune --force
}

# An interrupted run leaves its containers and volumes. Its cache has other files by these names.
remove_leftovers() { compose --profile three down --volumes --remove-orphans --timeout 5; }

# Creates an origin on the private network: nginx with files, one of them slow, over http and https.
make_origin() {
    local name
    mkdir "$work/origin"
    for name in large proxied slow {1..12}; do
        head -c $((300 << 10)) /dev/urandom >"$work/origin/payload"
        [ "$name" != large ] || head -c $((64 << 20)) /dev/urandom >"$work/origin/payload"
        [ "$name" != slow ] || head -c $((4 << 20)) /dev/urandom >"$work/origin/payload"
        gzip -1 <"$work/origin/payload" >"$work/origin/$name-1.0.gz"
    done
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=origin -keyout "$work/origin/key" -out "$work/origin/cert"
    cat >"$work/origin/nginx.conf" <<-'END'
	pid /run/nginx.pid;
	events {}
	http {
	    server {
	        listen 80;
	        listen 443 ssl;
	        ssl_certificate cert;
	        ssl_certificate_key key;
	        access_log /var/log/nginx/access.log;
	        root /origin;
	        location = /slow-1.0.gz { limit_rate 512k; }
	    }
	}
	END
    chmod -R a+rX "$work/origin"
    cat >"$work/origin.yml" <<-END
	services:
	  origin:
	    image: millpond-nginx
	    command: [nginx, -c, /origin/nginx.conf, -g, "daemon off;"]
	    volumes: ["$work/origin:/origin:ro"]
	    tmpfs: ["/run:uid=10001,gid=10001", "/var/lib/nginx:uid=10001,gid=10001"]
	    networks: {private: {ipv4_address: $subnet.50}}
	END
    for name in millpond millpond-1 millpond-2 millpond-3; do
        printf '  %s:\n    environment: {MILLPOND_POLICY__ALLOW_NETWORKS: %s}\n' $name "'[\"$subnet.50/32\"]'"
    done >>"$work/origin.yml"
}

id_of() { docker ps --all --quiet --filter label=com.docker.compose.service="$1"; }
log_of() { docker logs "$(id_of "$1")" 2>&1; }
is_healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(id_of "$1")")" = healthy ]; }

are_healthy() {
    local service
    for service in "$@"; do
        until_true is_healthy "$service"
    done
}

# Downloads $2 with the remaining arguments for wget, and compares it with the origin's file $1.
fetch() {
    local name=$1 url=$2
    shift 2
    rm -f "$work/got"
    inside wget --server-response --progress=dot:giga --tries=1 --timeout=60 --output-document="$work/got" \
        "$@" "$url" 2>&1 | tee "$work/head"
    cmp "$work/got" "$work/origin/$name"
}

is_hit() { fetch "$1" "$gateway/$1" && grep -i 'Cache-Status: .*; hit' "$work/head"; }
is_proxy_hit() { fetch "$1" "$origin/$1" -e http_proxy="$proxy" && grep -i 'Cache-Status: .*; hit' "$work/head"; }
sent_bytes() { docker exec "$(id_of "$1")" cat /sys/class/net/eth0/statistics/tx_bytes; }
asked() { log_of origin | grep -c "GET /$1 "; }
started_at() { docker inspect --format '{{.State.StartedAt}}' "$(id_of "$1")"; }

# --- Test cases ---

first_is_redirect() {
    fetch large-1.0.gz "$gateway/large-1.0.gz"
    grep "Location: $origin/large-1.0.gz" "$work/head"
    # Clients that come during the fetch are collapsed onto it.
    until_true is_hit large-1.0.gz
    [ "$(asked large-1.0.gz)" = 2 ]
}

hit_is_sent_by_nginx() {
    local before after
    before=$(sent_bytes millpond)
    is_hit large-1.0.gz
    after=$(sent_bytes millpond)
    echo "Millpond sent $((after - before)) bytes"
    [ $((after - before)) -lt $((1 << 20)) ]
    refute grep -i 'X-Accel' "$work/head"
    # nginx writes its log once a second.
    until_true has_logged_large
}

has_logged_large() { log_of nginx | grep 'large-1.0.gz" 200 '; }

clients_address_is_seen() { log_of millpond | grep 'large-1.0.gz' | grep -F "$subnet.1"; }

proxy_stores() {
    fetch proxied-1.0.gz "$origin/proxied-1.0.gz" -e http_proxy="$proxy"
    until_true is_proxy_hit proxied-1.0.gz
    [ "$(asked proxied-1.0.gz)" = 1 ]
}

proxy_tunnels() {
    fetch proxied-1.0.gz "https://${origin#http://}/proxied-1.0.gz" -e https_proxy="$proxy" --no-check-certificate
    log_of millpond | grep -i connect
}

only_nginx_is_published() {
    docker ps --format '{{.Names}} {{.Ports}}'
    [ -z "$(docker port "$(id_of millpond)")" ]
    refute inside curl --silent --show-error --max-time 5 http://127.0.0.1:8080/healthz
    [ "$(docker port "$(id_of nginx)" | sort)" = $'3128/tcp -> 0.0.0.0:3128\n80/tcp -> 0.0.0.0:80' ]
}

rights_are_few() {
    local service
    for service in nginx millpond; do
        docker inspect --format '{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}}' "$(id_of $service)" >"$work/limits"
        grep -x "1024 $((4 << 30))" "$work/limits"
        docker exec "$(id_of $service)" cat /proc/1/status >"$work/status"
        grep -P '^Uid:\t10001\t10001' "$work/status"
        grep -P '^CapEff:\t0{16}$' "$work/status"
        grep -P '^NoNewPrivs:\t1$' "$work/status"
        refute docker exec "$(id_of $service)" touch /usr/local/mark /var/mark
    done
    docker exec "$(id_of millpond)" touch /var/lib/millpond/cache/mark
    refute docker exec "$(id_of nginx)" touch /var/lib/millpond/cache/mark
}

images_are_small() {
    local image debian size
    debian=$(docker image inspect --format '{{.Size}}' debian:bookworm-slim)
    for image in millpond millpond-nginx; do
        size=$(docker image inspect --format '{{.Size}}' $image)
        echo "$image: $((size / 1000000)) MB, of which Debian $((debian / 1000000)) MB"
        [ $((size - debian)) -lt $((image_mb * 1000000)) ]
        docker run --rm --entrypoint sh $image -c \
            'for tool in cc gcc g++ ld as make cargo rustc; do ! command -v $tool || exit 1; done'
    done
}

answers() { [ "$(inside curl --silent --output /dev/null --write-out '%{http_code}' "$gateway/$1")" = "$2" ]; }

reload_reads_the_file() {
    local before config=$work/clone/config/compose.toml
    before=$(started_at millpond)
    cp "$config" "$work/compose.toml"
    printf '\n[policy]\ndeny_suffixes = [".gz"]\n' >>"$config"
    compose kill -s HUP millpond
    until_true answers large-1.0.gz 403
    cp "$work/compose.toml" "$config"
    compose kill -s HUP millpond
    compose kill -s HUP nginx
    until_true answers large-1.0.gz 200
    is_hit large-1.0.gz
    [ "$(started_at millpond)" = "$before" ]
}

restart_keeps_the_cache() {
    compose restart
    are_healthy nginx millpond
    is_hit large-1.0.gz
}

# Stops Millpond during a download through the proxy that takes eight seconds.
stop_lets_a_download_end() {
    local download
    fetch slow-1.0.gz "$origin/slow-1.0.gz" -e http_proxy="$proxy" &
    download=$!
    until_true test -s "$work/got"
    compose stop millpond
    wait $download
    compose start millpond
    are_healthy millpond
    is_hit slow-1.0.gz
}

down_and_up_keeps_the_cache() {
    compose down
    compose up -d
    are_healthy nginx millpond
    is_hit large-1.0.gz
}

three_come_up() {
    compose down
    compose --profile three up -d balancer
    are_healthy balancer millpond-1 millpond-2 millpond-3
    compose up -d --no-deps origin
    [ -z "$(id_of nginx)$(id_of millpond)" ]
    is_hit large-1.0.gz
}

# Requests hits until the file "enough" exists; prints their number and the wrong responses.
keep_asking() {
    local name count=0
    while [ ! -e "$work/enough" ] && [ -e "$work/origin" ]; do
        for name in {1..12}; do
            count=$((count + 1))
            inside curl --silent --show-error --fail --max-time 30 "$gateway/$name-1.0.gz" |
                cmp - "$work/origin/$name-1.0.gz" || echo "wrong: $name, request $count"
        done
    done
    echo "$count requests"
}

# Kills each instance. The engine restarts it.
crashes_are_not_seen() {
    local service name asking before
    for name in {1..12}; do
        fetch "$name-1.0.gz" "$origin/$name-1.0.gz" -e http_proxy="$proxy"
    done
    keep_asking >"$work/asked" 2>&1 &
    asking=$!
    for service in millpond-1 millpond-2 millpond-3; do
        before=$(started_at $service)
        kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$(id_of $service)")"
        until_true has_started_again $service "$before"
        are_healthy $service
    done
    touch "$work/enough"
    wait $asking
    cat "$work/asked"
    refute grep wrong "$work/asked"
    for service in millpond-1 millpond-2 millpond-3; do
        echo "$service: $(log_of $service | grep -c hit) hits"
    done
}
has_started_again() { [ "$(started_at "$1")" != "$2" ]; }

trap stop_everything EXIT
rm -rf "$kept/logs"
mkdir -p "$kept/logs"
need "packages" install_packages
start_engine
need "base images" make_bases
need "clean clone" clean_clone
need "files at the origin" make_origin
need "docker-compose build" build
need "no volumes of an earlier run" remove_leftovers
need "docker-compose up" compose up -d
need "nginx and Millpond are healthy" are_healthy nginx millpond

check "the first client is redirected, and Millpond fetches once" first_is_redirect
check "nginx sends hits from the cache volume" hit_is_sent_by_nginx
check "Millpond logs the client address behind nginx" clients_address_is_seen
check "the proxy port stores after one origin request" proxy_stores
check "the proxy port tunnels https" proxy_tunnels
check "only nginx's ports are published" only_nginx_is_published
check "containers run unprivileged" rights_are_few
check "the images are small and contain no compiler" images_are_small
check "SIGHUP reloads the configuration" reload_reads_the_file
check "docker-compose restart keeps the cache" restart_keeps_the_cache
check "SIGTERM lets a download complete" stop_lets_a_download_end
check "down and up keep the cache" down_and_up_keeps_the_cache
check "three instances share one cache" three_come_up
check "no request fails while each of three instances crashes" crashes_are_not_seen

[ ${#failed[@]} = 0 ] || { echo "FAILED: ${#failed[@]}, after $SECONDS s" >&2; exit 1; }
echo "All passed, in $SECONDS s. $(grep -h MB "$kept"/logs/the-images*.log | paste -s -d ';')"
