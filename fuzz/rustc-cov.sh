#!/bin/sh
# Cargo calls this script instead of rustc for the members of the workspace. It compiles libraries
# and fuzz targets with the coverage counters of libFuzzer, like `cargo fuzz`, but with stable Rust.
# Dependencies are not instrumented, so their build is shared with the tests. Compiler queries and
# build scripts are passed through unchanged.
case " $* " in
    *" --crate-name ___ "* | *" --crate-name build_script_"* | *" --crate-type proc-macro "*) exec "$@" ;;
    *" --crate-name "*) ;;
    *) exec "$@" ;;
esac
exec "$@" --cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
