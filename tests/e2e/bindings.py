"""Servers by how their certificates are signed, what a client may send that sees one, and connections to them.

The servers share a port; most have the name of their certificate. conf/bindings tells what is there: each mode of
channel bindings is a path.
"""

import os
import pathlib
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from conftest import SERVERS, make_server
from krb5_client import keytab
from krb5_world import SERVICE, install
from servers import HERE, IS_ROOT
from tls_client import HANDSHAKES, OpensslClient, PythonClient, VirtualHost

MODES = ["off", "allow", "require"]
SENT = ["right", "absent", "zero", "wrong"]

# What a server knows of the certificate that the client saw: which it is, or that there is no binding to it, alone or
# beside one of another certificate, or nothing at all.
COMPARED, UNDEFINED, BESIDE, UNKNOWN = "compared", "undefined", "beside", "unknown"


@dataclass(frozen=True)
class Key:
    """A kind of key, as a client asks for it in TLS 1.2 and in TLS 1.3."""

    ciphers: str
    sigalgs: str


RSA = Key("ECDHE-RSA-AES128-GCM-SHA256", "RSA-PSS+SHA256")
ECDSA = Key("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA+SHA256")
ED25519 = Key("ECDHE-ECDSA-AES128-GCM-SHA256", "ed25519")


@dataclass(frozen=True)
class Place:
    """A server, and the certificate that a client sees which asks for this kind of key."""

    server: str
    shown: str
    key: Key = None
    known: str = COMPARED
    known_later: str = COMPARED

    def __str__(self):
        return f"{self.server}-{self.shown}" if self.key else self.server

    def known_in(self, handshake):
        return self.known_later if handshake.is_resumed else self.known


def alone(name, known=COMPARED):
    return Place(name, name, None, known, known)


PLACES = [
    *map(alone, ["rsa-sha256", "rsa-sha384", "rsa-sha512", "rsa-sha1", "rsa-md5",
                 "pss-sha256", "pss-sha384", "pss-sha512", "pss-sha1",
                 "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512", "ed25519-key"]),
    alone("ed25519", UNDEFINED),
    alone("ed448", UNDEFINED),
    alone("chain"),
    Place("two", "rsa-sha256", RSA),
    Place("two", "ecdsa-sha384", ECDSA),
    Place("two-turned", "rsa-sha256", RSA),
    Place("two-turned", "ecdsa-sha384", ECDSA),
    Place("two-ed25519", "rsa-sha256", RSA),
    # A relay chooses what it is shown.
    Place("two-ed25519", "ed25519", ED25519, BESIDE, BESIDE),
]
# One that nginx looks for in each full handshake.
VARIABLE = Place("variable", "rsa-sha384", None, COMPARED, UNKNOWN)


def cells(servers, verdicts, places=(*PLACES, VARIABLE), bindings=SENT):
    """One for each place, handshake, mode and binding, with the reason that the verdicts have for it."""
    return [
        pytest.param(server, place, handshake, mode, sent, verdicts[place.known_in(handshake)].get((mode, sent)),
                     id=f"{server}-{place}-{handshake}-{mode}-{sent}")
        for server in servers for place in places if place != VARIABLE or "nginx" in server
        for handshake in HANDSHAKES for mode in MODES for sent in bindings
    ]


def with_bindings(kind, realms):
    """The server with what conf/bindings names."""

    class WithBindings(kind):
        templates = "conf/bindings"

        def start(self, wrapper=()):
            install(self.directory / "keytab", keytab(realms.entries(SERVICE)))
            (self.directory / "replays").mkdir()
            if IS_ROOT:
                shutil.chown(self.directory / "replays", "www-data")
            certificate = x509.load_pem_x509_certificate((self.directory / "rsa-sha512.pem").read_bytes())
            (self.directory / "rsa-sha512.der").write_bytes(certificate.public_bytes(Encoding.DER))
            return super().start(wrapper)

        def environment(self, for_test=False):
            return {**(super().environment(for_test) or os.environ), "KRB5_CONFIG": str(realms.kdc.krb5_conf)}

        def fill_in(self, text):
            self.values["MODES"] = HERE / self.templates / "nginx-modes.conf"
            return super().fill_in(text)

    return WithBindings


@contextmanager
def running_servers(names, signed, realms):
    """These of SERVERS, by name."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield {name: stack.enter_context(make_server(with_bindings(SERVERS[name], realms), directory / name, signed))
               for name in names}


class Connections:
    """Gives connections with a handshake. Cells that ask for the same one after another share it."""

    def __init__(self, servers, signed):
        self.servers, self.signed = servers, signed
        self.stack, self.wanted, self.connection = ExitStack(), None, None

    def __call__(self, server, place, handshake):
        wanted = (server, place, handshake)
        if self.wanted != wanted:
            self.close()
            self.connection = self.open(*wanted)
            self.wanted = wanted
        return self.connection

    def open(self, server, place, handshake):
        client = make_client(self.servers[server], place, handshake)
        self.stack.callback(client.close)
        with client.connect() as first:
            assert first.request("/off").status == 401
            assert client.certificate(first) == self.signed.leaf[place.shown]
            client.keep_session(first)
        return self.stack.enter_context(client.connect())

    def close(self):
        self.wanted = None
        self.stack.close()


def make_client(server, place, handshake):
    host = VirtualHost(server, f"{place.server}.test")
    if place.key and handshake.version == "1.3":
        return OpensslClient(host, handshake, place.key.sigalgs)
    return PythonClient(host, handshake, place.key and place.key.ciphers)


def is_resumed(answer):
    """What the server says of the connection, each in its own words."""
    return {".": False, "r": True, "Initial": False, "Resumed": True}[answer.headers["X-Session"]]


def is_bound(log):
    """Whether the server says of its sign-ins, all alike, that they are bound to TLS; None if there were none."""
    found = {", bound to its TLS connection" in line for line in log.lines("0 signed-in")}
    assert len(found) <= 1, log.lines()
    return found.pop() if found else None


def is_told_bound(answer):
    """Whether the variable says so of who asked for this."""
    return {"1": True, "": False}[answer.headers["X-Bound"] or ""]
