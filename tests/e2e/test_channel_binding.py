"""tls-server-end-point bindings: off, allow and require against what a client sends."""

import pytest

from ntlm_client import ABSENT, WRONG, ZERO, channel_binding
from raw_http import Connection
from world import ALICE

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
            assert answer.user == ALICE.name
            assert connection.request(path).user == ALICE.name
        else:
            assert (answer.status, answer.challenges) == (401, ["NTLM"])
            assert [name for name in log.refusals() if name.endswith("binding")] == [reason]
            assert connection.request(path).status == 401


@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_without_configuration_the_mode_is_allow(secure_site, bindings, sent):
    with Connection(secure_site) as connection:
        answer = connection.sign_in(ALICE, "/", binding=bindings[sent])
        assert answer.status == (401 if ("allow", sent) in REFUSED else 200)


@pytest.mark.parametrize("mode", ["off", "allow"])
@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_over_http_nothing_is_checked(plain_site, bindings, mode, sent):
    with Connection(plain_site) as connection:
        assert connection.sign_in(ALICE, f"/binding/{mode}/", binding=bindings[sent]).user == ALICE.name


@pytest.mark.parametrize("sent", ["right", "absent", "zero", "wrong"])
def test_over_http_require_refuses(plain_site, bindings, sent):
    path = "/binding/require/"
    with Connection(plain_site) as connection:
        first = connection.request(path)
        # Without TLS no challenge can work: to say so at once is as good as to refuse Type 3.
        assert (first.status, first.challenges) in ((403, []), (401, ["NTLM"]))
        if first.status == 401:
            assert connection.sign_in(ALICE, path, binding=bindings[sent]).status in (401, 403)
        assert connection.request(path).status == first.status


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
