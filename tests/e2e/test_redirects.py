"""Redirects inside the server: one request steps its token once, and leaks nobody."""

import pytest

from ntlm_client import negotiate
from raw_http import Connection, authorization
from world import ALICE, BOB

REDIRECTED = ["/index/", "/fallback/"]
DENIED = ["/error/public/", "/error/protected/"]


@pytest.mark.parametrize("path", REDIRECTED)
def test_a_redirect_to_an_index_or_fallback_needs_a_sign_in(site, path):
    with Connection(site) as connection:
        answer = connection.request(path)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])


@pytest.mark.parametrize("path", REDIRECTED)
def test_a_sign_in_survives_the_redirect_since_its_token_is_stepped_once(site, path):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.sign_in(ALICE, path)
        assert answer.user == ALICE.name
        assert answer.all("Persistent-Auth") == ["true"]
        assert connection.request(path).user == ALICE.name
        assert connection.sign_in(BOB, path).user == BOB.name
        assert connection.request(path).user == BOB.name
    assert log.refusals() == []


@pytest.mark.parametrize("path", REDIRECTED)
def test_a_wrong_password_is_wrong_behind_the_redirect_too(site, path):
    log = site.log()
    with Connection(site) as connection:
        assert connection.sign_in(ALICE.with_password("wrong"), path).status == 401
        assert connection.request(path).status == 401
    assert log.refusals().count("wrong-response") == 1


@pytest.mark.parametrize("path", DENIED)
def test_an_error_page_keeps_the_challenge_once_and_names_nobody(site, path):
    with Connection(site) as connection:
        answer = connection.request(path)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert ALICE.user not in answer.body.decode()


@pytest.mark.parametrize("path", DENIED)
def test_a_handshake_goes_on_through_an_error_page(site, path):
    with Connection(site) as connection:
        leg = connection.request(path, authorization(negotiate()))
        assert leg.status == 401
        assert len(leg.challenges) == 1
        assert connection.request(path, authorization(ALICE.authenticate(leg.token))).user == ALICE.name


@pytest.mark.parametrize("path", ["/error/scope/", "/error/once/"])
def test_an_error_page_that_other_options_protect_does_not_undo_the_challenge(site, path):
    with Connection(site) as connection:
        leg = connection.request(path, authorization(negotiate()))
        assert (leg.status, len(leg.challenges)) == (401, 1)
        assert connection.request(path, authorization(ALICE.authenticate(leg.token))).user == ALICE.name
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        answer = connection.request(path)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])


@pytest.mark.parametrize("path", DENIED)
def test_after_a_refused_sign_in_the_error_page_shows_nobody(site, path):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, path).user == ALICE.name
        log = site.log()
        answer = connection.sign_in(BOB.with_password("wrong"), path)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert "EXAMPLE" not in answer.body.decode()
        assert log.refusals().count("wrong-response") == 1
        assert connection.request(path).status == 401


@pytest.mark.parametrize("path", ["/error/other-status/", "/error/named/"])
def test_an_error_page_with_another_status_has_no_challenge_and_no_user(nginx_site, path):
    for headers in ([], [authorization(negotiate())], [("Authorization", "Basic bWFsbG9yeTp4")]):
        with Connection(nginx_site) as connection:
            answer = connection.request(path, *headers)
            assert answer.status == 200
            assert answer.challenges == []
            assert answer.json["user"] == "" or answer.json["user"] is None
            assert answer.json["negotiate"]["user"] == ""


def test_who_signed_in_but_may_not_enter_is_challenged_anew(httpd_site):
    with Connection(httpd_site) as connection:
        answer = connection.sign_in(ALICE, "/only-bob/")
        assert answer.status in (401, 403)
        assert answer.challenges == (["NTLM"] if answer.status == 401 else [])
        assert connection.sign_in(BOB, "/only-bob/").user == BOB.name


def test_only_the_methods_that_are_limited_need_a_sign_in(site):
    with Connection(site) as connection:
        assert connection.request("/preflight/", method="OPTIONS").user == ""
        answer = connection.request("/preflight/")
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert connection.sign_in(ALICE, "/preflight/").user == ALICE.name


def test_satisfy_any_lets_in_by_address_or_by_sign_in(site):
    with Connection(site) as connection:
        answer = connection.request("/satisfy/allow/")
        assert answer.user == ""
        assert answer.challenges == []
    with Connection(site) as connection:
        answer = connection.request("/satisfy/deny/")
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert connection.sign_in(ALICE, "/satisfy/deny/").user == ALICE.name


def test_satisfy_any_by_something_else_leaves_no_challenge_and_no_user(nginx_site):
    for headers in ([], [authorization(negotiate())], [("Authorization", "NTLM nonsense")]):
        with Connection(nginx_site) as connection:
            answer = connection.request("/satisfy/request/", *headers)
            assert answer.user == ""
            assert answer.challenges == []


def test_httpd_knows_all_of_the_user_after_a_look_ahead(httpd_site):
    """The subrequest for mod_rewrite's -U signs in once more, in its own section."""
    with Connection(httpd_site) as connection:
        for answer in (connection.sign_in(ALICE, "/looked/old"), connection.request("/looked/old")):
            assert answer.user == ALICE.name
            known = answer.json["negotiate"]
            assert (known["user"], known["domain"], known["mechanism"]) == (ALICE.user, ALICE.domain, "ntlm")
