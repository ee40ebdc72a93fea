#!/usr/bin/env python3
"""Measures the expansion of spec files: shares by kind of macro, and a comparison with rpmspec.

    benches/specs.py FOLDER [OPTION...]        lists all specs below FOLDER, and prints the tables
    benches/specs.py FOLDER --rpmspec [...]    compares with rpmspec, in a sandbox of bubblewrap without
                                            network and writable folders, as it runs commands

Other options, such as --registry, are those of "millpond spec list". MILLPOND selects the binary; otherwise it is that of the release profile. Files that have no line
"Name:" are no specs of RPM, and are left out. Nothing is fetched.
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = os.environ.get("MILLPOND", str(TARGET / "release/millpond"))
RPMSPEC_SECONDS = 20

TAGS = {"name", "version", "release", "url", "epoch", "summary", "license"}
BUILT_IN = {"crates_source", "pypi_source", "gosource", "forgesource", "version_no_tilde",
            "stable_kf5", "stable_kf6", "majmin_ver_kf5", "majmin_ver_kf6"}
FUNCTIONS = {"lower", "upper", "sub", "gsub", "basename", "dirname", "expand", "quote", "suffix"}
CALL = re.compile(r"%(?:\{)?([!?]*)([A-Za-z_][A-Za-z0-9_]*)")
NAME = re.compile(rb"^name[ \t]*:", re.IGNORECASE | re.MULTILINE)
SOURCE = re.compile(r"^(source|patch)(\d*)\s*:\s*(.*)$", re.IGNORECASE)
URL = re.compile(r"^(https?|ftp)://", re.IGNORECASE)


def kinds(raw, text):
    """Returns the kinds of macros in the value of a source."""
    found = set()
    if "%(" in raw:
        found.add("shell")
    if "%[" in raw or "%{expr" in raw:
        found.add("expression")
    for test, name in CALL.findall(raw):
        if name == "lua":
            found.add("lua")
        elif name in BUILT_IN:
            found.add(name)
        elif name in FUNCTIONS:
            found.add("function")
        elif test:
            found.add("conditional")
        elif name.lower() in TAGS:
            found.add("tag")
        elif re.search(rf"%(?:global|define)\s+{name}\b", text):
            shell = re.search(rf"%(?:global|define)\s+{name}\s+.*%\(", text)
            found.add("own macro with shell" if shell else "own macro")
        else:
            found.add("other macro")
    return found or {"no macro"}


def listed(paths, options):
    """Returns the documents of all sources by their specs, the errors, and the seconds."""
    began = time.monotonic()
    run = subprocess.run([BINARY, "spec", "list", "--json", *options, *paths], capture_output=True,
                         text=True, errors="replace", check=False)
    seconds = time.monotonic() - began
    sources, errors = collections.defaultdict(list), {}
    for line in run.stdout.splitlines():
        document = json.loads(line)
        if "raw" in document:
            sources[document["spec"]].append(document)
        else:
            errors[document["file"]] = document["error"]
    if run.returncode not in (0, 1):
        sys.exit(f"the command failed: {run.stderr}")
    return sources, errors, seconds


def rpmspec(path):
    """Returns the URLs that rpmspec finds in a spec, or None if it fails."""
    sandbox = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr",
               "--ro-bind", "/etc", "/etc", "--ro-bind-try", "/var/lib/rpm", "/var/lib/rpm",
               "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
               "--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--proc", "/proc",
               "--tmpfs", "/tmp", "--ro-bind", path, "/tmp/x.spec",
               # Specs are written for distributions whose shell is bash.
               "--ro-bind", "/usr/bin/bash", "/usr/bin/dash"]
    command = [*sandbox, "rpmspec", "-P", "/tmp/x.spec"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace",
                             timeout=RPMSPEC_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    if run.returncode:
        return None
    values, is_list = [], False
    for line in run.stdout.splitlines():
        if line.startswith("%"):
            is_list = line.strip() in ("%sourcelist", "%patchlist")
        found = SOURCE.match(line.strip())
        if is_list or found:
            values.append(found[3] if found else line)
    urls = (value.split("#")[0].strip() for value in values)
    return {url for url in urls if URL.match(url)}


def compare(sources, paths):
    failed, same, other, urls, same_urls = 0, 0, [], 0, 0
    for path in paths:
        expected = rpmspec(path)
        if expected is None:
            failed += 1
            continue
        found = {url["url"] for source in sources[path] for url in source["urls"]
                 if not url["other_branch"]}
        urls += len(expected | found)
        same_urls += len(expected & found)
        if found == expected:
            same += 1
        else:
            other.append((path, sorted(expected - found), sorted(found - expected)))
    compared = same + len(other)
    print(f"\nrpmspec: {compared} specs compared, {same} the same "
          f"({100 * same / max(1, compared):.1f} %), {same_urls} of {urls} URLs; "
          f"rpmspec refuses {failed}")
    for path, missing, more in other:
        print(f"  {path}")
        for url in missing[:3]:
            print(f"    rpmspec   {url}")
        for url in more[:3]:
            print(f"    millpond  {url}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, options = pathlib.Path(sys.argv[1]), sys.argv[2:]
    found = sorted(str(path) for path in folder.rglob("*.spec") if path.is_file())
    paths = [path for path in found if NAME.search(pathlib.Path(path).read_bytes())]
    of_list = [option for option in options if option != "--rpmspec"]
    sources, errors, seconds = listed(paths, of_list)
    with_urls, resolved = collections.Counter(), collections.Counter()
    unresolved = []
    specs_resolved = 0
    for path in paths:
        text = pathlib.Path(path).read_text(errors="replace")
        is_whole = True
        for source in sources[path]:
            if source["local"] is not None:
                continue
            is_known = bool(source["urls"])
            is_whole &= is_known
            for kind in kinds(source["raw"], text) | {"all"}:
                with_urls[kind] += 1
                resolved[kind] += is_known
            if not is_known:
                unresolved.append((path, source))
        specs_resolved += is_whole
    print(f"{len(paths)} specs, {len(errors)} refused, {seconds:.2f} s")
    print(f"{specs_resolved} specs with all URLs known ({100 * specs_resolved / len(paths):.1f} %)")
    print("\nkind of macro             sources  resolved")
    for kind, count in with_urls.most_common():
        share = 100 * resolved[kind] / count
        print(f"{kind:25} {count:7}  {resolved[kind]:7}  {share:5.1f} %")
    reasons = collections.Counter(
        (note["macro"][:40], note["reason"]) for _, source in unresolved
        for note in source["unresolved"])
    print("\nunresolved")
    for (macro, reason), count in reasons.most_common(40):
        print(f"{count:5}  {macro}: {reason}")
    for path, error in errors.items():
        print(f"refused  {path}: {error}")
    if "--rpmspec" in options:
        compare(sources, paths)


main()
