#!/usr/bin/env python3
"""Clicks through the operators' page with Debian's Chromium, and takes screenshots.

    scripts/test-page.py            tests the page; MILLPOND selects an existing binary

    MILLPOND=target/release/millpond EVENTS_A_SECOND=1000 scripts/test-page.py

The page has 10,000 objects. Checked are token, search, story, pin, import, job, incident, changed
target, hostile names, keyboard and widths; that no error is in the console, that no request goes
elsewhere, and that input is answered within 200 ms. Screenshots are in target/run/ui. Everything
runs on loopback. As root, the test installs missing Debian packages. Exit code 77: there is no
browser, and nothing was tested.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts/browser"))

from devtools import Browser, Failure, wait_until  # noqa: E402
from world import READER, Gateway, Origin, archive, quoted  # noqa: E402

OBJECTS = 10_000
ANSWER_MS = 200
# Failing fetches of jobs make the events. A build without optimization needs a core for 500.
EVENTS_A_SECOND = int(os.environ.get("EVENTS_A_SECOND", "400"))
# Below this part of the rate, other programs have taken the machine, and the figures mean nothing.
MIN_RATE_SHARE = 0.9
WORDS = 20
# Of so many words, single ones may wait for other programs of the machine.
MAX_LATE = 1
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SHOTS = TARGET / "run/ui"

# Blocks of the page, each with a text that it shows.
BLOCKS = {
    "readiness": "ready", "incidents": "incident", "hits": "BY REQUESTS", "traffic": "SERVED",
    "fetches": "fetch", "failures": "circuit", "disk": "eviction begins at",
    "bucket": "No bucket", "changed": "No target", "mismatches": "No wrong file type",
    "images": "No container image", "costs": "upstream", "nodes": "this node", "jobs": "There is no job",
}


def check(condition, what):
    if not condition:
        raise Failure(what)


def binary():
    if "MILLPOND" in os.environ:
        return os.environ["MILLPOND"]
    subprocess.run(["cargo", "test", "--locked", "--test", "it", "--no-run"], cwd=ROOT, check=True)
    return TARGET / "debug/millpond"


def install_browser():
    if shutil.which("chromium"):
        return
    packages = ["chromium", "fonts-dejavu-core"]
    if os.getuid() == 0:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update"], **quiet)
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        subprocess.run(install, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, **quiet)
    if not shutil.which("chromium"):
        print("SKIPPED: chromium is missing. NO PAGE WAS TESTED.", file=sys.stderr)
        sys.exit(77)


class Test:
    def __init__(self, browser, gateway, origin):
        self.browser, self.gateway, self.origin = browser, gateway, origin
        self.began = time.monotonic()

    def step(self, name):
        print(f"{time.monotonic() - self.began:6.1f} s  {name}", flush=True)

    def shot(self, name, whole=True):
        # A drawn chart or a replaced block needs one frame.
        self.browser.js("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
        self.browser.screenshot(SHOTS / f"{name}.png", whole)

    def confirm(self):
        self.browser.click("#confirm-yes")
        wait_until("the dialog is closed", lambda: not self.browser.js(
            "document.getElementById('confirm').open"))

    def notice(self, text):
        self.browser.wait_text("#notice", text)

    def searches_all(self):
        """Searches again. Returns whether the gateway has read all records."""
        self.browser.js("document.getElementById('search-form').requestSubmit()")
        time.sleep(0.3)
        found = self.browser.text("#found")
        return found and "being read" not in found

    def await_found(self, count):
        """Waits until a search has found this number of targets."""
        found = f"document.querySelector('#found [data-found=\"{count}\"]')"
        wait_until(f"{count} targets are found", lambda: self.browser.js(f"!!{found}"))

    def sign_in(self, token):
        self.browser.click("#token")
        self.browser.paste(token)
        self.browser.key("Enter", 13, "\r")

    def sign_out(self):
        # The page is loaded anew, and a token that is typed before that would be lost.
        browser = self.browser
        browser.js("window.old = true")
        browser.click("#sign-out")
        wait_until("the form is shown", lambda: browser.js("!window.old")
                   and browser.sees("#sign-in") and browser.sees("#public-status"))

    def run(self):
        for step in (
            self.token, self.blocks, self.search, self.pin, self.refresh_evict_import, self.job,
            self.texts, self.running_fetch, self.incident, self.changed, self.hostile, self.keyboard,
            self.widths, self.speed, self.reader, self.scrub_job, self.load,
        ):
            self.step(step.__name__.replace("_", " "))
            step()

    def token(self):
        browser = self.browser
        browser.size(1400, 900, "light")
        browser.open(f"{self.gateway.base}/ui/")
        browser.wait_text("#public-status", "ready, version")
        check(not browser.sees("#operators"), "nothing is shown without a token")
        self.shot("01-token")
        self.sign_in("a-token-of-nobody-at-all")
        browser.wait_text("#sign-in-error", "not valid")
        wait_until("the refusal is logged", lambda: browser.errors)
        # The browser reports each response with an error status.
        check(all("401" in error for error in browser.errors), str(browser.errors))
        browser.errors.clear()
        self.sign_in(self.gateway.token)
        browser.wait_text("#connection", "live")

    def blocks(self):
        for block, text in BLOCKS.items():
            place = f"[data-block={block}]"
            wait_until(f"{text} in {block}", lambda place=place, text=text:
                       text.lower() in self.browser.text(place).lower())
        wait_until("both charts are drawn", lambda: self.browser.js(
            "document.querySelectorAll('.chart canvas').length") == 2)
        self.shot("02-blocks-light")

    def search(self):
        browser = self.browser
        browser.click("#query")
        browser.type("package-77")
        wait_until("all records are read", self.searches_all)
        self.await_found(111)
        browser.js("document.getElementById('query').select()")
        browser.paste("group-7/ PACKAGE-7767")
        self.await_found(1)
        browser.click("#found button[data-story]")
        browser.wait_text("#story", "package-7767")
        browser.wait_text("#story", "answers")
        browser.wait_text("#story", "immutable, because of")
        self.shot("03-search")

    def pin(self):
        browser = self.browser
        browser.click("#story button[data-act=pin]")
        browser.wait_text("#confirm", "never evicted")
        self.shot("04-confirmation", whole=False)
        browser.key("Escape", 27)
        wait_until("the dialog is closed", lambda: not browser.js(
            "document.getElementById('confirm').open"))
        check("pinned" not in browser.text("#story"), "Escape changes nothing")
        browser.click("#story button[data-act=pin]")
        self.confirm()
        self.notice("Pin: done")
        browser.wait_text("#story", "pinned")
        browser.wait_text("[data-block=disk]", "pinned (1)")
        self.shot("05-pinned")
        browser.click("#story button[data-act=unpin]")
        self.confirm()
        self.notice("Unpin: done")
        wait_until("the pin is gone", lambda: "pinned" not in browser.text("#story"))

    def refresh_evict_import(self):
        browser = self.browser
        browser.click("#story button[data-act=evict]")
        self.confirm()
        self.notice("Evict: done")
        browser.wait_text("#story", "not on the disk")
        # The origin does not have this one.
        browser.click("#story button[data-act=refresh]")
        self.confirm()
        self.notice("Refresh: ")
        wait_until("the refresh has failed", lambda: browser.js(
            "document.getElementById('notice').classList.contains('bad')"))
        url = self.origin.url("/import/thing-1.0.tar.gz")
        self.find(url)
        browser.wait_text("#story", "Nothing is stored under this URL.")
        copy = self.gateway.folder / "copy.tar.gz"
        copy.write_bytes(archive("import"))
        browser.choose_file("#story input[data-act=import]", str(copy))
        browser.wait_text("#confirm", "is pinned")
        self.confirm()
        self.notice("Import: done")
        browser.wait_text("#story", "pinned")
        check(self.gateway.fetch(url) == (200, archive("import")), "the import answers")
        browser.errors[:] = [error for error in browser.errors if "404" not in error
                             and "502" not in error]

    def find(self, url):
        browser = self.browser
        browser.click("#query")
        browser.js("document.getElementById('query').select()")
        browser.paste(url)
        wait_until("the URL is found", lambda: url in browser.text("#found"))
        browser.click("#found button[data-story]")
        wait_until("the story is shown", lambda: url in browser.text("#story h3"))

    def job(self):
        browser = self.browser
        urls = []
        for number in range(5):
            path = f"/job/part-{number}.0.tar.gz"
            self.origin.bodies[path] = archive(path)
            urls.append(self.origin.url(path))
        held = "/job/part-4.0.tar.gz"
        self.origin.held[held] = threading.Event()
        browser.click("#job-order summary")
        browser.click("#job-list")
        browser.paste("\n".join(urls))
        self.shot("06-new-job", whole=False)
        browser.click("#job-form button")
        browser.wait_text("#confirm", "5 lines")
        self.confirm()
        self.notice("The job has started.")
        browser.wait_text("#job-list-table", "4 of 5")
        self.shot("07-job")
        self.origin.held.pop(held).set()
        browser.wait_text("#job-list-table", "succeeded")
        # A second one is cancelled.
        path = "/job/slow-1.0.tar.gz"
        self.origin.bodies[path] = archive(path)
        self.origin.held[path] = threading.Event()
        browser.click("#job-order summary")
        browser.click("#job-list")
        browser.paste(self.origin.url(path))
        browser.click("#job-form button")
        self.confirm()
        browser.click("#job-list-table button[data-act=cancel-job]")
        self.confirm()
        browser.wait_text("#job-list-table", "cancelled")
        self.origin.held.pop(path).set()

    def texts(self):
        """Starts jobs from a spec, a lock file and a bill of materials, and a wrong one."""
        browser, base = self.browser, self.origin.url("")
        for name in ("spec-1.0.tar.gz", "crates/a/1.0.0/download", "sbom-1.0.tar.gz"):
            self.origin.bodies[f"/text/{name}"] = archive(name)
        checksum = hashlib.sha256(archive("crates/a/1.0.0/download")).hexdigest()
        reference = {"type": "distribution", "url": f"{base}/text/sbom-1.0.tar.gz"}
        texts = {
            "spec": f"Name: spec\nVersion: 1.0\nSource0: {base}/text/%{{name}}-%{{version}}.tar.gz\n"
                    f"Source1: {base}/text/%{{none}}.zip\n",
            "lockfile": 'version = 4\n[[package]]\nname = "a"\nversion = "1.0.0"\n'
                        f'source = "registry+x"\nchecksum = "{checksum}"\n',
            "sbom": json.dumps({"bomFormat": "CycloneDX", "components": [
                {"name": "b", "version": "1", "externalReferences": [reference]}]}),
        }
        notes = {"spec": "line 4: %{none} in line 4: is not defined",
                 "sbom": "b 1: no digest is stated"}
        for kind, text in texts.items():
            self.order(kind, text, f"cargo={base}/text/crates")
            browser.wait_text("#confirm", "the files that the text names")
            self.confirm()
            wait_until("the order is sent", lambda: not browser.js(
                "document.getElementById('job-order').open"))
            shown = browser.text("#job-notes").strip()
            check(shown == notes.get(kind, ""), f"notes of the {kind}: {shown}")
        for name in ("spec-1.0.tar.gz", "crates/a/1.0.0/download", "sbom-1.0.tar.gz"):
            url = self.origin.url(f"/text/{name}")
            wait_until(f"{name} is stored", lambda url=url: self.gateway.operate(
                "GET", f"/api/v1/objects?prefix={quoted(url)}")["objects"])
        self.order("spec", "hello <script>window.hit=1</script>", "")
        self.confirm()
        self.notice("this is no spec file")
        wait_until("the refusal is logged", lambda: browser.errors)
        check(all("400" in error for error in browser.errors), str(browser.errors))
        browser.errors.clear()
        browser.js("document.getElementById('job-form').reset()")
        browser.click("#job-order summary")

    def order(self, kind, text, registries):
        browser = self.browser
        if not browser.js("document.getElementById('job-order').open"):
            browser.click("#job-order summary")
        browser.js("document.getElementById('job-form').reset()")
        browser.js(f"document.getElementById('job-input').value = '{kind}'")
        browser.click("#job-list")
        browser.paste(text)
        if registries:
            browser.click("#job-registries")
            browser.paste(registries)
        self.shot(f"07-{kind}", whole=False)
        browser.click("#job-form button")

    def running_fetch(self):
        browser, path = self.browser, "/large/big-1.0.tar.gz"
        self.origin.bodies[path] = archive(path, 2_000_000)
        self.origin.held[path] = threading.Event()
        url = self.origin.url(path)
        client = threading.Thread(target=self.gateway.fetch, args=(url,))
        client.start()
        browser.wait_text("#running-fetches", "of 1.9 MiB")
        self.shot("08-running-fetch")
        self.origin.held.pop(path).set()
        client.join()
        browser.wait_text("[data-block=fetches]", "No fetch is running.")

    def incident(self):
        browser = self.browser
        self.origin.bodies["/page-1.0.tar.gz"] = b"<!DOCTYPE html><html><body>gone</body></html>"
        check(self.gateway.fetch(self.origin.url("/page-1.0.tar.gz"))[0] >= 400, "no page is served")
        browser.wait_text("[data-block=incidents]", "sends a file of the wrong type")
        browser.wait_text("[data-block=incidents]", "check_file_type")
        browser.wait_text("#mismatch-list", "wrong_file_type")
        browser.wait_text("#failures-by-host", "127.0.0.1")

    def changed(self):
        browser, path = self.browser, "/moved/lib-1.0.tar.gz"
        url = self.origin.url(path)
        self.origin.bodies[path] = archive("old")
        check(self.gateway.fetch(url) == (200, archive("old")), "the old bytes are served")
        self.origin.bodies[path] = archive("new")
        wait_until("the bytes are stored", lambda: self.gateway.operate(
            "POST", f"/api/v1/refresh?url={quoted(url)}")["changed"])
        browser.wait_text("[data-block=changed]", url)
        browser.wait_text("[data-block=incidents]", "sends other bytes than before")
        self.shot("09-changed-and-incidents")
        browser.click("[data-block=changed] button[data-act=accept]")
        self.confirm()
        self.notice("Accept the change: done")
        browser.wait_text("[data-block=changed]", "all are decided")
        check(self.gateway.fetch(url) == (200, archive("new")), "the new bytes answer")

    def hostile(self):
        browser = self.browser
        for name in (
            "%22%3E%3Cscript%3Ewindow.hit=1%3C/script%3E", "x'onmouseover='window.hit=1'",
            "javascript:window.hit=1", "%E2%80%AEgz.rat", "&lt;img src=x onerror=window.hit=1&gt;"
            .replace(" ", "%20"), "y" * 7000,
        ):
            path = f"/hostile/{name}-1.0.tar.gz"
            self.origin.bodies[path] = archive(name)
            self.gateway.fetch(self.origin.url(path))
        for query in ('"><script>window.hit=1</script>', "https://a.example/<img src=x onerror=hit=1>"):
            browser.click("#query")
            browser.js("document.getElementById('query').select()")
            browser.paste(query)
            browser.key("Enter", 13, "\r")
            browser.wait_text("#found", "stored targets")
        browser.click("#query")
        browser.js("document.getElementById('query').select()")
        browser.paste("/hostile/")
        self.await_found(6)
        count = browser.js("document.querySelectorAll('#found button[data-story]').length")
        check(count == 6, f"{count} hostile names")
        for number in range(count):
            browser.js(f"document.querySelectorAll('#found button[data-story]')[{number}].click()")
            browser.wait_text("#story", "answers")
            wait_until("the story is of this target", lambda number=number: browser.js(
                "document.getElementById('story').dataset.url === document.querySelectorAll("
                f"'#found button[data-story]')[{number}].dataset.story"))
        facts = browser.js("""({
            hit: window.hit ?? null,
            scripts: document.querySelectorAll('script').length,
            images: document.querySelectorAll('img, iframe, object, embed, base').length,
            links: [...document.querySelectorAll('[href]')].filter(
                (e) => e.closest('main') && !e.getAttribute('href').startsWith('#')).length,
            handlers: [...document.querySelectorAll('*')].filter((e) =>
                [...e.attributes].some((a) => a.name.startsWith('on') || a.name === 'srcdoc')).length,
            reversed: document.body.innerText.includes('\\u202e'),
        })""")
        wanted = {"hit": None, "scripts": 2, "images": 0, "links": 0, "handlers": 0,
                  "reversed": False}
        check(facts == wanted, f"hostile names have changed the page: {facts}")
        self.shot("10-hostile-names")

    def keyboard(self):
        browser = self.browser
        browser.js("document.activeElement.blur(); window.scrollTo(0, 0)")
        browser.js("document.querySelector('.skip').focus()")
        seen = []
        for _ in range(30):
            browser.key("Tab", 9)
            seen.append(browser.js("document.activeElement.id || document.activeElement.tagName"))
        for wanted in ("sign-out", "query"):
            check(wanted in seen, f"the keyboard reaches {wanted}: {seen}")
        # A block that changes keeps the focus.
        browser.js("document.querySelector('#failures-by-host button').focus()")
        self.gateway.fetch(self.origin.url("/missing-1.0.tar.gz"))
        browser.wait_text("[data-block=incidents]", "does not have the requested file")
        tag = browser.js("document.activeElement.tagName")
        check(tag in ("BUTTON", "BODY"), f"the focus is on {tag}")

    def widths(self):
        for width in (360, 768, 1400):
            for scheme in ("light", "dark"):
                self.browser.size(width, 900, scheme)
                time.sleep(0.3)
                wide = self.browser.js("document.documentElement.scrollWidth")
                check(wide <= width, f"the page is {wide} wide at {width}")
                self.shot(f"11-{width}-{scheme}")
        self.browser.size(1400, 900, "light")

    def speed(self):
        self.watch_input()
        self.measure_input()

    def load(self):
        """Measures the same while failing fetches make events at a steady rate."""
        is_over, jobs = threading.Event(), []

        def order():
            due = time.monotonic()
            while not is_over.wait(max(due - time.monotonic(), 0)):
                due += 1
                first = len(jobs) * EVENTS_A_SECOND
                urls = [f"http://127.0.0.1:{self.gateway.closed_port}/load/part-{number}.0.tar.gz"
                        for number in range(first, first + EVENTS_A_SECOND)]
                order = {"kind": "fetch", "list": "\n".join(urls), "concurrency": 16}
                jobs.append(self.gateway.operate("POST", "/api/v1/jobs", order)["id"])

        with self.gateway.follow() as events:
            orders = threading.Thread(target=order)
            orders.start()
            wait_until("there are events", lambda: events.count)
            before, began = events.count, time.monotonic()
            self.measure_input()
            count, seconds = events.count - before, time.monotonic() - began
            is_over.set()
            orders.join()
            for job in jobs:
                wait_until("the job has ended", lambda job=job: self.ended(job))
        print(f"          {count} events in {seconds:.1f} s, {count / seconds:.0f} a second")
        check(count / seconds >= EVENTS_A_SECOND * MIN_RATE_SHARE, "these are too few for this test")

    def ended(self, job):
        job = self.gateway.operate("GET", f"/api/v1/jobs/{job}")
        check(job["failed"] == job["done"], f"a job has other failures: {job}")
        return job["ended"]

    def watch_input(self):
        browser = self.browser
        browser.js("""
            window.longest = 0;
            new PerformanceObserver((list) => {
              for (const entry of list.getEntries()) {
                if (entry.name.startsWith('key') || entry.name === 'input')
                  window.longest = Math.max(window.longest, entry.duration);
              }
            }).observe({ type: 'event', durationThreshold: 16 });
            document.getElementById('query').value = '';
            window.answered = [];
            document.getElementById('query').addEventListener('input', () => {
              window.asked = performance.now(); });
            new MutationObserver(() => { window.answered.push(performance.now() - window.asked); })
              .observe(document.getElementById('found'), { childList: true });
        """)

    def measure_input(self):
        """Measures the time from a key to the results, and the longest handling of an event."""
        browser = self.browser
        browser.js("window.longest = 0")
        browser.click("#query")
        waits = []
        for number in range(WORDS):
            browser.js("document.getElementById('query').value = ''; window.answered = []")
            browser.type(f"package-{number}3")
            waits.append(wait_until("results", lambda: browser.js("window.answered.at(-1)")))
        waits.sort()
        longest = browser.js("window.longest")
        print(f"          results after {waits[len(waits) // 2]:.0f} ms in the middle and "
              f"{waits[-1]:.0f} ms at most, events handled within {longest:.0f} ms")
        late = sum(wait >= ANSWER_MS for wait in waits)
        check(late <= MAX_LATE, f"results after {waits}")
        check(longest < ANSWER_MS, f"an event took {longest} ms")

    def scrub_job(self):
        """Starts a scrub of all objects, which needs no list."""
        browser = self.browser
        self.sign_out()
        self.sign_in(self.gateway.token)
        browser.wait_text("[data-block=nodes]", "this node")
        browser.click("#job-order summary")
        browser.js("""(() => { const kind = document.getElementById('job-kind');
            kind.value = 'scrub'; kind.dispatchEvent(new Event('change')); })()""")
        browser.click("#job-form button")
        browser.wait_text("#confirm", "It works on all objects.")
        self.confirm()
        self.notice("The job has started.")
        browser.wait_text("#job-list-table", "scrub")
        browser.wait_text("#job-list-table", "256 of 256")
        self.watch_input()

    def reader(self):
        browser = self.browser
        self.sign_out()
        check(not browser.js("sessionStorage.length"), "the token is forgotten")
        check("package" not in browser.js("document.documentElement.outerHTML"), "nothing stays")
        self.sign_in(READER)
        browser.wait_text("[data-block=nodes]", "this node")
        browser.click("#query")
        browser.paste("package-42.")
        self.await_found(1)
        browser.click("#found button[data-story]")
        browser.wait_text("#story", "answers")
        shown = browser.js(
            "[...document.querySelectorAll('[data-act], #job-form')].filter("
            "(e) => e.getClientRects().length).length")
        check(shown == 0, f"a reader sees {shown} actions")
        self.shot("12-reader")


def main():
    install_browser()
    program = binary()
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir(parents=True)
    origin = Origin()
    gateway = Gateway(program, origin)
    browser = None
    try:
        gateway.start()
        gateway.stop()
        gateway.seed(OBJECTS)
        gateway.start()
        browser = Browser()
        test = Test(browser, gateway, origin)
        test.run()
        foreign = [url for url in browser.requests
                   if not url.startswith((f"{gateway.base}/ui/", f"{gateway.base}/api/v1/"))]
        foreign = [url for url in foreign if not url.startswith(("about:", "data:"))]
        check(not foreign, f"requests to elsewhere: {foreign}")
        check(not browser.errors, f"errors in the console: {browser.errors}")
        print(f"ok: {len(browser.requests)} requests, no error in the console, "
              f"screenshots in {SHOTS}")
    except Failure as failure:
        if browser:
            print("console:", browser.errors, file=sys.stderr)
            browser.screenshot(SHOTS / "failed.png")
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        if browser:
            browser.close()
        gateway.remove()
    return 0


sys.exit(main())
