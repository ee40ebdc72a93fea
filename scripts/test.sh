#!/bin/bash
# Test command: runs all checks that a change must pass.
#
#     scripts/test.sh          format, lints, tests, an end-to-end test with a real bucket
#                              (test-bucket.sh), licenses and sources of the dependencies, a short
#                              fuzz run, and an end-to-end test of docker-compose.yml with its own
#                              engine (test-compose.sh)
#     scripts/test.sh quick    format, lints and tests only
#
# Calls install-test-packages.sh, and changes nothing else outside the checkout. The full output of
# each step is in target/run.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

cargo_deny_version=0.20.2
fuzz_seconds=63

# `compiling` and `waiting` run at the same time, after `steps`.
case ${1:-} in
    "") steps=(fmt clippy test) compiling=(deny fuzz) waiting=(rgw compose) ;;
    quick) steps=(fmt clippy test) compiling=() waiting=() ;;
    *) echo "usage: scripts/test.sh [quick]" >&2; exit 2 ;;
esac
all=("${steps[@]}" "${compiling[@]}" "${waiting[@]}")
logs=${CARGO_TARGET_DIR:-target}/run
tools=${CARGO_TARGET_DIR:-target}/tools
mkdir -p "$logs"

run_fmt() { cargo fmt --all --check; }
run_clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }
# Most tests wait for a program or a timeout, so more of them than cores run at once.
run_test() { RUST_TEST_THREADS=${RUST_TEST_THREADS:-3} cargo test --locked --no-fail-fast; }

run_deny() {
    local deny=$tools/bin/cargo-deny
    if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $cargo_deny_version" ]; then
        # An unoptimized build takes a fraction of the time, and the check only runs for a second.
        cargo install --locked --debug --root "$tools" --target-dir "$tools/build" "cargo-deny@$cargo_deny_version"
        rm -rf "$tools/build"
    fi
    "$deny" --locked --workspace check licenses bans sources
}

run_rgw() { scripts/test-bucket.sh; }
run_packaging() { scripts/test-packages.sh; }
run_compose() { scripts/test-compose.sh quick; }
run_fuzz() { fuzz/run.sh all $fuzz_seconds; }

# Prints the summary of a successful step.
notes() {
    case $1 in
        test) awk '/^test result:/ { passed += $4; ignored += $8 } END { print passed " passed, " ignored " ignored" }' "$2" ;;
        deny) grep -h -o '\(licenses\|bans\|sources\) ok.*' "$2" | head -n 1 || true ;;
        rgw | packaging | compose) tail -n 1 "$2" ;;
        fuzz) grep -h '^fuzz ' "$2" | sed 's/^fuzz //' | paste -s -d ';' | sed 's/;/; /g' || true ;;
    esac
}

# Exit code of a step that cannot run on this machine. Such a step does not count as passed.
skipped_code=77
# Runs a step, and writes `passed`, `skipped` or `failed` into its result file.
step() {
    local name=$1 title=$2 log=$logs/$1.log result=$logs/$1.result started=$SECONDS
    shift 2
    printf '%-10s %s\n' "$name" "$title"
    # The step runs in a subshell: `set -e` has no effect in a function that is part of a condition.
    local code=0
    set +e
    (set -e; "$@") >"$log" 2>&1
    code=$?
    set -e
    if [ $code = 0 ]; then
        echo passed >"$result"
        printf '%-10s ok, %s s  %s\n' "$name" $((SECONDS - started)) "$(notes "$name" "$log")"
    elif [ $code = $skipped_code ]; then
        echo skipped >"$result"
        printf '%-10s SKIPPED after %s s: %s\n' "$name" $((SECONDS - started)) "$(tail -n 1 "$log")"
    else
        echo failed >"$result"
        sed 's/^/    /' "$log" | tail -n 120
        printf '%-10s FAILED after %s s, see %s\n' "$name" $((SECONDS - started)) "$log"
    fi
}

# Prints the names of the steps without this result.
steps_other_than() {
    local name
    for name in "${all[@]}"; do
        grep --quiet --line-regexp --extended-regexp "$1" "$logs/$name.result" || printf '%s ' "$name"
    done
}

missing=$(scripts/install-test-packages.sh --missing)
if [ -n "$missing" ]; then
    step packages "install $missing" scripts/install-test-packages.sh
    [ "$(cat "$logs/packages.result")" = passed ] || exit 1
fi
for tool in cargo rustc; do
    if ! command -v $tool >/dev/null; then
        echo "$tool is missing: install Rust with rustup" >&2
        exit 1
    fi
done
for component in fmt clippy; do
    if ! cargo $component --version >/dev/null 2>&1; then
        echo "cargo $component is missing: rustup component add ${component/fmt/rustfmt}" >&2
        exit 1
    fi
done

declare -A titles=(
    [fmt]="cargo fmt --check"
    [clippy]="cargo clippy, with warnings as errors"
    [test]="cargo test"
    [rgw]="scripts/test-bucket.sh: end-to-end test with a Ceph bucket"
    [packaging]="scripts/test-packages.sh: build, install, upgrade and remove the .deb and the .rpm"
    [deny]="cargo deny: licenses, bans and sources of the dependencies"
    [fuzz]="fuzz/run.sh all $fuzz_seconds"
    [compose]="scripts/test-compose.sh quick: start the images of a clean clone"
)
run_steps() {
    local name
    for name in "$@"; do
        step "$name" "${titles[$name]}" "run_$name"
    done
}

for name in "${all[@]}"; do
    echo failed >"$logs/$name.result"
done
run_steps "${steps[@]}"
run_steps "${compiling[@]}" &
run_steps "${waiting[@]}"
wait

failed=$(steps_other_than "passed|skipped")
skipped=$(steps_other_than "passed|failed")
if [ -n "$failed" ]; then
    echo "FAILED: $failed(of ${all[*]}), after $SECONDS s"
    exit 1
fi
if [ -n "$skipped" ]; then
    echo "SKIPPED: ${skipped% }. All other steps passed, in $SECONDS s"
    exit 0
fi
echo "All passed: ${all[*]}, in $SECONDS s"
