#!/bin/bash
# Fuzzes one target, or all targets one after the other:
#
#     fuzz/run.sh TARGET|all [SECONDS]
#
# SECONDS is the time for the target, or for all targets together. Starts from the seeds in
# fuzz/corpus and from the findings of earlier runs (in target/fuzz). An input that violates an
# assertion is written to fuzz/artifacts, and the run fails; `fuzz/run.sh TARGET FILE` runs only that
# input. Needs stable Rust, and a C++ compiler for libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=${CARGO_TARGET_DIR:-target}
targets=(
    request_target request_scanner response_head ftp_replies api_query
    proxy_header record pins config spec lockfile index catalog_list
    registry_path metalink image_archive
)
usage="usage: fuzz/run.sh $(IFS='|'; echo "${targets[*]}")|all [SECONDS|FILE]"
what=${1:?$usage}
how=${2:-60}
[ "$what" = all ] || targets=("$what")
case $how in
    *[!0-9]*) ;;
    *) how=$(((how + ${#targets[@]} - 1) / ${#targets[@]})) ;;
esac

# Minimum number of covered edges. Fewer mean that the code was not instrumented, so that libFuzzer
# would only try random inputs.
fewest_edges=50

build() {
    # Without optimization, the parsers would read fewer inputs in the same time.
    RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/rustc-cov.sh cargo build --quiet --package millpond-fuzz "${@/#/--bin=}" \
        --config profile.dev.package.millpond.opt-level=1
}

fuzz() {
    local target=$1 seconds=$2
    local found=$target_dir/fuzz/$target artifacts=fuzz/artifacts/$target log=$target_dir/fuzz/$target.log
    mkdir -p "$found" "$artifacts"
    if ! "$target_dir/debug/$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -dict="fuzz/words/$target" -artifact_prefix="$artifacts/" -print_final_stats=1 \
        "$found" "fuzz/corpus/$target" >"$log" 2>&1; then
        # The assertion, what surrounds it, and the input itself: the machine may be gone tomorrow.
        grep -a -A 4 -m 1 'panicked at' "$log" || true
        tail -n 40 "$log"
        for input in "$artifacts"/*; do
            echo "$input: $(gzip -9c "$input" | base64 -w 0 | head -c 6000)"
        done
        echo "fuzz $target: an input violates an assertion, see above and $artifacts" >&2
        return 1
    fi
    local first last runs
    first=$(sed -n 's/.*INITED cov: \([0-9]*\).*/\1/p' "$log" | head -n 1)
    last=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    if [ "${last:-0}" -lt "$fewest_edges" ]; then
        echo "fuzz $target: only ${last:-0} edges covered, so the code is not instrumented" >&2
        return 1
    fi
    echo "fuzz $target: $runs inputs in $seconds s, edges covered: ${first:-0} at the seeds, $last at the end"
}

for target in "${targets[@]}"; do
    [ -f "fuzz/targets/$target.rs" ] || { echo "$usage" >&2; exit 2; }
done
# All at once, so that each core links another target.
build "${targets[@]}"
for target in "${targets[@]}"; do
    case $how in
        *[!0-9]*) "$target_dir/debug/$target" "$how" ;;
        *) fuzz "$target" "$how" ;;
    esac
done
