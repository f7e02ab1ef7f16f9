"""The exact form of what the server says."""

import pytest

from ntlm_client import negotiate
from raw_http import Connection, authorization
from world import ALICE, DISABLED, UNKNOWN


def test_the_first_answer_is_a_bare_challenge(site):
    with Connection(site) as connection:
        answer = connection.request()
        assert answer.status == 401
        assert answer.challenges == ["NTLM"]
        assert not answer.closes


def test_negotiate_comes_first_where_both_are_offered(site):
    with Connection(site) as connection:
        assert connection.request("/negotiate/").challenges == ["Negotiate", "NTLM"]


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_token_is_answered_in_its_own_scheme_and_alone(site, scheme):
    with Connection(site) as connection:
        answer = connection.request("/negotiate/", authorization(negotiate(), scheme))
        assert answer.status == 401
        (challenge,) = answer.challenges
        assert challenge.startswith(scheme + " ")
        assert answer.token.startswith(b"NTLMSSP\0\x02")
        assert answer.all("Cache-Control") == ["no-store"]
        assert answer.all("Persistent-Auth") == []
        assert not answer.closes


@pytest.mark.parametrize("scheme", ["ntlm", "NtLm", "NEGOTIATE"])
def test_scheme_names_are_read_in_any_case(site, scheme):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, "/negotiate/", scheme=scheme).user == ALICE.name


def test_the_final_answer_says_that_the_connection_is_signed_in(site):
    with Connection(site) as connection:
        answer = connection.sign_in(ALICE)
        assert answer.user == ALICE.name
        assert answer.all("Persistent-Auth") == ["true"]
        assert answer.challenges == []
        later = connection.request()
        assert later.user == ALICE.name
        assert later.challenges == []


def test_a_final_answer_that_is_not_a_200_says_so_too(site):
    with Connection(site) as connection:
        answer = connection.sign_in(ALICE, "/missing/file")
        assert answer.status == 404
        assert answer.all("Persistent-Auth") == ["true"]
        assert answer.challenges == []


def test_unknown_user_disabled_account_and_wrong_password_get_one_answer(site):
    def answer(account):
        with Connection(site) as connection:
            refused = connection.sign_in(account)
            assert refused.challenges == ["NTLM"]
            assert not refused.closes
            headers = sorted((n, v) for n, v in refused.headers.items() if n != "Date")
            return refused.status, headers, refused.body

    wrong_password = answer(ALICE.with_password("wrong"))
    assert wrong_password[0] == 401
    assert answer(UNKNOWN) == wrong_password
    assert answer(DISABLED) == wrong_password


@pytest.mark.parametrize("account, reason", [
    (ALICE.with_password("wrong"), "wrong-response"), (UNKNOWN, "unknown-user"), (DISABLED, "account-disabled"),
], ids=["wrong password", "unknown user", "disabled"])
def test_the_log_tells_them_apart_in_one_line(site, account, reason):
    log = site.log()
    with Connection(site) as connection:
        connection.sign_in(account)
    assert log.refusals() == [reason]
    (line,) = log.lines("auth_negotiate: 2[0-9][0-9] ")
    assert account.user in line


@pytest.mark.parametrize("closing", [
    {"version": "HTTP/1.0"}, {"headers": [("Connection", "close")]},
    {"version": "HTTP/1.0", "headers": [("Connection", "close")]},
], ids=["HTTP/1.0", "Connection: close", "both"])
@pytest.mark.parametrize("token", [None, negotiate()], ids=["bare", "with a token"])
def test_a_connection_that_closes_cannot_sign_in_and_gets_a_403(site, closing, token):
    headers = list(closing.get("headers", []))
    if token:
        headers.append(authorization(token))
    with Connection(site) as connection:
        connection.send("/", headers, version=closing.get("version", "HTTP/1.1"))
        answer = connection.receive()
        assert answer.status == 403
        assert answer.challenges == []


def test_http_1_0_with_keep_alive_signs_in(site):
    keep_alive = ("Connection", "keep-alive")
    with Connection(site) as connection:
        first = connection.request("/", authorization(negotiate()), keep_alive, version="HTTP/1.0")
        assert first.status == 401
        type_3 = authorization(ALICE.authenticate(first.token))
        assert connection.request("/", type_3, keep_alive, version="HTTP/1.0").user == ALICE.name


def test_the_last_request_of_a_connection_may_say_that_it_closes(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.request("/", ("Connection", "close")).user == ALICE.name


def test_a_server_that_closes_every_connection_answers_403(nginx_site):
    log = nginx_site.log()
    with Connection(nginx_site) as connection:
        answer = connection.request("/closing/")
        assert answer.status == 403
        assert answer.challenges == []
    assert log.refusals() == ["not-persistent"]


def test_a_handshake_gets_its_last_request_beyond_keepalive_requests(nginx_site):
    with Connection(nginx_site) as connection:
        answer = connection.sign_in(ALICE, "/one-request/")
        assert answer.user == ALICE.name
        assert answer.closes


@pytest.mark.parametrize("path, challenges", [("/", ["NTLM"]), ("/negotiate/", ["Negotiate", "NTLM"])])
def test_head_is_challenged_as_get_is(site, path, challenges):
    with Connection(site) as connection:
        answer = connection.request(path, method="HEAD")
        assert (answer.status, answer.challenges) == (401, challenges)
        assert connection.sign_in(ALICE, path).user == ALICE.name
