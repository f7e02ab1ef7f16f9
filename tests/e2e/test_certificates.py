"""Channel bindings by certificate, handshake, mode and what the client sends: one test is one cell.

A client sends what follows from the certificate that it saw (RFC 5929 4.1). This is for NTLM;
test_kerberos_bindings.py has the same for Kerberos.
"""

import pytest
from cryptography.hazmat.primitives import hashes

from bindings import (
    BESIDE, COMPARED, ECDSA, RSA, UNDEFINED, UNKNOWN, Connections, Place, alone, cells, is_resumed, make_client,
    running_servers)
from ntlm_client import ABSENT, WRONG, ZERO, channel_binding
from servers import Log
from tls_client import HANDSHAKES, PythonClient, VirtualHost
from world import ALICE, CertificatesBySignature

NAMES = ["nginx", "httpd"]

# Why a sign-in is refused, by mode and binding. Where there is no reason, it is not.
REFUSED = {
    COMPARED: {
        ("allow", "zero"): "wrong-channel-binding",
        ("allow", "wrong"): "wrong-channel-binding",
        ("require", "absent"): "missing-channel-binding",
        ("require", "zero"): "wrong-channel-binding",
        ("require", "wrong"): "wrong-channel-binding",
    },
    UNDEFINED: {("require", sent): "missing-channel-binding" for sent in ("right", "absent", "zero", "wrong")},
    UNKNOWN: {("require", "absent"): "missing-channel-binding"} | {
        (mode, sent): "unknown-certificate" for mode in ("allow", "require") for sent in ("right", "zero", "wrong")},
}
REFUSED[BESIDE] = REFUSED[COMPARED] | {(mode, "right"): "wrong-channel-binding" for mode in ("allow", "require")}


@pytest.fixture(scope="module")
def signed():
    return CertificatesBySignature()


@pytest.fixture(scope="module")
def listening(signed, realms):
    with running_servers(NAMES, signed, realms) as servers:
        yield servers


@pytest.fixture(params=NAMES)
def listener(request, listening):
    return listening[request.param]


@pytest.fixture(scope="module")
def connect(listening, signed):
    connections = Connections(listening, signed)
    yield connections
    connections.close()


def sign_in(connection, server, mode, binding):
    """Returns the answer, and why it refuses."""
    log = Log(server.error_log)
    answer = connection.sign_in(ALICE, f"/{mode}", binding=binding)
    return answer, log.refusals()


@pytest.mark.parametrize("server, place, handshake, mode, sent, refused", cells(NAMES, REFUSED))
def test_binding(listening, signed, connect, server, place, handshake, mode, sent, refused):
    binding = {"right": channel_binding(signed.leaf[place.shown]), "absent": ABSENT, "zero": ZERO, "wrong": WRONG}[sent]
    connection = connect(server, place, handshake)
    answer, refusals = sign_in(connection, listening[server], mode, binding)
    assert is_resumed(answer) == handshake.is_resumed
    assert refusals == ([refused] if refused else [])
    assert (answer.status, answer.headers["X-User"] or "") == ((401, "") if refused else (200, ALICE.name))


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("shown, key, other", [
    ("rsa-sha256", RSA, "ecdsa-sha384"), ("ecdsa-sha384", ECDSA, "rsa-sha256"),
], ids=["rsa", "ecdsa"])
@pytest.mark.parametrize("server", NAMES)
def test_the_other_certificate_of_a_server_binds_too(listening, signed, connect, server, shown, key, other, handshake):
    """A relay chooses which one it is shown, as any client: the key of either is what it does not have."""
    connection = connect(server, Place("two", shown, key), handshake)
    answer, refusals = sign_in(connection, listening[server], "require", channel_binding(signed.leaf[other]))
    assert (answer.status, refusals) == (200, [])


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("place", [alone("rsa-sha384"), Place("two", "rsa-sha256", RSA)], ids=["one", "two"])
@pytest.mark.parametrize("server", NAMES)
def test_a_certificate_of_another_server_does_not_bind(listening, signed, connect, server, place, handshake):
    connection = connect(server, place, handshake)
    answer, refusals = sign_in(connection, listening[server], "allow", channel_binding(signed.leaf["rsa-sha512"]))
    assert (answer.status, refusals) == (401, ["wrong-channel-binding"])


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("server", NAMES)
def test_the_certificate_of_the_issuer_does_not_bind(listening, signed, connect, server, handshake):
    connection = connect(server, alone("chain"), handshake)
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


def test_a_renewed_certificate_takes_the_place_of_the_old(signed, realms):
    """Also for sessions that began before and are resumed: their clients have to begin anew."""
    binding = {"old": channel_binding(signed.leaf["rsa-sha384"])}
    with running_servers(NAMES, signed, realms) as servers:
        for server in servers.values():
            clients = [make_client(server, alone("rsa-sha384"), handshake) for handshake in HANDSHAKES]
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
