"""On HTTP/2 many requests share the connection, so none of them signs in."""

import base64

import pytest

from http2_client import Http2
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import Site
from world import ALICE


@pytest.mark.parametrize("path, challenges", [("/", ["NTLM"]), ("/negotiate/", ["Negotiate", "NTLM"])])
def test_the_challenges_are_those_of_http_1_1(secure_site, path, challenges):
    with Http2(secure_site) as connection:
        answer = connection.request(path)
        assert (answer["status"], answer["challenges"]) == (401, challenges)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_token_on_a_stream_gets_bare_challenges(secure_site, scheme):
    log = secure_site.log()
    with Http2(secure_site) as connection:
        answer = connection.request("/negotiate/", authorization(negotiate(), scheme))
        assert (answer["status"], answer["challenges"]) == (401, ["Negotiate", "NTLM"])
    assert log.refusals() == ["multiplexed"]


def test_a_type_3_on_a_stream_signs_nobody_in(secure_site):
    with Connection(secure_site) as http_1, Http2(secure_site) as connection:
        type_3 = authorization(ALICE.authenticate(http_1.challenge()))
        for header in (authorization(negotiate()), type_3):
            answer = connection.request("/", header)
            assert (answer["status"], answer["challenges"]) == (401, ["NTLM"])
        assert connection.request("/")["status"] == 401
        assert http_1.request("/", type_3).user == ALICE.name
        assert connection.request("/")["status"] == 401


def test_a_token_that_cannot_be_decoded_is_not_looked_at(secure_site):
    with Http2(secure_site) as connection:
        token = ("Authorization", "NTLM " + base64.b64encode(b"NTLMSSP\0garbage").decode())
        answer = connection.request("/", token)
        assert (answer["status"], answer["challenges"]) == (401, ["NTLM"])


def test_what_runs_after_an_answer_is_on_its_stream_too(nginx_site):
    """nginx tells the action that follows a request of another version of HTTP than the request's."""
    site = Site(nginx_site.server, "https")
    log = site.log()
    with Http2(site) as connection:
        for header in (authorization(negotiate()), authorization(negotiate())):
            assert connection.request("/public/after", header)["status"] == 200
        log.wait("auth_negotiate: ", count=2)
    assert log.decisions() == ["multiplexed"] * 2


def test_other_streams_go_on_as_before(secure_site):
    with Http2(secure_site) as connection:
        streams = [connection.send("/public/"), connection.send("/", authorization(negotiate())),
                   connection.send("/public/"), connection.send("/")]
        assert [connection.receive(stream)["status"] for stream in streams] == [200, 401, 200, 401]
