"""Channel bindings of Kerberos, by certificate, handshake, mode and what the client sends: one test is one cell.

The servers are those of test_certificates.py. A client of libgssapi cannot send no binding at all, but zeros; the
token without one is of our own making. To the library the two are one, unless the client says that it knows of
bindings: then it means that there is no TLS.
"""

import os
import pathlib
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace

import pytest
from gssapi.raw import ChannelBindings
from impacket.krb5 import crypto

from bindings import (
    BESIDE, COMPARED, ECDSA, MODES, PLACES, RSA, SENT, UNDEFINED, UNKNOWN, VARIABLE, Connections, Place, alone, cells,
    is_bound, is_resumed, is_told_bound, make_client, running_servers)
from conftest import SERVERS, make_server
from endurance import rounds
from krb5_client import NAME, ap_req, gss_checksum, integer, octets, sequence, shown
from ntlm_client import ABSENT, channel_binding, end_point
from raw_http import Connection
from servers import DebianNginx, Log, Site
from test_configuration import directive
from tls_client import HANDSHAKES, PythonClient, VirtualHost
from world import ALICE, CertificatesBySignature

# Why a sign-in is refused, by mode and binding. Where there is no reason, it is not.
MISSING = {("require", sent): "missing-channel-binding" for sent in ("absent", "zero")}
REFUSED = {
    COMPARED: MISSING | {(mode, "wrong"): "wrong-channel-binding" for mode in ("allow", "require")},
    UNDEFINED: {("require", sent): "missing-channel-binding" for sent in SENT},
    BESIDE: MISSING | {(mode, sent): "wrong-channel-binding"
                       for mode in ("allow", "require") for sent in ("right", "wrong")},
    UNKNOWN: MISSING | {(mode, sent): "unknown-certificate"
                        for mode in ("allow", "require") for sent in ("right", "wrong")},
}
SOME = [place for place in PLACES if str(place) in {
    "rsa-sha256", "pss-sha384", "ecdsa-sha384", "ed25519", "two-rsa-sha256", "two-ecdsa-sha384",
    "two-ed25519-rsa-sha256", "two-ed25519-ed25519"}] + [VARIABLE]
TWO = [Place("two", "rsa-sha256", RSA), Place("two", "ecdsa-sha384", ECDSA)]
FULL = [handshake for handshake in HANDSHAKES if not handshake.is_resumed]


@pytest.fixture(scope="module")
def signed():
    return CertificatesBySignature()


@pytest.fixture(scope="module")
def listening(signed, realms):
    with running_servers(SERVERS, signed, realms) as servers:
        yield servers


@pytest.fixture(params=SERVERS)
def listener(request, listening):
    return listening[request.param]


@pytest.fixture(scope="module")
def connect(listening, signed):
    connections = Connections(listening, signed)
    yield connections
    connections.close()


@pytest.fixture(scope="module")
def client(realms, alice, signed):
    return Client(realms.forger().ticket(NAME), alice, signed)


class Client:
    """Makes tokens with a binding to the certificate of this name, or with another or none."""

    def __init__(self, ticket, user, signed):
        self.ticket, self.user, self.signed = ticket, user, signed

    def token(self, sent, name=None, **how):
        if sent == "absent":
            return ap_req(self.ticket, checksum=None, **how)
        data = {"right": name and end_point(self.signed.leaf[name]), "zero": None, "empty": b"",
                "wrong": b"tls-server-end-point:" + os.urandom(32)}[sent]
        return self.user.token(binding=None if data is None else ChannelBindings(application_data=data), **how)


def sign_in(connection, server, path, token):
    """Returns the status, who the server says it is, why it refuses, and whether a sign-in was bound."""
    log = Log(server.error_log)
    answer = connection.request(path, shown(token))
    bound = is_bound(log)
    assert is_told_bound(answer) == bool(bound)
    return answer, (answer.status, answer.headers["X-User"] or "", log.refusals(), bound)


def verdict(refused, bound, status=401):
    return (status, "", [refused], None) if refused else (200, NAME, [], bound)


def can_be_bound(place, handshake, mode, sent):
    return mode != "off" and sent == "right" and place.known_in(handshake) == COMPARED


@pytest.mark.parametrize("server, place, handshake, mode, sent, refused",
                         cells(SERVERS, REFUSED, rounds(SOME, [*PLACES, VARIABLE])))
def test_binding(listening, client, connect, server, place, handshake, mode, sent, refused):
    connection = connect(server, place, handshake)
    answer, found = sign_in(connection, listening[server], f"/{mode}", client.token(sent, place.shown))
    assert is_resumed(answer) == handshake.is_resumed
    assert found == verdict(refused, can_be_bound(place, handshake, mode, sent))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sent", SENT)
def test_over_http_nothing_is_checked_and_nobody_gets_in_where_a_binding_is_required(listener, client, mode, sent):
    with Connection(Site(listener, "http")) as connection:
        first = connection.request(f"/{mode}")
        assert (first.status, bool(first.challenges)) == ((403, False) if mode == "require" else (401, True))
        _, found = sign_in(connection, listener, f"/{mode}", client.token(sent, "rsa-sha256"))
        assert found == verdict(mode == "require" and "missing-channel-binding", False, 403)


# What the client says of itself

@pytest.fixture(scope="module")
def aware(client, realms):
    """One that knows of bindings, and says so where it has none."""
    path = realms.directory / "aware.conf"
    path.write_text("[libdefaults]\n    client_aware_channel_bindings = true\n")
    return Client(None, replace(client.user, krb5_conf=f"{path}:{client.user.krb5_conf}"), client.signed)


SAW_NO_TLS = {(mode, "zero"): "wrong-channel-binding" for mode in ("allow", "require")}
REFUSED_IF_AWARE = REFUSED | {
    COMPARED: REFUSED[COMPARED] | SAW_NO_TLS,
    BESIDE: REFUSED[BESIDE] | SAW_NO_TLS,
    UNKNOWN: REFUSED[UNKNOWN] | {where: "unknown-certificate" for where in SAW_NO_TLS},
}


@pytest.mark.parametrize("server, place, handshake, mode, sent, refused", cells(
    SERVERS, REFUSED_IF_AWARE, rounds([SOME[0], TWO[0], alone("ed25519", UNDEFINED), VARIABLE], [*PLACES, VARIABLE]),
    ["right", "zero", "wrong"]))
def test_who_knows_of_bindings_and_sends_none_saw_no_tls(listening, aware, connect, server, place, handshake, mode,
                                                        sent, refused):
    _, found = sign_in(connect(server, place, handshake), listening[server], f"/{mode}", aware.token(sent, place.shown))
    assert found == verdict(refused, can_be_bound(place, handshake, mode, sent))


@pytest.mark.parametrize("mode", ["off", "allow"])
def test_who_knows_of_bindings_and_sends_none_gets_in_without_tls(listener, aware, mode):
    with Connection(Site(listener, "http")) as connection:
        assert sign_in(connection, listener, f"/{mode}", aware.token("zero"))[1] == verdict(None, False)


def of_samba(ticket):
    """A checksum that is none of RFC 4121 4.1.1 (RFC 4120 5.5.1): it has no place for a binding."""
    key = ticket.session_key
    cksumtype = 16
    return sequence(integer(cksumtype), octets(
        crypto.make_checksum(cksumtype, crypto.Key(key.enctype, key.octets), 10, b"")))


@pytest.mark.parametrize("checksum", [
    lambda _: None, of_samba, lambda _: gss_checksum(binding=bytes(16)),
], ids=["none", "another kind", "zeros"])
@pytest.mark.parametrize("mode, refused", [("allow", None), ("require", "missing-channel-binding")])
@pytest.mark.parametrize("place", [alone("rsa-sha256"), TWO[0]], ids=str)
def test_a_token_that_has_no_binding(listener, client, place, mode, refused, checksum):
    token = ap_req(client.ticket, checksum=checksum(client.ticket))
    with make_client(listener, place, FULL[0]).connect() as connection:
        assert sign_in(connection, listener, f"/{mode}", token)[1] == verdict(refused, False)


@pytest.mark.parametrize("mech", ["krb5", "spnego"])
@pytest.mark.parametrize("sent", ["right", "zero", "wrong"])
def test_a_binding_counts_in_spnego_too(listener, client, mech, sent):
    refused = REFUSED[COMPARED].get(("require", sent))
    with make_client(listener, alone("rsa-sha512"), FULL[1]).connect() as connection:
        token = client.token(sent, "rsa-sha512", mech=mech)
        assert sign_in(connection, listener, "/require", token)[1] == verdict(refused, True)


def test_one_connection_has_one_answer_for_each_token(listener, client):
    """None is taken for that of a token before, and none is asked of the next request."""
    with make_client(listener, alone("rsa-sha256"), FULL[1]).connect() as connection:
        for mode, sent in (("require", "right"), ("require", "zero"), ("allow", "wrong"), ("require", "right"),
                           ("off", "wrong"), ("require", "wrong"), ("allow", "zero"), ("require", "right")):
            _, found = sign_in(connection, listener, f"/{mode}", client.token(sent, "rsa-sha256"))
            assert found == verdict(REFUSED[COMPARED].get((mode, sent)), mode != "off" and sent == "right")
            assert connection.request(f"/{mode}").status == 401


# Several certificates, of which the client saw one

@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("place, other", [(TWO[0], TWO[1].shown), (TWO[1], TWO[0].shown)], ids=["rsa", "ecdsa"])
@pytest.mark.parametrize("server", SERVERS)
def test_the_other_certificate_of_a_server_binds_too(listening, client, connect, server, place, other, handshake):
    connection = connect(server, place, handshake)
    _, found = sign_in(connection, listening[server], "/require", client.token("right", other))
    assert found == verdict(None, True)


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=str)
@pytest.mark.parametrize("place, other", [
    (alone("rsa-sha384"), "rsa-sha512"), (TWO[0], "rsa-sha512"), (Place("two", "rsa-sha256"), "ecdsa-sha256"),
    (alone("chain"), "rsa-sha256"),
], ids=str)
@pytest.mark.parametrize("server", SERVERS)
def test_a_certificate_of_another_server_does_not_bind(listening, client, server, place, other, handshake):
    with make_client(listening[server], place, handshake).connect() as connection:
        for mode in ("allow", "require"):
            _, found = sign_in(connection, listening[server], f"/{mode}", client.token("right", other))
            assert found == verdict("wrong-channel-binding", None)


@pytest.mark.parametrize("sent", ["right", "absent", "zero"])
@pytest.mark.parametrize("place", [alone("rsa-sha256"), *TWO], ids=str)
def test_of_several_certificates_none_makes_a_replay_and_a_replay_stays_one(listener, client, place, sent):
    """That of the connection is found by trying, which must neither fill the cache of replays nor go round it."""
    token = client.token(sent, place.shown)
    with make_client(listener, place, FULL[1]).connect() as connection:
        assert sign_in(connection, listener, "/allow", token)[1] == verdict(None, sent == "right")
        for mode in ("allow", "require"):
            _, found = sign_in(connection, listener, f"/{mode}", token)
            assert found == verdict("replayed", None)


@pytest.mark.parametrize("place", [alone("rsa-sha256"), *TWO], ids=str)
def test_a_token_with_a_wrong_binding_is_no_good_elsewhere_either(listener, client, place):
    """It was shown to this server, whatever came of it: where bindings are off, too, it is a replay."""
    token = client.token("wrong")
    with make_client(listener, place, FULL[1]).connect() as connection:
        assert sign_in(connection, listener, "/allow", token)[1] == verdict("wrong-channel-binding", None)
        assert sign_in(connection, listener, "/off", token)[1] == verdict("replayed", None)


@pytest.mark.parametrize("handshake", [h for h in HANDSHAKES if h.is_resumed], ids=str)
@pytest.mark.parametrize("server", [name for name in SERVERS if "nginx" in name])
@pytest.mark.parametrize("mode", ["allow", "require"])
def test_nothing_is_bound_where_the_certificate_is_not_known(listening, client, connect, server, mode, handshake):
    """Not even the binding to nothing."""
    connection = connect(server, VARIABLE, handshake)
    _, found = sign_in(connection, listening[server], f"/{mode}", client.token("empty"))
    assert found == verdict("unknown-certificate", None)


@pytest.mark.parametrize("mode", ["allow", "require"])
def test_the_binding_to_nothing_is_wrong(listener, client, mode):
    for place in (alone("rsa-sha256"), TWO[0]):
        with make_client(listener, place, FULL[0]).connect() as connection:
            _, found = sign_in(connection, listener, f"/{mode}", client.token("empty"))
            assert found == verdict("wrong-channel-binding", None)


# What ends TLS in front of the server

def front_of(server):
    class Front(DebianNginx):
        """An nginx without our module."""

        templates = "conf/front"
        schemes = ("https",)

        def fill_in(self, text):
            self.values["BEHIND"] = server.ports["http"]
            return super().fill_in(text)

    return Front


@pytest.fixture(scope="module")
def fronts(listening, signed):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield {name: stack.enter_context(make_server(front_of(server), directory / name, signed))
               for name, server in listening.items()}


@pytest.fixture(params=SERVERS)
def behind(request, listening, fronts):
    """A server, and what ends TLS in front of it."""
    return listening[request.param], fronts[request.param]


def connection_to(front, name):
    return PythonClient(VirtualHost(front, f"{name}.test"), FULL[1]).connect()


@pytest.mark.parametrize("name, known", [("chain", True), ("rsa-sha512", True), ("rsa-sha384", False)],
                         ids=["PEM", "DER", "another"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sent", SENT)
def test_a_binding_to_what_ends_tls(behind, client, name, known, mode, sent):
    server, front = behind
    refused = REFUSED[COMPARED].get((mode, "wrong" if sent == "right" and not known else sent))
    with connection_to(front, name) as connection:
        first = connection.request(f"/behind/{mode}")
        assert (first.status, first.challenges) == (401, ["Negotiate"])
        _, found = sign_in(connection, server, f"/behind/{mode}", client.token(sent, name))
        assert found == verdict(refused, mode != "off" and sent == "right" and known)


def test_nobody_gets_in_through_what_ends_tls_where_its_certificate_is_not_known(behind, client):
    server, front = behind
    with connection_to(front, "chain") as connection:
        assert connection.request("/require").status == 403
        _, found = sign_in(connection, server, "/require", client.token("right", "chain"))
        assert found == verdict("missing-channel-binding", None, 403)


def test_what_ends_tls_adds_to_what_the_server_shows_itself(listener, client):
    """The three that it knows by name, its own two, and no other."""
    places = [TWO[0].shown, TWO[1].shown, "chain", "rsa-sha512", "ecdsa-sha256"]
    for place in TWO:
        with make_client(listener, place, FULL[1]).connect() as connection:
            for name in [*places, "rsa-sha384"]:
                _, found = sign_in(connection, listener, "/behind/require", client.token("right", name))
                assert found == verdict(name not in places and "wrong-channel-binding", True)


@pytest.mark.parametrize("name, sent, refused", [
    ("chain", "right", None), ("rsa-sha512", "right", None), ("rsa-sha384", "right", "wrong-channel-binding"),
    ("chain", "absent", "missing-channel-binding"),
])
def test_ntlm_is_bound_to_what_ends_tls_if_that_shares_no_connections(behind, signed, name, sent, refused):
    server, front = behind
    log = Log(server.error_log)
    binding = channel_binding(signed.leaf[name]) if sent == "right" else ABSENT
    with connection_to(front, name) as connection:
        answer = connection.sign_in(ALICE, "/behind/proxy/require", binding=binding)
        assert (answer.status, answer.headers["X-User"] or "") == ((401, "") if refused else (200, ALICE.name))
        assert log.refusals() == ([refused] if refused else [])
        assert is_bound(log) is (None if refused else True)
        assert is_told_bound(answer) == (not refused)


def test_without_that_ntlm_is_not_offered_through_it(behind):
    server, front = behind
    log = Log(server.error_log)
    with connection_to(front, "chain") as connection:
        answer = connection.request("/behind/require")
        assert (answer.status, answer.challenges) == (401, ["Negotiate"])
    assert log.refusals() == []


# Certificates in the configuration

FILES = {
    "missing": (None, "nowhere.pem"),
    "empty": (b"", "empty.pem"),
    "garbage": (bytes(range(48, 148)), "garbage.pem"),
    "garbage in DER": (b"\x30\x03\x02\x01\x00", "garbage.der"),
    "cut short": ("chain", "short.pem"),
    "a key": ("key", "key.pem"),
    "ed25519": ("ed25519", "ed25519.pem"),
    "ed448": ("ed448", "ed448.pem"),
}


def content(signed, what):
    made = {"chain": signed.leaf["chain"][:-200], "key": signed.key["chain"], "ed25519": signed.leaf["ed25519"],
            "ed448": signed.leaf["ed448"]}
    return made.get(what, what)


@pytest.mark.parametrize("what, name", FILES.values(), ids=FILES)
def test_a_file_without_a_certificate_is_an_error_with_its_place(listener, signed, what, name):
    path = listener.directory / "front" / name
    path.parent.mkdir(exist_ok=True)
    if what is not None:
        path.write_bytes(content(signed, what))
    status, said, places = checked(listener, f"{listener.directory}/chain.pem {path}")
    assert status != 0, said
    assert name in said, said
    assert any(place in said for place in places), said


def test_every_file_that_has_one_is_taken(listener):
    names = ["chain.pem", "rsa-sha512.der", "rsa-md5.pem", "pss-sha512.pem", "ecdsa-sha384.pem"]
    status, said, _ = checked(listener, " ".join(f"{listener.directory}/{name}" for name in names))
    assert status == 0, said


def checked(server, files):
    """What -t says of the server's own configuration with these files, and how it names their line."""
    text = server.configuration.read_text()
    (line,) = [line for line in text.splitlines() if "ertificates " in line and "chain.pem" in line]
    changed = text.replace(line, directive(server, "certificates", files))
    status, said = server.test(changed)
    number = text.splitlines().index(line) + 1
    path = server.directory / f"tested-{server.name}.conf"
    return status, said, [f"{path}:{number}", f"line {number} of {path}"]
