# shellcheck shell=bash disable=SC2154
# Container engine for scripts/test-compose.sh, which sources this file: packages, network, dockerd, base
# images.

# Network namespace of the engine, and the first three octets of the link to the host.
namespace=millpond-test
uplink=172.31.250
# Uses the classic builder, which every engine has, and not a plugin of the client.
export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0

# Debian packages, each with a command that shows whether it is installed.
packages=(
    "docker.io dockerd"
    "docker-compose docker-compose"
    "debootstrap debootstrap"
    "iptables iptables-save"
    "iproute2 ip"
    "openssl openssl"
    "wget wget"
    "curl curl"
    "git git"
    "ca-certificates update-ca-certificates"
)

install_packages() {
    local row package probe missing=()
    for row in "${packages[@]}"; do
        read -r package probe <<<"$row"
        command -v "$probe" >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # Do not start the packages' daemons: the engine of this test has its own folders.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        # shellcheck disable=SC2064
        trap "rm -f $policy" RETURN
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
}

# Allows one run at a time. The kernel releases the lock when the run ends, even after a kill.
# Removes the leftovers of a killed run: an engine in the namespace, and firewall rules.
reclaim_network() {
    local pids
    exec 9>/run/lock/$namespace
    if ! flock --nonblock 9; then
        echo "another run of scripts/test-compose.sh is active" >&2
        exit 1
    fi
    [ -e /run/netns/$namespace ] || return 0
    pids=$(ip netns pids $namespace)
    # shellcheck disable=SC2086 # One number each.
    [ -z "$pids" ] || kill $pids || true
    until_true nobody_is_inside
    until ! firewall --delete --delete 2>/dev/null; do :; done
    ip netns delete $namespace
}

nobody_is_inside() { [ -z "$(ip netns pids $namespace)" ]; }

inside() { nsenter --net=/run/netns/$namespace "$@"; }

# The engine's bridges, ports and firewall rules are in a namespace. Its traffic is masqueraded
# behind the host's address.
make_network() {
    cat /proc/sys/net/ipv4/ip_forward >"$work/ip_forward"
    ip netns add $namespace
    ip link add name $namespace type veth peer name eth0 netns $namespace
    ip address add $uplink.1/24 dev $namespace
    ip link set $namespace up
    ip -n $namespace address add $uplink.2/24 dev eth0
    ip -n $namespace link set eth0 up
    ip -n $namespace link set lo up
    ip -n $namespace route add default via $uplink.1
    echo 1 >/proc/sys/net/ipv4/ip_forward
    firewall --append --insert
}

firewall() {
    iptables --table nat "$1" POSTROUTING --source $uplink.0/24 --jump MASQUERADE
    iptables "$2" FORWARD --in-interface $namespace --jump ACCEPT
    iptables "$2" FORWARD --out-interface $namespace --jump ACCEPT
}

engine=
start_engine() {
    reclaim_network
    attempt "$kept/logs/network.log" make_network
    [ $result = 0 ] || skip "cannot create a network namespace, see $kept/logs/network.log"
    nsenter --net=/run/netns/$namespace dockerd --data-root "$kept/engine" --exec-root "$work/exec" \
        --pidfile "$work/pid" --host "$DOCKER_HOST" --containerd-namespace $namespace >"$kept/logs/engine.log" 2>&1 9>&- &
    engine=$!
    until_true engine_answers_or_ended
    docker info >/dev/null 2>&1 || skip "the engine does not start, see $kept/logs/engine.log"
    forget_containers
}

# Removes containers and networks, also those of a killed run. Images stay for the next run.
forget_containers() {
    local containers
    containers=$(docker ps --all --quiet)
    # shellcheck disable=SC2086 # One word each.
    [ -z "$containers" ] || docker rm --force --volumes $containers >/dev/null
    docker network prune --force >/dev/null
}

engine_answers_or_ended() { docker info >/dev/null 2>&1 || ! kill -0 $engine 2>/dev/null; }

stop_everything() {
    set +e
    exec 3>&2 2>"$kept/logs/end.log"
    if [ -e "$work/origin.yml" ]; then
        compose --profile three logs --no-color >"$kept/logs/containers.log"
        compose --profile three down --volumes --timeout 5
    fi
    [ -z "$engine" ] || { kill $engine; wait $engine; }
    if [ -e "$work/ip_forward" ]; then
        firewall --delete --delete
        ip netns delete $namespace
        cat "$work/ip_forward" >/proc/sys/net/ipv4/ip_forward
    fi
    rm -rf "$work"
}

# Builds debian:bookworm-slim like the published image: no documentation, no package lists. The
# image trusts the host's certificates, because the network may intercept TLS.
make_debian() {
    local mirror root=$work/debian
    # shellcheck disable=SC2016 # apt's own variables.
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "bookworm" && $2 == "main" { print $3; exit }')
    debootstrap --variant=minbase bookworm "$root" "$mirror"
    rm -rf "$root"/usr/share/{doc,man,locale}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
    printf 'path-exclude /usr/share/%s/*\n' doc man locale >"$root/etc/dpkg/dpkg.cfg.d/slim"
    cat >"$root/etc/apt/apt.conf.d/slim" <<-'END'
	Dir::Cache::pkgcache "";
	Dir::Cache::srcpkgcache "";
	Acquire::Languages "none";
	DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
	END
    install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/machine.crt"
    tar -C "$root" -c . | docker import - debian:bookworm-slim
    rm -rf "$root"
}

# $1: tag of the first base image in the Dockerfile.
make_rust() {
    local context=$work/rust
    mkdir "$context"
    case $mode in
        compiled) stand_in_for_cargo >"$context/Dockerfile" ;;
        *) host_compiler >"$context/Dockerfile" ;;
    esac
    docker build --tag "$1" "$context"
    rm -rf "$context"
}

# Writes an image with the host's Rust.
host_compiler() {
    tar -C "$(rustc --print sysroot)" -cf "$context/rust.tar" bin/cargo bin/rustc lib
    cat <<-END
	FROM debian:bookworm-slim
	RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc g++ libc6-dev
	ADD rust.tar /usr/local/
	END
    if [ $mode = unoptimized ]; then
        echo "ENV" CARGO_PROFILE_RELEASE_{OPT_LEVEL=0,DEBUG=0,LTO=off,CODEGEN_UNITS=16}
    fi
}

# Writes an image whose cargo only puts this checkout's binary into place.
stand_in_for_cargo() {
    # The build of the tests: `cargo build` selects other features of the dependencies, and would
    # compile them again.
    cargo test --locked --quiet --no-run --test it
    strip --strip-debug -o "$context/millpond" "${CARGO_TARGET_DIR:-target}/debug/millpond"
    printf '#!/bin/sh\ninstall -D /usr/local/share/millpond target/release/millpond\n' >"$context/cargo"
    cat <<-END
	FROM debian:bookworm-slim
	COPY cargo /usr/local/bin/
	RUN chmod 755 /usr/local/bin/cargo
	COPY millpond /usr/local/share/
	END
}

make_bases() {
    local rust
    rust=$(awk '/^FROM rust:/ { print $2 }' Dockerfile)
    docker image inspect debian:bookworm-slim >/dev/null || make_debian
    # Cached layers are used unless the toolchain or the binary has changed.
    make_rust "$rust"
}
