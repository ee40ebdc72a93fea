#!/bin/bash
# Installs the files of a package below a folder, for the .deb and the .rpm alike.
#
#     packaging/stage.sh BINARY FOLDER deb|rpm
#
# BINARY is stripped. Its debug sections go to FOLDER/usr/lib/debug, for a package of their own.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

[ $# = 3 ] || { echo "usage: packaging/stage.sh BINARY FOLDER deb|rpm" >&2; exit 2; }
binary=$1 root=$2
case $3 in
    deb) zsh_folder=usr/share/zsh/vendor-completions ;;
    rpm) zsh_folder=usr/share/zsh/site-functions ;;
    *) echo "unknown kind of package: $3" >&2; exit 2 ;;
esac
documents=usr/share/doc/millpond

# Installs a file with its folders: mode, source, destination below the root.
put() { install -D --mode="$1" "$2" "$root/$3"; }

stage_binary() {
    local id debug
    id=$(readelf --notes "$binary" | sed -n 's/^ *Build ID: //p')
    [ -n "$id" ] || { echo "$binary has no build ID" >&2; exit 1; }
    debug=usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug
    mkdir -p "$root/usr/bin" "$root/${debug%/*}"
    objcopy --only-keep-debug "$binary" "$root/$debug"
    chmod 644 "$root/$debug"
    objcopy --strip-all --add-gnu-debuglink="$root/$debug" "$binary" "$root/usr/bin/millpond"
    chmod 755 "$root/usr/bin/millpond"
}

# The program writes its completions and manual pages itself.
stage_generated() {
    local pages=$root/usr/share/man/man1
    mkdir -p "$pages" "$root/$zsh_folder" "$root"/usr/share/{bash-completion/completions,fish/vendor_completions.d}
    "$binary" completions bash >"$root/usr/share/bash-completion/completions/millpond"
    "$binary" completions fish >"$root/usr/share/fish/vendor_completions.d/millpond.fish"
    "$binary" completions zsh >"$root/$zsh_folder/_millpond"
    "$binary" man "$pages" >/dev/null
    gzip --best --no-name "$pages"/*.1
}

stage_service() {
    local unit
    for unit in millpond millpond-nginx; do
        put 644 packaging/systemd/$unit.service usr/lib/systemd/system/$unit.service
    done
    put 644 packaging/systemd/sysusers.conf usr/lib/sysusers.d/millpond.conf
    put 644 packaging/systemd/tmpfiles.conf usr/lib/tmpfiles.d/millpond.conf
    put 644 packaging/logrotate.conf etc/logrotate.d/millpond
    put 644 packaging/millpond.toml etc/millpond/millpond.toml
    put 644 config/rules.toml etc/millpond/rules.toml
}

# The files of nginx/, with the addresses and folders of one machine.
stage_nginx() {
    local file
    while read -r file; do
        put 644 "nginx/$file" "etc/millpond/nginx/$file"
    done < <(cd nginx && find . -type f ! -name Dockerfile)
    put 644 packaging/nginx/local.conf etc/millpond/nginx/local.conf
    cd "$root/etc/millpond/nginx"
    sed -i -e 's/ Copy the whole folder to$/ This is the whole/' \
        -e 's|^# /etc/nginx\.$|# configuration of millpond-nginx.service.|' \
        -e '/^# Stored files are readable for their group/d' -e '/^user /d' \
        -e 's|^pid .*|pid /run/millpond-nginx/nginx.pid;|' \
        -e 's|^error_log .*|error_log stderr warn;|' \
        -e 's|^    error_log .*|    error_log stderr crit;|' \
        -e 's|^http {|&\n    include local.conf;|' \
        -e 's|^include /etc/nginx/modules-enabled.*|&\ninclude /usr/share/nginx/modules/*.conf;|' nginx.conf
    sed -i 's|/var/log/nginx/|/var/log/millpond/|' http.conf
    sed -i 's|/etc/nginx/tls/|/etc/millpond/nginx/tls/|' tls.conf client_certificates.conf
    sed -i -e 's/ millpond:8080;/ 127.0.0.1:8080;/' -e 's/ millpond:3128;/ 127.0.0.1:3129;/' upstreams/one/*.conf
    cd - >/dev/null
    # A changed file in nginx/ must not lead to a package that needs files of another one.
    if grep --recursive --line-number -e www-data -e /var/log/nginx -e '^    server millpond:' \
        "$root"/etc/millpond/nginx/{*.conf,upstreams/one}; then
        echo "these lines of nginx/ do not fit a package; adapt packaging/stage.sh" >&2
        exit 1
    fi
}

stage_documents() {
    put 644 LICENSE $documents/copyright
    put 644 CHANGELOG.md $documents/CHANGELOG.md
    put 644 docs/guides/packages.md $documents/packages.md
    put 644 config/millpond.toml $documents/millpond.toml
    put 644 config/alerts.yml $documents/alerts.yml
    put 644 config/grafana-dashboard.json $documents/grafana-dashboard.json
    packaging/sbom.py >"$root/$documents/millpond.cdx.json"
}

stage_binary
stage_generated
stage_service
stage_nginx
stage_documents
