#!/usr/bin/env python3
"""Compares the rows of a run of benches/run.py with those in the repository.

    benches/compare.py [NEW [OLD]]      (target/bench.json, benches/RESULTS.json)

Rows are compared by the ratio of Millpond to a peer of the same run and round: nginx with static
files, or proxy_cache in rows without it. The noise of a row is the spread of that ratio between
rounds. A row has moved if the medians differ by more than the noise of either run, and by more than
5 %. Prints all rows that have moved. The exit code is 1 if one of them got worse, and 2 if a file
cannot be compared.
"""

import json
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BASES = ("nginx static", "nginx proxy_cache")
# A smaller change of a ratio is never reported.
LEAST_CHANGE = 0.05
# Units of which more is better.
RATES = ("requests/s", "GB/s")


def ratios_of(values, server):
    """Returns the ratios of a server to its peer, one for each round. Without a peer, the values."""
    base = next((values[name] for name in BASES if name in values and name != server), None)
    own = values[server]
    if base and len(base) == len(own) and all(base):
        return [number / other for number, other in zip(own, base)]
    return own


def noise_of(ratios):
    """Returns half of the spread of the ratios, as a part of their median."""
    median = statistics.median(ratios)
    return (max(ratios) - min(ratios)) / 2 / median if median else 0.0


def rows_by_name(results):
    return {
        (row["row"], row["unit"], server): ratios_of(row["values"], server)
        for row in results["rows"]
        for server in row["values"]
        if server not in BASES
    }


def compare(new, old):
    """Returns one tuple for each row that both runs have: name, change, noise, and the verdict."""
    found, known = rows_by_name(new), rows_by_name(old)
    compared = []
    for name, ratios in found.items():
        if name not in known:
            continue
        before, now = statistics.median(known[name]), statistics.median(ratios)
        if not before:
            continue
        change = now / before - 1
        noise = max(noise_of(ratios), noise_of(known[name]), LEAST_CHANGE)
        is_rate = name[1] in RATES
        verdict = "same" if abs(change) <= noise else "better" if (change > 0) == is_rate else "worse"
        compared.append((name, change, noise, verdict))
    return compared


def read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        sys.exit(2)


def main(arguments):
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    defaults = [os.path.join(target, "bench.json"), os.path.join(ROOT, "benches", "RESULTS.json")]
    new, old = arguments + defaults[len(arguments):]
    compared = compare(read(new), read(old))
    if not compared:
        print("the two runs have no row in common", file=sys.stderr)
        return 2
    moved = [row for row in compared if row[3] != "same"]
    for (row, unit, server), change, noise, verdict in moved:
        print(f"{verdict}: {row}, {unit}, {server}: {change:+.0%} (noise {noise:.0%})")
    print(f"{len(compared)} rows compared, {len(moved)} moved beyond noise")
    return 1 if any(row[3] == "worse" for row in moved) else 0


if __name__ == "__main__":
    if len(sys.argv) > 3 or any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
