#!/usr/bin/python3 -I
"""The same page as a CGI program of httpd."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from page import render  # noqa: E402

environ = os.environ.get
seen = {
    "user": environ("REMOTE_USER", ""),
    "account": environ("NEGOTIATE_USER", ""),
    "domain": environ("NEGOTIATE_DOMAIN", ""),
    "mechanism": environ("NEGOTIATE_MECHANISM", ""),
    "scheme": environ("AUTH_TYPE", ""),
    "server": "httpd",
    "protocol": environ("SERVER_PROTOCOL", "") + (" over TLS" if environ("HTTPS") else ""),
}
kind, body = render(seen, environ("HTTP_ACCEPT", ""))
sys.stdout.buffer.write(f"Content-Type: {kind}\r\n\r\n".encode() + body)
