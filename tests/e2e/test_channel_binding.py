"""tls-server-end-point bindings: off, allow and require against what a client sends."""

import pytest

from ntlm_client import ABSENT, WRONG, ZERO, channel_binding, negotiate
from raw_http import Connection, authorization
from world import ALICE, BOB

REFUSED = {
    ("allow", "zero"): "wrong-channel-binding",
    ("allow", "wrong"): "wrong-channel-binding",
    ("require", "zero"): "wrong-channel-binding",
    ("require", "wrong"): "wrong-channel-binding",
    ("require", "absent"): "missing-channel-binding",
}


@pytest.fixture
def bindings(certificates):
    return {"right": channel_binding(certificates.leaf), "absent": ABSENT, "zero": ZERO, "wrong": WRONG}


@pytest.mark.parametrize("mode", ["off", "allow", "require"])
@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_over_https(secure_site, bindings, mode, sent):
    path = f"/binding/{mode}/"
    with Connection(secure_site) as connection:
        log = secure_site.log()
        answer = connection.sign_in(ALICE, path, binding=bindings[sent])
        reason = REFUSED.get((mode, sent))
        if reason is None:
            bound = "1" if mode != "off" and sent == "right" else None
            for answer in (answer, connection.request(path)):
                assert (answer.user, answer.json["negotiate"].get("channel_bound")) == (ALICE.name, bound)
        else:
            assert (answer.status, answer.challenges) == (401, ["NTLM"])
            assert [name for name in log.refusals() if name.endswith("binding")] == [reason]
            assert connection.request(path).status == 401


@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_without_configuration_the_mode_is_allow(secure_site, bindings, sent):
    with Connection(secure_site) as connection:
        answer = connection.sign_in(ALICE, "/", binding=bindings[sent])
        assert answer.status == (401 if ("allow", sent) in REFUSED else 200)


def test_who_signs_in_anew_is_bound_anew(secure_site, bindings):
    with Connection(secure_site) as connection:
        for user, sent, bound in ((ALICE, "right", "1"), (BOB, "absent", None), (ALICE, "right", "1")):
            connection.sign_in(user, binding=bindings[sent])
            answer = connection.request("/")
            assert (answer.user, answer.json["negotiate"].get("channel_bound")) == (user.name, bound)


@pytest.mark.parametrize("mode", ["off", "allow"])
@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_over_http_nothing_is_checked(plain_site, bindings, mode, sent):
    with Connection(plain_site) as connection:
        answer = connection.sign_in(ALICE, f"/binding/{mode}/", binding=bindings[sent])
        assert (answer.user, answer.json["negotiate"].get("channel_bound")) == (ALICE.name, None)


@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_over_http_require_refuses(plain_site, bindings, sent):
    path = "/binding/require/"
    with Connection(plain_site) as connection:
        first = connection.request(path)
        # Without TLS no challenge can work, and no password's hash need travel to learn that.
        assert (first.status, first.challenges) == (403, [])
        leg = connection.request(path, authorization(negotiate()))
        assert (leg.status, leg.challenges) == (403, [])
        # A handshake of another scope is no way round.
        type_3 = ALICE.authenticate(connection.challenge("/"), binding=bindings[sent])
        assert connection.request(path, authorization(type_3)).status == 403
        assert connection.request(path).status == 403


def test_a_message_integrity_code_is_checked(secure_site, bindings):
    with Connection(secure_site) as connection:
        answer = connection.sign_in(ALICE, "/binding/require/", binding=bindings["right"], mic=True)
        assert answer.user == ALICE.name


@pytest.mark.parametrize("spn, status", [
    ("HTTP/{host}", 200), ("http/{host}:{port}", 200), ("HTTP/elsewhere.test", 401), ("cifs/{host}", 401),
])
def test_a_service_name_must_be_that_of_the_host(site, spn, status):
    wanted = spn.format(host=site.host, port=site.port)
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, "/service/", spn=wanted).status == status
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, "/", spn=wanted).status == 200


def test_a_proved_service_name_is_good_for_its_host_only(site):
    def to(connection, host, *headers):
        """Asks for the server by one name in the request line and by another in Host."""
        return connection.request(f"{site.scheme}://{host}:{site.port}/service/", *headers)

    with Connection(site) as connection:
        leg = to(connection, "one.test", authorization(negotiate()))
        type_3 = ALICE.authenticate(leg.token, spn=f"HTTP/{site.host}")
        assert to(connection, "one.test", authorization(type_3)).status == 401
    with Connection(site) as connection:
        leg = to(connection, "one.test", authorization(negotiate()))
        type_3 = ALICE.authenticate(leg.token, spn="HTTP/one.test")
        assert to(connection, "one.test", authorization(type_3)).user == ALICE.name
        assert to(connection, "ONE.test").user == ALICE.name
        assert to(connection, "two.test").status == 401
        assert to(connection, "one.test").user == ALICE.name
