#!/bin/bash
# Installs the Debian packages that the tests need.
#
#     scripts/install-test-packages.sh              installs the missing ones; needs root
#     scripts/install-test-packages.sh --missing    prints the missing ones, and changes nothing
#
# Daemons of the packages are not started: the tests start them with their own configuration.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin

# Debian packages, each with a command or file that shows whether it is installed.
packages=(
    "nginx nginx"
    "libnginx-mod-stream /usr/lib/nginx/modules/ngx_stream_module.so"
    "iproute2 ip"
    "chromium chromium"
    "wget wget"
    "curl curl"
    "aria2 aria2c"
    "vsftpd vsftpd"
    "bind9 named"
    "git git"
    "python3-requests /usr/lib/python3/dist-packages/requests"
    "gcc gcc"
    "g++ g++"
    "libc6-dev /usr/include/stdio.h"
    "ca-certificates /etc/ssl/certs/ca-certificates.crt"
    "procps ps"
    "openssl openssl"
    "prometheus promtool"
    "python3-aiosmtpd /usr/lib/python3/dist-packages/aiosmtpd"
    "apt apt-get"
    "cpanminus cpanm"
    "createrepo-c createrepo_c"
    "dnf dnf"
    "fakeroot fakeroot"
    "gpg gpg"
    "gpg-agent gpg-agent"
    "make make"
    "pacman-package-manager pacman"
    "python3-pip /usr/lib/python3/dist-packages/pip"
    "rpm rpmbuild"
    "redis-server redis-server"
    "ruby gem"
    "nftables nft"
    "containerd containerd"
    "docker.io dockerd"
    "docker-registry docker-registry"
    "golang-github-containers-common /usr/share/containers/seccomp.json"
    "podman podman"
    "skopeo skopeo"
    "libnss-wrapper /usr/lib/$(uname -m)-linux-gnu/libnss_wrapper.so"
)

missing=()
for row in "${packages[@]}"; do
    read -r package probe <<<"$row"
    command -v "$probe" >/dev/null || [ -e "$probe" ] || missing+=("$package")
done

case ${1:-} in
    "") ;;
    --missing) echo "${missing[*]}"; exit 0 ;;
    *) echo "usage: scripts/install-test-packages.sh [--missing]" >&2; exit 2 ;;
esac
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "These Debian packages are missing: ${missing[*]}" >&2
    echo "Install them (apt-get install ${missing[*]}), or run this script as root." >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
