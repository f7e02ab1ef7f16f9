"""One HTTP/1.x connection that sends exactly what a test says."""

import base64
import http.client
import json
import socket
import ssl

from ntlm_client import ABSENT, negotiate
from servers import DEADLINE

TIMEOUT = DEADLINE


class Response:
    def __init__(self, raw):
        self.status = raw.status
        self.headers = raw.headers
        self.body = raw.read()
        self.closes = raw.will_close

    def all(self, name):
        return self.headers.get_all(name) or []

    @property
    def challenges(self):
        return self.all("WWW-Authenticate")

    @property
    def token(self):
        """The decoded token of the only challenge of a leg."""
        (challenge,) = self.challenges
        return base64.b64decode(challenge.split(" ", 1)[1], validate=True)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def user(self):
        """Who the application says is signed in; only a 200 has one."""
        assert self.status == 200, (self.status, self.body)
        return self.json["user"]


def authorization(token, scheme="NTLM"):
    return ("Authorization", f"{scheme} {base64.b64encode(token).decode()}")


class Shared:
    """One buffered file for all answers of a connection, which may come at once."""

    def __init__(self, file):
        self.file = file

    def makefile(self, _):
        return self

    def close(self):
        """Each answer closes its own file; this one goes on."""

    def __getattr__(self, name):
        return getattr(self.file, name)


class Connection:
    """Use as a context manager."""

    def __init__(self, site):
        self.site = site
        self.socket = socket.create_connection((site.host, site.port), timeout=TIMEOUT)
        if site.tls:
            context = site.tls_context(["http/1.1"])
            self.socket = context.wrap_socket(self.socket, server_hostname=site.host)
        self.answers = Shared(self.socket.makefile("rb"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answers.file.close()
        self.socket.close()

    def send(self, path, headers=(), method="GET", body=b"", version="HTTP/1.1"):
        lines = [f"{method} {path} {version}", f"Host: {self.site.host}:{self.site.port}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def receive(self, method="GET"):
        raw = http.client.HTTPResponse(self.answers, method=method)
        raw.begin()
        return Response(raw)

    def request(self, path="/", *headers, **how):
        self.send(path, headers, **how)
        return self.receive(how.get("method", "GET"))

    def challenge(self, path="/", *headers, scheme="NTLM"):
        """Sends Type 1 and returns Type 2."""
        leg = self.request(path, authorization(negotiate(), scheme), *headers)
        assert leg.status == 401, (leg.status, leg.challenges, leg.body)
        return leg.token

    def sign_in(self, account, path="/", *headers, scheme="NTLM", binding=ABSENT, spn=None, mic=False, **how):
        """Both legs on this connection. Returns the answer to Type 3."""
        challenge = self.challenge(path, *headers, scheme=scheme)
        token = account.authenticate(challenge, binding=binding, spn=spn, mic=mic)
        return self.request(path, authorization(token, scheme), *headers, **how)

    @property
    def is_open(self):
        """False once the server has closed it."""
        self.socket.settimeout(0)
        try:
            return self.socket.recv(1) != b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(TIMEOUT)
