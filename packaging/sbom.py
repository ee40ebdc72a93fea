#!/usr/bin/env python3
"""Prints the software bill of materials of the program: CycloneDX 1.5, in JSON.

    packaging/sbom.py > millpond.cdx.json

`cargo tree` says what a build contains: crates of this platform with the enabled features, without
those of tests. Cargo.lock has their checksums. C sources such as SQLite count as part of their crate.
"""

import gzip
import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Sources of others in this repository, which Cargo does not know: name, license, file, and the
# pattern of the version in the file.
BUNDLED = [
    ("swagger-ui", "Apache-2.0", "src/http/swagger/swagger-ui-bundle.js.gz",
     rb'PACKAGE_VERSION:"([0-9.]+)"'),
    ("uplot", "MIT", "src/ui/assets/uplot/uPlot.iife.min.js", rb"uPlot \(v([0-9.]+)\)"),
]
# Crates that only run at build time.
BUILD_ONLY = "excluded"


def tree(edges):
    """Returns the crates as `name version` -> license, and their edges."""
    command = ["cargo", "tree", "--locked", "--package", "millpond", "--edges", edges]
    command += ["--prefix", "depth", "--format", "|{p}|{l}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    crates, children, path = {}, {}, []
    for line in lines.splitlines():
        depth, package, license = line.removesuffix(" (*)").split("|")
        name, version = package.split()[:2]
        crate = (name, version.removeprefix("v"))
        crates[crate] = license
        del path[int(depth):]
        if path:
            children.setdefault(path[-1], set()).add(crate)
        path.append(crate)
    return crates, children


def reference(crate):
    return f"pkg:cargo/{crate[0]}@{crate[1]}"


def component(crate, license, checksum, kind="library"):
    entry = {
        "type": kind,
        "bom-ref": reference(crate),
        "name": crate[0],
        "version": crate[1],
        "purl": reference(crate),
    }
    if license:
        # Old crates separate alternatives by a slash.
        expression = re.sub(r"\s*/\s*", " OR ", license)
        entry["licenses"] = [{"expression": expression}]
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def bundled(name, license, file, pattern):
    content = (ROOT / file).read_bytes()
    text = gzip.decompress(content) if file.endswith(".gz") else content
    version = re.search(pattern, text)[1].decode()
    return {
        "type": "library",
        "bom-ref": f"pkg:npm/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:npm/{name}@{version}",
        "licenses": [{"expression": license}],
    }


def main():
    # By a pattern, since Python 3.9 has no parser of TOML.
    pattern = r'^name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"$'
    rows = re.findall(pattern, (ROOT / "Cargo.lock").read_text(), re.MULTILINE)
    checksums = {(name, version): checksum for name, version, checksum in rows}
    linked, _ = tree("normal")
    crates, children = tree("normal,build")
    [root] = [crate for crate in crates if crate[0] == "millpond"]
    components = []
    for crate in sorted(crates.keys() - {root}):
        entry = component(crate, crates[crate], checksums.get(crate))
        if crate not in linked:
            entry["scope"] = BUILD_ONLY
        components.append(entry)
    components += [bundled(*row) for row in BUNDLED]
    dependencies = [
        {
            "ref": reference(crate),
            "dependsOn": [reference(child) for child in sorted(children.get(crate, ()))],
        }
        for crate in sorted(crates)
    ]
    print(json.dumps({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root, crates[root], None, "application")},
        "components": components,
        "dependencies": dependencies,
    }, indent=1))


main()
