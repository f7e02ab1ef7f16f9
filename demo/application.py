"""The application behind nginx. It believes the headers that the proxy sets."""

import http.server
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from page import render  # noqa: E402


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = {
            "user": self.headers.get("X-Remote-User", ""),
            "account": self.headers.get("X-Auth-User", ""),
            "domain": self.headers.get("X-Auth-Domain", ""),
            "mechanism": self.headers.get("X-Auth-Mechanism", ""),
            "server": "nginx",
            "protocol": self.headers.get("X-Protocol", ""),
        }
        kind, body = render(seen, self.headers.get("Accept", ""))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Application).serve_forever()
