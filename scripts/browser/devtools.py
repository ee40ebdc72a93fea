"""Chromium, driven by the DevTools protocol over a pipe.

Only the standard library is used. The main class is Browser.
"""

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

# Deadline of every wait, in seconds. Only a failing test reaches it.
DEADLINE = 60


class Failure(Exception):
    """A check of the test has failed."""


def wait_until(what, probe, deadline=DEADLINE):
    """Polls until probe returns a true value, and returns it."""
    end = time.monotonic() + deadline
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"deadline passed before {what}")
        time.sleep(0.02)


class Browser:
    """A headless Chromium with one page, which records errors and requests."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="millpond-ui-")
        to_read, self.to_browser = os.pipe()
        self.from_browser, to_write = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to descriptor 4.
        command = [
            "sh", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "chromium", shutil.which("chromium"),
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-extensions", "--remote-debugging-pipe", "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={self.folder}", "about:blank",
        ]
        self.process = subprocess.Popen(
            command, pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.number = 0
        self.answers = {}
        self.arrived = threading.Condition()
        self.errors = []
        self.requests = []
        self.session = None
        self.events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def close(self):
        """Ends the browser and removes its folder."""
        try:
            self.session = None
            self.call("Browser.close")
        except (Failure, OSError):
            self.process.terminate()
        self.process.wait(timeout=DEADLINE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self):
        rest = b""
        while True:
            piece = os.read(self.from_browser, 1 << 16)
            if not piece:
                return
            *messages, rest = (rest + piece).split(b"\0")
            for message in messages:
                self._take(json.loads(message))

    def _take(self, message):
        if "id" in message:
            with self.arrived:
                self.answers[message["id"]] = message
                self.arrived.notify_all()
            return
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            entry = params["entry"]
            self.errors.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method, **params):
        """Calls a method of the protocol and returns its result."""
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        with self.arrived:
            if not self.arrived.wait_for(lambda: number in self.answers, DEADLINE):
                raise Failure(f"no answer to {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Failure(f"{method}: {answer['error']}")
        return answer["result"]

    def js(self, expression):
        """Evaluates an expression in the page and returns its value."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
        )
        if "exceptionDetails" in result:
            raise Failure(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, url):
        """Opens a page and waits until it is complete."""
        self.call("Page.navigate", url=url)
        wait_until(url, lambda: self.js("document.readyState") == "complete")

    def size(self, width, height, scheme):
        """Sets the size of the window and the colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def click(self, selector):
        """Clicks the middle of an element with the mouse."""
        quoted = json.dumps(selector)
        wait_until(f"{selector} exists", lambda: self.js(f"!!document.querySelector({quoted})"))
        place = self.js(
            f"(() => {{ const e = document.querySelector({quoted});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2, r.width * r.height]; })()"
        )
        x, y, area = place
        if area == 0:
            raise Failure(f"{selector} cannot be seen")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=y, button="left", clickCount=1,
            )

    def key(self, name, code=0, text=""):
        """Presses and releases a key."""
        for kind in ("keyDown", "keyUp"):
            params = {"type": kind, "key": name, "windowsVirtualKeyCode": code}
            if text and kind == "keyDown":
                params["text"] = text
            self.call("Input.dispatchKeyEvent", **params)

    def type(self, text):
        """Types a text, one key after the other."""
        for character in text:
            self.key(character, text=character)

    def paste(self, text):
        """Inserts a text at once."""
        self.call("Input.insertText", text=text)

    def sees(self, selector):
        """Returns whether an element is shown."""
        found = f"document.querySelector({json.dumps(selector)})"
        return self.js(f"!!{found} && {found}.getClientRects().length > 0")

    def text(self, selector):
        """Returns the visible text of an element."""
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def wait_text(self, selector, part, deadline=DEADLINE):
        """Waits until an element shows a text."""
        try:
            wait_until(part, lambda: part in self.text(selector), deadline)
        except Failure:
            raise Failure(f"{selector} lacks {part!r}: {self.text(selector)!r}") from None

    def choose_file(self, selector, path):
        """Chooses a file in a form."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[path], nodeId=node)

    def screenshot(self, path, whole=True):
        """Writes a PNG of the window, or of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
