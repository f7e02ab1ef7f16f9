"""What a client may claim without being believed."""

import base64

import pytest

from ntlm_client import negotiate
from raw_http import Connection, authorization
from world import ALICE, BOB

BASIC = ("Authorization", "Basic " + base64.b64encode(b"mallory:x").decode())


def test_basic_credentials_sign_nobody_in_where_remote_user_is_read_early(site):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/early/", BASIC)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert connection.request("/early/").status == 401
    assert "other-scheme" in log.refusals()


def test_a_user_read_early_is_replaced_by_who_signs_in(site):
    with Connection(site) as connection:
        assert connection.request("/early/", BASIC).status == 401
        assert connection.sign_in(ALICE, "/early/").user == ALICE.name
        assert connection.request("/early/").user == ALICE.name


def test_basic_credentials_name_nobody_where_satisfy_any_asks_nobody(site):
    claim = ("Authorization", "Basic " + base64.b64encode(f"{ALICE.name}:x".encode()).decode())
    access_log = site.access_log()
    with Connection(site) as connection:
        answer = connection.request("/satisfy/allow/", claim)
        assert (answer.status, answer.user) == (200, "")
        (line,) = access_log.wait("/satisfy/allow/")
        assert "alice" not in line


def test_basic_credentials_get_into_no_map(nginx_site):
    claim = ("Authorization", "Basic " + base64.b64encode(f"{ALICE.name}:x".encode()).decode())
    with Connection(nginx_site) as connection:
        assert connection.request("/satisfy/map/", claim).user == "nobody"


@pytest.mark.parametrize("name", ["X-Remote-User", "x-remote-user", "Remote-User", "X-Auth-User"])
def test_a_header_of_the_client_does_not_name_the_user(site, name):
    with Connection(site) as connection:
        assert connection.request("/", (name, ALICE.name)).status == 401
        assert connection.sign_in(BOB, "/", (name, ALICE.name)).user == BOB.name
        answer = connection.request("/", (name, ALICE.name))
        assert answer.user == BOB.name
        assert answer.json["negotiate"]["user"] == "bob"
        # Behind httpd the client's own header has another name in the CGI environment.
        assert connection.request("/public/", (name, ALICE.name)).user == ""


@pytest.mark.parametrize("name", ["X-Auth-Channel-Bound", "Negotiate-Channel-Bound", "NEGOTIATE_CHANNEL_BOUND"])
def test_a_header_of_the_client_does_not_say_that_it_is_bound(site, name):
    with Connection(site) as connection:
        for answer in (connection.sign_in(ALICE, "/", (name, "1")), connection.request("/", (name, "1"))):
            assert (answer.user, answer.json["negotiate"].get("channel_bound")) == (ALICE.name, None)


def test_variables_of_our_names_are_ours_where_someone_has_signed_in(httpd_site):
    claim = ("X-Claim", "mallory")
    known = {"user": ALICE.user, "domain": ALICE.domain, "mechanism": "ntlm", "reason": "signed-in"}
    with Connection(httpd_site) as connection:
        for answer in (connection.sign_in(ALICE, "/claimed/", claim), connection.request("/claimed/", claim)):
            assert (answer.user, answer.json["negotiate"]) == (ALICE.name, known)


def test_two_authorization_headers_are_refused(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
    token = authorization(negotiate())
    with Connection(site) as connection:
        assert connection.request("/", token, token).status == 400
    with Connection(site) as connection:
        challenge = connection.challenge()
        type_3 = authorization(ALICE.authenticate(challenge))
        answer = connection.request("/", type_3, BASIC)
        assert answer.status == 400
        assert answer.challenges == []


@pytest.mark.parametrize("header", [
    ("Via", "1.1 proxy"), ("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1"),
], ids=lambda header: header[0])
@pytest.mark.parametrize("token", [False, True], ids=["bare", "with a token"])
def test_through_a_proxy_nobody_signs_in(site, header, token):
    log = site.log()
    with Connection(site) as connection:
        extra = [authorization(negotiate())] if token else []
        answer = connection.request("/", header, *extra)
        assert answer.status == 403
        assert answer.challenges == []
    assert log.refusals() == ["forwarded"]


@pytest.mark.parametrize("name", ["Via", "X-Forwarded-For", "Forwarded"])
def test_through_a_proxy_the_identity_of_the_connection_is_not_used(site, name):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.request("/", (name, "1.1 proxy")).status == 403
    with Connection(site) as connection:
        type_3 = authorization(ALICE.authenticate(connection.challenge()))
        assert connection.request("/", type_3, (name, "1.1 proxy")).status == 403
        assert connection.request("/").status == 401


def test_a_proxy_that_is_listed_may_pass_sign_ins_on(site):
    with Connection(site) as connection:
        via = ("Via", "1.1 proxy")
        assert connection.request("/behind-proxy/", via).challenges == ["NTLM"]
        assert connection.sign_in(ALICE, "/behind-proxy/", via).user == ALICE.name
        assert connection.request("/behind-proxy/", via).user == ALICE.name


def test_proxy_authorization_means_nothing_to_a_web_server(site):
    with Connection(site) as connection:
        challenge = connection.challenge()
        token = authorization(ALICE.authenticate(challenge))[1]
        assert connection.request("/", ("Proxy-Authorization", token)).status == 401
