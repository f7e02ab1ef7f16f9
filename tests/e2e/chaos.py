"""Clients of every kind at once, right and wrong, that know what each answer may be.

    chaos.py SPECIFICATION

A program of its own, so that clients and the test that breaks things do not wait for one another. It goes on until
its standard input ends, and then prints what it counted, as JSON. See test_chaos.py for what is in a specification.
"""

import base64
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter, deque
from types import SimpleNamespace
from urllib.parse import quote

import h2.errors
import h2.exceptions

from http2_client import Http2
from ledger import Ledger, Password
from losses import Careful, Closed, Lost
from ntlm_client import ANY_CHALLENGE, Account, negotiate
from raw_http import authorization
from servers import DEADLINE, Site

UNKNOWN = Account("EXAMPLE", "nobody", "Wonderland-1")
OTHER = "/other/"
PUBLIC = "/public/"
# Whether a sign-in outlasts its request, by where it is.
PLACES = {"/": True, "/deep/er": True, "/file/text": True, "/slow/": True, "/once/": False}
HELD = 20
LISTED = 20


class Wrong(Exception):
    """An answer that must not be."""


def expect(user):
    """Tells the application whom alone it may be told, "" for nobody; None is for a request that must not get there."""
    return ("X-Expected", "!" if user is None else "=" + quote(user))


class Visitor(Careful):
    """A connection that knows who signed in on it and what has to follow."""

    def __init__(self, client, place, scheme=None):
        self.client = client
        self.place = place
        self.password = None  # of who is signed in
        self.sure = True
        self.over = False
        super().__init__(client.sites[scheme or client.random.choice(list(client.sites))])

    def ask(self, path, user, *headers, **how):
        answer = self.request(path, expect(user), *headers, **how)
        self.client.counts[f"{answer.status}"] += 1
        self.over = answer.closes
        if answer.status == 200 and not path.startswith("/file/"):
            self.client.counts["served"] += 1
            if answer.json["user"] != user:
                raise Wrong(f"identity: {answer.json['user']!r} at {path} in place of {user!r}")
        if answer.status == 200 and user is None:
            raise Wrong(f"served at {path}, though nobody had signed in")
        return answer

    def go_on(self, **how):
        """A request without credentials."""
        password = self.password
        may = password is not None and self.client.ledger.now(password).may_be_good()
        answer = self.ask(self.place, password.account.name if may else None, **how)
        if answer.status == 401:
            self.password = None
            if may and self.sure and self.client.ledger.now(password).until is None:
                raise Wrong(f"signed out at {self.place}: {password.account.name}")
        elif answer.status != 200:
            raise Wrong(f"{answer.status} at {self.place}")

    def sign_in(self, password):
        """Both legs."""
        self.password = None
        leg = self.ask(self.place, None, authorization(negotiate()))
        if leg.status != 401 or len(leg.challenges) != 1 or " " not in leg.challenges[0]:
            raise Wrong(f"{leg.status} {leg.challenges} for a NEGOTIATE at {self.place}")
        if self.over:
            raise Closed("the answer to a NEGOTIATE said so")
        self.finish(password, leg.token)

    def finish(self, password, challenge, **how):
        start = time.monotonic()
        may = self.client.ledger.now(password).may_be_good()
        name = password.account.name if may else None
        answer = self.ask(self.place, name, authorization(password.account.authenticate(challenge)), **how)
        if answer.status == 200:
            self.client.counts["signed in"] += 1
            self.sure = True
            self.password = password if PLACES[self.place] else None
        elif answer.status == 401:
            if self.client.ledger.now(password).was_good_since(start):
                raise Wrong(f"refused at {self.place}: {password.account.name}")
        elif answer.status == 503 and self.place == "/slow/":
            self.client.counts["busy"] += 1
        else:
            raise Wrong(f"{answer.status} for an AUTHENTICATE at {self.place}")

    def detour(self, path):
        """A look at a place where who has signed in does not count."""
        answer = self.ask(path, "" if path == PUBLIC else None)
        if answer.status != (200 if path == PUBLIC else 401):
            raise Wrong(f"{answer.status} at {path}")
        self.sure = self.sure and path == PUBLIC

    def spoil(self, *headers):
        """A request with credentials that nobody can have."""
        self.password = None
        answer = self.ask(self.place, None, *headers)
        if answer.status not in (400, 401):
            raise Wrong(f"{answer.status} for {headers}")

    def reset(self):
        """To be closed with RST in place of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Client:
    """Does one act after the other until it is told to stop."""

    def __init__(self, specification, number):
        self.random = random.Random(f"{specification['seed']} {number}")
        server = SimpleNamespace(ports=specification["ports"], ca=specification["ca"])
        self.sites = {scheme: Site(server, scheme) for scheme in ("http", "https")}
        self.names = specification["names"]
        self.ledger = Ledger(specification["ledger"])
        self.counts = Counter()
        self.lost, self.wrong = [], []
        self.held = deque()

    def run(self, stop):
        acts = {self.live: 10, self.pipeline: 2, self.curl: 1, self.http2: 2, self.leave_half_done: 3, self.abort: 6,
                self.noise: 2}
        while not stop.is_set():
            (act,) = self.random.choices(list(acts), acts.values())
            self.counts[act.__name__] += 1
            try:
                act()
            except Closed:
                self.counts["again"] += 1
            except Lost as lost:
                self.lost.append(f"{act.__name__}: {lost}")
            except Wrong as wrong:
                self.wrong.append(f"{act.__name__}: {wrong}")
            except Exception:  # pylint: disable=broad-except
                self.wrong.append(f"{act.__name__}: {traceback.format_exc()}")
        while self.held:
            self.held.popleft().__exit__()

    def visitor(self, scheme=None):
        return Visitor(self, self.random.choice(list(PLACES)), scheme)

    def good(self):
        """The password of somebody, as it is now if they have one."""
        return self.ledger.passwords(self.random.choice(self.names))[-1]

    def bad(self):
        """One that is wrong, of somebody unknown, or old."""
        passwords = self.ledger.passwords(self.random.choice(self.names))
        wrong = passwords[-1].account.with_password("wrong")
        return self.random.choice([Password(wrong, 0, 0), Password(UNKNOWN, 0, 0), passwords[0]])

    def live(self):
        """Users come and go on one connection, and somebody tries what must not work."""
        with self.visitor() as visitor:
            steps = {
                lambda: visitor.sign_in(self.good()): 3,
                visitor.go_on: 6,
                lambda: self.upload(visitor): 1,
                lambda: visitor.sign_in(self.bad()): 2,
                lambda: visitor.detour(self.random.choice([OTHER, PUBLIC])): 2,
                lambda: visitor.spoil(*self.garbage()): 1,
            }
            if self.random.random() < 0.8:
                visitor.sign_in(self.good())
            for step in self.random.choices(list(steps), steps.values(), k=self.random.randrange(1, 12)):
                if visitor.over:
                    return
                step()

    def upload(self, visitor):
        if not visitor.place.startswith("/file/"):
            visitor.go_on(method="POST", body=self.random.randbytes(self.random.choice([1, 100_000])))

    def garbage(self):
        """Authorization fields that no client sends who means it."""
        junk = base64.b64encode(self.random.randbytes(self.random.choice([1, 50, 3000]))).decode()
        type_3 = self.good().account.authenticate(ANY_CHALLENGE)
        flipped = bytearray(type_3)
        flipped[self.random.randrange(12, len(flipped))] ^= 1 << self.random.randrange(8)
        return self.random.choice([
            [("Authorization", f"NTLM {junk}")],
            [("Authorization", f"Negotiate {junk}")],
            [("Authorization", "Basic " + base64.b64encode(b"EXAMPLE\\u0:x").decode())],
            [("Authorization", "NTLM ===")],
            [("Authorization", "NTLM " + "A" * 20_000)],
            [authorization(type_3)],
            [authorization(bytes(flipped))],
            [authorization(negotiate()), authorization(type_3)],
        ])

    def pipeline(self):
        """Several requests at once, and something in between that signs out."""
        with self.visitor() as visitor:
            visitor.sign_in(self.good())
            password = visitor.password
            if visitor.over or password is None or not self.ledger.now(password).may_be_good():
                return
            count, out = self.random.randrange(2, 6), self.random.randrange(1, 6)
            users = [password.account.name if number < out else None for number in range(count)]
            try:
                for number, user in enumerate(users):
                    visitor.send(visitor.place, [expect(user)] + (self.garbage() if number == out else []))
                answers = [visitor.receive() for _ in users]
            except (OSError, ValueError) as error:
                raise Closed(repr(error)) from error
            for answer, user in zip(answers, users):
                if answer.status == 200 and not visitor.place.startswith("/file/"):
                    self.counts["served"] += 1
                    if answer.json["user"] != user:
                        raise Wrong(f"identity: {answer.json['user']!r} in place of {user!r}")
                if answer.status == 200 and user is None or answer.status not in (200, 400, 401):
                    raise Wrong(f"{answer.status} for {user}")

    def curl(self):
        start, password = time.monotonic(), self.random.choice([self.good, self.bad])()
        may = self.ledger.now(password).may_be_good()
        site, name = self.sites[self.random.choice(["http", "https"])], password.account.name if may else None
        done = subprocess.run(
            ["curl", "--silent", "--disable", "--noproxy", "*", "--max-time", str(DEADLINE), "--cacert",
             site.server.ca, "--ntlm", "--user", password.account.credentials, "--header", ": ".join(expect(name)),
             "--write-out", "\n%{http_code}", site.url("/curl")],
            capture_output=True, text=True, check=False)
        body, _, status = done.stdout.rpartition("\n")
        if status == "200":
            self.counts["served"] += 1
            if json.loads(body)["user"] != name:
                raise Wrong(f"identity: {body} in place of {name!r}")
        elif status != "401" and not done.returncode:
            raise Wrong(f"{done}")
        elif self.ledger.now(password).was_good_since(start):
            raise Closed("between the requests of curl, which does not come again")

    def http2(self):
        """Streams of one connection: what is public is served, and no token signs in."""
        token = self.good().account.authenticate(ANY_CHALLENGE)
        asked = [(PUBLIC, ""), ("/", None), ("/", None, authorization(negotiate())), ("/", None, authorization(token))]
        with self.connect_http2() as connection:
            try:
                for _ in range(self.random.randrange(1, 4)):
                    some = self.random.choices(asked, k=self.random.randrange(1, 5))
                    streams = [(connection.send(path, expect(user), *headers), user) for path, user, *headers in some]
                    if self.random.random() < 0.2:
                        self.break_off(connection, streams)
                        return
                    for stream, user in streams:
                        self.check_http2(connection.receive(stream), user)
            except (OSError, h2.exceptions.ProtocolError) as error:
                # A server that goes away says so; h2 then takes no more answers, and minds if they come.
                goes_away = connection.last_stream is not None or isinstance(error, h2.exceptions.ProtocolError)
                if not goes_away and not connection.is_used:
                    raise Lost(f"on HTTP/2: {error!r}") from error
                raise Closed(repr(error)) from error

    def connect_http2(self):
        try:
            return Http2(self.sites["https"])
        except OSError as error:
            raise Lost(f"no connection: {error!r}") from error

    def check_http2(self, answer, user):
        self.counts[f"h2 {answer['status']}"] += 1
        if answer["status"] != (401 if user is None else 200):
            raise Wrong(f"{answer} for {user!r}")
        if user is not None:
            self.counts["served"] += 1
            if json.loads(answer["body"])["user"] != user:
                raise Wrong(f"identity: {answer} in place of {user!r}")

    def break_off(self, connection, streams):
        self.counts["h2 broken off"] += 1
        if self.random.random() < 0.5:
            for stream, _ in streams:
                connection.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            connection.socket.sendall(connection.h2.data_to_send())
        else:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def leave_half_done(self):
        """A handshake that stays half done while its connection stays open, for a while."""
        visitor = self.visitor()
        self.held.append(visitor)
        visitor.ask(visitor.place, None, authorization(negotiate()))
        if len(self.held) > HELD:
            self.held.popleft().__exit__()

    def abort(self):
        """A client that leaves at any point of a sign-in."""
        with self.visitor() as visitor:
            if self.random.random() < 0.5:
                visitor.reset()
            password, body = self.good(), self.random.randbytes(50_000)
            name = password.account.name if self.ledger.now(password).may_be_good() else None
            point = self.random.randrange(8)
            if point < 2:
                self.cut(visitor, [expect(None), authorization(negotiate())], whole=point == 1)
                return
            challenge = visitor.ask(visitor.place, None, authorization(negotiate())).token
            type_3 = [expect(name), authorization(password.account.authenticate(challenge))]
            if point < 5:
                self.cut(visitor, type_3, whole=point == 4, body=body if point == 3 else b"")
                return
            visitor.finish(password, challenge)
            if not visitor.over:
                self.cut(visitor, [expect(name)], whole=point == 7, body=body if point == 6 else b"")

    def cut(self, visitor, headers, whole, body=b""):
        """Sends a request, or some of it, and reads no answer."""
        lines = [f"POST {visitor.place} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        try:
            visitor.socket.sendall(data if whole else data[:self.random.randrange(len(data))])
        except OSError as error:
            raise Closed(repr(error)) from error

    def noise(self):
        """What is no HTTP at all, or very bad HTTP."""
        with self.visitor() as visitor:
            try:
                visitor.socket.sendall(self.random.choice([
                    self.random.randbytes(self.random.randrange(1, 5000)),
                    b"GET / HTTP/1.1\r\n" + self.random.randbytes(500) + b"\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: NTLM \0\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                ]))
                visitor.socket.shutdown(socket.SHUT_WR)
                while visitor.socket.recv(65536):
                    pass
            except OSError:
                pass  # the server need not be polite, either


def main(specification):
    clients = [Client(specification, number) for number in range(specification["clients"])]
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"counts": sum((client.counts for client in clients), Counter()),
                      "lost": sum((client.lost for client in clients), []),
                      "wrong": sum((client.wrong for client in clients), [])}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
