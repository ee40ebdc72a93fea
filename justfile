# Short names for the commands of CONTRIBUTING.md. `just` lists them.

_list:
    @just --list --unsorted

# All checks that a change must pass.
test:
    scripts/test.sh

# Format, lints and tests only.
quick:
    scripts/test.sh quick

# Format and lints.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Debian packages that the tests need.
install-test-packages:
    scripts/install-test-packages.sh

# End-to-end tests: `just e2e bucket|compose|packages|api`.
e2e what:
    scripts/test-{{what}}.sh

# A click-through of the operators' page.
page:
    scripts/test-page.py

# Comparison with nginx. `just bench --record` replaces the results in benches/.
bench *arguments:
    benches/run.py {{arguments}}

# Rows of the last `just bench` that differ from the results in benches/ by more than their noise.
bench-compare *files:
    benches/compare.py {{files}}

# A long mixed load: wrong bytes and leaks.
soak *arguments:
    benches/soak.py {{arguments}}

# Fuzzing: a target or `all`, and seconds.
fuzz target="all" seconds="300":
    fuzz/run.sh {{target}} {{seconds}}

# The .deb and the .rpm.
package *kinds:
    scripts/package.sh {{kinds}}
