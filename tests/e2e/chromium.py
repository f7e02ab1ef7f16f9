"""Headless Chromium, driven over its debugging pipe (NUL-separated JSON on two descriptors)."""

import json
import os
import select
import subprocess
import time
from contextlib import contextmanager

from servers import DEADLINE, IS_ROOT

FLAGS = [
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
    "--ignore-certificate-errors", "--remote-debugging-pipe",
]


class Chromium:
    """prefix: what its command begins with, to run on another host."""

    def __init__(self, directory, *flags, prefix=()):
        self.directory = directory
        self.prefix = prefix
        self.flags = flags
        self.number = 0
        self.buffer = b""
        self.events = []

    def __enter__(self):
        sandbox = ["--no-sandbox"] if IS_ROOT else []
        to_browser, self.to = os.pipe()
        self.from_, from_browser = os.pipe()
        command = [*self.prefix, "/usr/bin/chromium", *FLAGS, *self.flags, *sandbox, f"--user-data-dir={self.directory}",
                   "about:blank"]

        # The pipe is descriptors 3 and 4 of the browser. Copies out of their way come first.
        def connect():
            reader, writer = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reader, 3)
            os.dup2(writer, 4)

        self.process = subprocess.Popen(
            command, env=self.environment(), preexec_fn=connect, close_fds=False, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.to)
            os.close(self.from_)

    def environment(self):
        """A home of its own: the browser writes more than its profile."""
        folders = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
        return os.environ | {name: str(self.directory) for name in folders}

    def send(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        return self.number

    def call(self, method, session=None, **params):
        """Sends a command and returns its result. Events that come first are kept."""
        number = self.send(method, session, **params)
        while True:
            message = self.read()
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]
            self.events.append(message)

    def event(self):
        return self.events.pop(0) if self.events else self.read()

    def read(self):
        deadline = time.monotonic() + DEADLINE
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_], [], [], max(0, deadline - time.monotonic()))
            assert ready, "Chromium says nothing"
            data = os.read(self.from_, 1 << 16)
            assert data, "Chromium has ended"
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    @contextmanager
    def page(self):
        """A page of its own, with no cookies, cache or credentials of another."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Page(self, session)
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)
            self.events.clear()


class Page:
    credentials = None

    def __init__(self, browser, session):
        self.browser = browser
        self.session = session
        self.asked = 0
        self.call("Page.enable")
        self.call("Network.enable")
        self.call("Fetch.enable", handleAuthRequests=True)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def open(self, url):
        """The final status and the JSON, if it is that, of the page at this address."""
        number = self.browser.send("Page.navigate", self.session, url=url)
        status = None
        while True:
            event = self.browser.event()
            params = event.get("params", {})
            if event.get("id") == number:
                assert "error" not in event, event
            elif event.get("method") == "Network.responseReceived" and params["type"] == "Document":
                status = params["response"]["status"]
            elif event.get("method") == "Page.loadEventFired":
                break
            else:
                self.answer(event)
        text = self.evaluate("document.body.innerText")
        return status, json.loads(text) if status == 200 else None

    def evaluate(self, script):
        number = self.browser.send("Runtime.evaluate", self.session, expression=script,
                                   awaitPromise=True, returnByValue=True)
        while True:
            event = self.browser.event()
            if event.get("id") == number:
                return event["result"]["result"].get("value")
            self.answer(event)

    def answer(self, event):
        """Lets requests pass and gives the credentials, once: a second question is a refusal."""
        request = event.get("params", {}).get("requestId")
        if event.get("method") == "Fetch.requestPaused":
            self.browser.send("Fetch.continueRequest", self.session, requestId=request)
        elif event.get("method") == "Fetch.authRequired":
            self.asked += 1
            give = {"response": "CancelAuth"}
            if self.asked == 1 and self.credentials:
                user, password = self.credentials
                give = {"response": "ProvideCredentials", "username": user, "password": password}
            self.browser.send("Fetch.continueWithAuth", self.session, requestId=request,
                              authChallengeResponse=give)
