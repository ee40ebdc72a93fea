# shellcheck shell=bash
# Helpers for the end-to-end tests, which source this file. They set: kept, the folder for logs, and
# patience, the timeout of a wait in seconds.
# shellcheck disable=SC2154

failed=()

# Runs a command with its output in the file $1. Do not call it in a condition, where `set -e` has
# no effect.
attempt() {
    local log=$1
    shift
    set +e
    (set -e; "$@") >"$log" 2>&1
    result=$?
    set -e
}

# Runs one test case ($1: its title) and prints one line. The output of the command is in the log.
check() {
    local promise=$1 started=$SECONDS log=$kept/logs/${1// /-}.log
    shift
    attempt "$log" "$@"
    if [ $result = 0 ]; then
        printf 'ok      %4s s  %s\n' $((SECONDS - started)) "$promise"
    else
        failed+=("$promise")
        tail -n 30 "$log" | sed 's/^/            /'
        printf 'FAILED  %4s s  %s, see %s\n' $((SECONDS - started)) "$promise" "$log"
    fi
}

# As check, but ends the run on failure, because the following steps depend on this one.
need() {
    check "$@"
    [ ${#failed[@]} = 0 ] || exit 1
}

# A separate command, because `!` hides a failure from `set -e`.
refute() { ! "$@"; }

until_true() {
    local left
    for ((left = patience * 5; left > 0; left--)); do
        ! "$@" || return 0
        sleep 0.2
    done
    echo "timeout after $patience s: $*"
    return 1
}
