"""Channel bindings by certificate, handshake, mode and what the client sends: one test is one cell.

A client sends what follows from the certificate that it saw (RFC 5929 4.1). The servers share a
port; most have the name of their certificate.
"""

import pathlib
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import hashes

from conftest import make_server
from ntlm_client import ABSENT, WRONG, ZERO, channel_binding
from servers import HERE, Httpd, Log, Nginx
from tls_client import HANDSHAKES, OpensslClient, PythonClient, VirtualHost
from world import ALICE, CertificatesBySignature

MODES = ["off", "allow", "require"]
SENT = ["right", "absent", "zero", "wrong"]

# Why a sign-in is refused, by mode and binding. Where there is no reason, it is not.
COMPARED = {
    ("allow", "zero"): "wrong-channel-binding",
    ("allow", "wrong"): "wrong-channel-binding",
    ("require", "absent"): "missing-channel-binding",
    ("require", "zero"): "wrong-channel-binding",
    ("require", "wrong"): "wrong-channel-binding",
}
# No binding is defined for the server's only certificate.
UNDEFINED = {("require", sent): "missing-channel-binding" for sent in SENT}
# None is for the one that the client saw, but one is for another: a relay chooses what it is shown.
BESIDE = COMPARED | {(mode, "right"): "wrong-channel-binding" for mode in ("allow", "require")}
# The server cannot tell which certificate the client saw.
UNKNOWN = {("require", "absent"): "missing-channel-binding"} | {
    (mode, sent): "unknown-certificate" for mode in ("allow", "require") for sent in ("right", "zero", "wrong")}


@dataclass(frozen=True)
class Key:
    """A kind of key, as a client asks for it in TLS 1.2 and in TLS 1.3."""

    ciphers: str
    sigalgs: str


RSA = Key("ECDHE-RSA-AES128-GCM-SHA256", "RSA-PSS+SHA256")
ECDSA = Key("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA+SHA256")
ED25519 = Key("ECDHE-ECDSA-AES128-GCM-SHA256", "ed25519")

# A server, the certificate that a client sees which asks for this key, and what is refused.
PLACES = [
    ("rsa-sha256", "rsa-sha256", None, COMPARED),
    ("rsa-sha384", "rsa-sha384", None, COMPARED),
    ("rsa-sha512", "rsa-sha512", None, COMPARED),
    ("rsa-sha1", "rsa-sha1", None, COMPARED),
    ("rsa-md5", "rsa-md5", None, COMPARED),
    ("pss-sha256", "pss-sha256", None, COMPARED),
    ("pss-sha384", "pss-sha384", None, COMPARED),
    ("pss-sha512", "pss-sha512", None, COMPARED),
    ("pss-sha1", "pss-sha1", None, COMPARED),
    ("ecdsa-sha256", "ecdsa-sha256", None, COMPARED),
    ("ecdsa-sha384", "ecdsa-sha384", None, COMPARED),
    ("ecdsa-sha512", "ecdsa-sha512", None, COMPARED),
    ("ed25519-key", "ed25519-key", None, COMPARED),
    ("ed25519", "ed25519", None, UNDEFINED),
    ("ed448", "ed448", None, UNDEFINED),
    ("chain", "chain", None, COMPARED),
    ("two", "rsa-sha256", RSA, COMPARED),
    ("two", "ecdsa-sha384", ECDSA, COMPARED),
    ("two-turned", "rsa-sha256", RSA, COMPARED),
    ("two-turned", "ecdsa-sha384", ECDSA, COMPARED),
    ("two-ed25519", "rsa-sha256", RSA, COMPARED),
    ("two-ed25519", "ed25519", ED25519, BESIDE),
]
CELLS = [
    pytest.param(server, name, shown, key, handshake, mode, sent, refused.get((mode, sent)),
                 id="-".join([server, name, *([shown] if key else []), str(handshake), mode, sent]))
    for server in ("nginx", "httpd") for name, shown, key, refused in PLACES
    for handshake in HANDSHAKES for mode in MODES for sent in SENT
]
# A certificate that nginx looks for in each full handshake.
CELLS += [
    pytest.param("nginx", "variable", "rsa-sha384", None, handshake, mode, sent,
                 (UNKNOWN if handshake.is_resumed else COMPARED).get((mode, sent)),
                 id=f"nginx-variable-{handshake}-{mode}-{sent}")
    for handshake in HANDSHAKES for mode in MODES for sent in SENT
]


class BindingNginx(Nginx):
    templates = "conf/bindings"

    def fill_in(self, text):
        self.values["MODES"] = HERE / self.templates / "nginx-modes.conf"
        return super().fill_in(text)


class BindingHttpd(Httpd):
    templates = "conf/bindings"


@contextmanager
def running_servers(signed):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield {kind.name: stack.enter_context(make_server(kind, directory / kind.name, signed))
               for kind in (BindingNginx, BindingHttpd)}


@pytest.fixture(scope="module")
def signed():
    return CertificatesBySignature()


@pytest.fixture(scope="module")
def listening(signed):
    with running_servers(signed) as servers:
        yield servers


@pytest.fixture(params=["nginx", "httpd"])
def listener(request, listening):
    return listening[request.param]


@pytest.fixture(scope="module")
def connect(listening, signed):
    """Gives a connection with this handshake. Cells that ask for the same one after another share it."""
    stack, known = ExitStack(), []

    def connection(*wanted):
        if known[:1] != [wanted]:
            stack.close()
            known[:] = wanted, open_connection(stack, *wanted)
        return known[1]

    def open_connection(stack, server, name, shown, key, handshake):
        client = make_client(listening[server], name, key, handshake)
        stack.callback(client.close)
        with client.connect() as first:
            assert first.request("/off").status == 401
            assert client.certificate(first) == signed.leaf[shown]
            client.keep_session(first)
        return stack.enter_context(client.connect())

    with stack:
        yield connection


def make_client(server, name, key, handshake):
    host = VirtualHost(server, f"{name}.test")
    if key and handshake.version == "1.3":
        return OpensslClient(host, handshake, key.sigalgs)
    return PythonClient(host, handshake, key and key.ciphers)


def is_resumed(answer):
    """What the server says of the connection, each in its own words."""
    return {".": False, "r": True, "Initial": False, "Resumed": True}[answer.headers["X-Session"]]


def sign_in(connection, server, mode, binding):
    """Returns the answer, and why it refuses."""
    log = Log(server.error_log)
    answer = connection.sign_in(ALICE, f"/{mode}", binding=binding)
    return answer, log.refusals()


@pytest.mark.parametrize("server, name, shown, key, handshake, mode, sent, refused", CELLS)
def test_binding(listening, signed, connect, server, name, shown, key, handshake, mode, sent, refused):
    binding = {"right": channel_binding(signed.leaf[shown]), "absent": ABSENT, "zero": ZERO, "wrong": WRONG}[sent]
    connection = connect(server, name, shown, key, handshake)
    answer, refusals = sign_in(connection, listening[server], mode, binding)
    assert is_resumed(answer) == handshake.is_resumed
    assert refusals == ([refused] if refused else [])
    assert (answer.status, answer.headers["X-User"] or "") == ((401, "") if refused else (200, ALICE.name))


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("shown, key, other", [
    ("rsa-sha256", RSA, "ecdsa-sha384"), ("ecdsa-sha384", ECDSA, "rsa-sha256"),
], ids=["rsa", "ecdsa"])
@pytest.mark.parametrize("server", ["nginx", "httpd"])
def test_the_other_certificate_of_a_server_binds_too(listening, signed, connect, server, shown, key, other, handshake):
    """A relay chooses which one it is shown, as any client: the key of either is what it does not have."""
    connection = connect(server, "two", shown, key, handshake)
    answer, refusals = sign_in(connection, listening[server], "require", channel_binding(signed.leaf[other]))
    assert (answer.status, refusals) == (200, [])


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("name, shown, key", [("rsa-sha384", "rsa-sha384", None), ("two", "rsa-sha256", RSA)],
                         ids=["one", "two"])
@pytest.mark.parametrize("server", ["nginx", "httpd"])
def test_a_certificate_of_another_server_does_not_bind(listening, signed, connect, server, name, shown, key, handshake):
    connection = connect(server, name, shown, key, handshake)
    answer, refusals = sign_in(connection, listening[server], "allow", channel_binding(signed.leaf["rsa-sha512"]))
    assert (answer.status, refusals) == (401, ["wrong-channel-binding"])


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("server", ["nginx", "httpd"])
def test_the_certificate_of_the_issuer_does_not_bind(listening, signed, connect, server, handshake):
    connection = connect(server, "chain", "chain", None, handshake)
    answer, refusals = sign_in(connection, listening[server], "allow", channel_binding(signed.intermediate))
    assert (answer.status, refusals) == (401, ["wrong-channel-binding"])


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("server_name", [None, "unknown.test"])
def test_a_client_that_names_no_known_server_is_bound_to_the_first(listener, signed, server_name, handshake):
    for key in (RSA, ECDSA) if handshake.version == "1.2" else (None,):
        client = PythonClient(VirtualHost(listener, "two.test"), handshake, key and key.ciphers)
        client.server_name = server_name
        with client.connect() as connection:
            assert connection.request("/require").status == 401
            client.keep_session(connection)
            seen = client.certificate(connection)
        assert seen in (signed.leaf["rsa-sha256"], signed.leaf["ecdsa-sha384"])
        with client.connect() as connection:
            answer, refusals = sign_in(connection, listener, "require", channel_binding(seen))
            assert (answer.status, refusals, is_resumed(answer)) == (200, [], handshake.is_resumed)
            answer, refusals = sign_in(connection, listener, "require", channel_binding(signed.leaf["rsa-sha384"]))
            assert (answer.status, refusals) == (401, ["wrong-channel-binding"])


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
def test_in_nginx_the_server_that_tls_named_counts_not_that_of_the_request(listening, signed, handshake):
    """httpd answers such requests with 421."""
    nginx = listening["nginx"]
    client = PythonClient(VirtualHost(nginx, "rsa-sha384.test"), handshake)
    client.server_name = "two.test"
    with client.connect() as connection:
        connection.request("/off")
        client.keep_session(connection)
        seen = client.certificate(connection)
    with client.connect() as connection:
        answer, refusals = sign_in(connection, nginx, "require", channel_binding(seen))
        assert (answer.status, refusals) == (200, [])
        answer, refusals = sign_in(connection, nginx, "require", channel_binding(signed.leaf["rsa-sha384"]))
        assert (answer.status, refusals) == (401, ["wrong-channel-binding"])


def test_a_renewed_certificate_takes_the_place_of_the_old(signed):
    """Also for sessions that began before and are resumed: their clients have to begin anew."""
    binding = {"old": channel_binding(signed.leaf["rsa-sha384"])}
    with running_servers(signed) as servers:
        for server in servers.values():
            clients = [make_client(server, "rsa-sha384", None, handshake) for handshake in HANDSHAKES]
            for client in clients:
                with client.connect() as connection:
                    connection.request("/off")
                    client.keep_session(connection)
            renewed = signed.signed("rsa", "rsa", hashes.SHA384())
            binding["new"] = channel_binding(renewed)
            # Another file, not new contents: nginx tells by inode and second whether to read it again.
            (server.directory / "renewed.pem").write_bytes(renewed)
            (server.directory / "renewed.pem").replace(server.directory / "rsa-sha384.pem")
            server.reload()
            for client in clients:
                with client.connect() as connection:
                    for name, status in (("new", 200), ("old", 401)):
                        answer, _ = sign_in(connection, server, "require", binding[name])
                        assert answer.status == status
                    assert client.certificate(connection) == renewed or is_resumed(answer)
