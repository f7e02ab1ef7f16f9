#!/usr/bin/python3 -IS
"""The application behind httpd: see application.py, whose answer it shares in form."""

import hashlib
import json
import os
import sys

# Of a chunked body httpd tells no length, but its end.
length = -1 if "HTTP_TRANSFER_ENCODING" in os.environ else int(os.environ.get("CONTENT_LENGTH") or 0)
body = sys.stdin.buffer.read(length)
text = json.dumps({
    "user": os.environ.get("REMOTE_USER", ""),
    "auth_type": os.environ.get("AUTH_TYPE", ""),
    "negotiate": {n[10:].lower(): v for n, v in os.environ.items() if n.startswith("NEGOTIATE_")},
    "method": os.environ["REQUEST_METHOD"],
    "path": os.environ["REQUEST_URI"],
    "headers": {n[5:].lower().replace("_", "-"): v for n, v in os.environ.items() if n.startswith("HTTP_")},
    "length": len(body),
    "sha256": hashlib.sha256(body).hexdigest(),
})
with open(os.environ["JOURNAL"], "a") as journal:
    journal.write(text + "\n")
print(f"Content-Type: application/json\nContent-Length: {len(text)}\n\n{text}", end="")
