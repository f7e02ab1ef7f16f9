"""The applications behind the servers. Each answers with what it sees, as JSON.

Every run also adds that JSON as a line to a journal, so that a test can tell how
often a request reached an application: behind nginx over HTTP and FastCGI in
this process, behind httpd as a CGI program (application.cgi).
"""

import hashlib
import http.server
import json
import os
import socketserver
import struct
import threading
from contextlib import contextmanager


class Journal:
    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        open(path, "w").close()
        os.chmod(path, 0o666)

    def add(self, answer):
        with self.lock, open(self.path, "a") as file:
            file.write(answer + "\n")

    def runs(self, test_id):
        """What the application saw of the requests with this X-Test-Id."""
        with open(self.path) as file:
            answers = [json.loads(line) for line in file]
        return [answer for answer in answers if answer["headers"].get("x-test-id") == test_id]


def describe(user, negotiate, method, path, headers, body):
    return json.dumps({
        "user": user,
        "negotiate": negotiate,
        "method": method,
        "path": path,
        "headers": headers,
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    })


class Proxied(http.server.BaseHTTPRequestHandler):
    """Trusts the headers that the proxy sets over the client's own."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        headers = {name.lower(): value.encode("latin-1").decode() for name, value in self.headers.items()}
        body = self.body(headers)
        negotiate = {key: headers.get("x-auth-" + key, "") for key in ("user", "domain", "mechanism", "reason")}
        if "x-auth-channel-bound" in headers:
            negotiate["channel_bound"] = headers["x-auth-channel-bound"]
        text = describe(headers.get("x-remote-user", ""), negotiate, self.command, self.path, headers, body)
        self.server.journal.add(text)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_HEAD = do_OPTIONS = answer

    def body(self, headers):
        """All that has come of it, if the proxy leaves before its end."""
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline() or "0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        pass


class FastCgi(socketserver.BaseRequestHandler):
    """One FastCGI request, enough of it for what nginx sends."""

    BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6

    def handle(self):
        streams = {self.PARAMS: bytearray(), self.STDIN: bytearray()}
        kind, data = self.record()
        while not (kind == self.STDIN and not data):
            if kind in streams:
                streams[kind] += data
            kind, data = self.record()
        params = dict(pairs(streams[self.PARAMS]))
        negotiate = {key: params.get("NEGOTIATE_" + key.upper(), "") for key in ("user", "domain", "mechanism")}
        headers = {n[5:].lower().replace("_", "-"): v for n, v in params.items() if n.startswith("HTTP_")}
        text = describe(params.get("REMOTE_USER", ""), negotiate, params.get("REQUEST_METHOD"),
                        params.get("REQUEST_URI"), headers, streams[self.STDIN])
        self.server.journal.add(text)
        self.send(self.STDOUT, b"Content-Type: application/json\r\n\r\n" + text.encode())
        self.send(self.STDOUT, b"")
        self.send(self.END, bytes(8))

    def record(self):
        _, kind, _, length, padding = struct.unpack(">BBHHBx", self.read(8))
        data = self.read(length)
        self.read(padding)
        return kind, data

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.request.recv(length - len(data))
            if not part:
                raise ConnectionError("FastCGI peer left in mid-record")
            data += part
        return data

    def send(self, kind, data):
        self.request.sendall(struct.pack(">BBHHBx", 1, kind, 1, len(data), 0) + data)


def pairs(data):
    while data:
        sizes = []
        for _ in range(2):
            size = data[0]
            if size > 127:
                size = struct.unpack(">I", data[:4])[0] & 0x7FFFFFFF
            data = data[4 if data[0] > 127 else 1:]
            sizes.append(size)
        name, value = data[:sizes[0]], data[sizes[0]:sum(sizes)]
        data = data[sum(sizes):]
        yield name.decode("latin-1"), value.decode("latin-1")


class ThreadingServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def serve(handler, journal):
    """Runs an application on a free loopback port and gives that port."""
    with ThreadingServer(("127.0.0.1", 0), handler) as server:
        server.journal = journal
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
