"""curl --ntlm, which drops from HTTP/2 to HTTP/1.1 by itself."""

import hashlib
import json
import uuid

import pytest

from curl import curl, sign_in
from servers import Httpd
from world import ALICE, BOB, DISABLED, UNKNOWN, ZOE


def test_a_get_shows_the_application_who_signed_in(site):
    (transfer,) = curl(site, *sign_in(ALICE), site.url("/any/page?x=1"))
    assert transfer.user == ALICE.name
    assert json.loads(transfer.body)["negotiate"] == {
        "user": "alice", "domain": "EXAMPLE", "mechanism": "ntlm", "reason": "signed-in"}


def test_a_password_may_have_any_characters(site):
    (transfer,) = curl(site, *sign_in(BOB), site.url())
    assert transfer.user == BOB.name


def test_a_name_outside_ascii_is_refused_since_curl_writes_it_in_no_known_charset(site):
    (transfer,) = curl(site, *sign_in(ZOE), site.url())
    assert transfer.status == 401


@pytest.mark.parametrize("size", [0, 10_000])
def test_a_posted_body_reaches_the_application_once_and_whole(site, size, tmp_path):
    body = bytes(index * 7 % 256 for index in range(size))
    (tmp_path / "body").write_bytes(body)
    test_id = str(uuid.uuid4())
    # Over HTTP/2 curl 7.88 takes an answer that comes before the end of its upload for none at all, at times.
    version = "--http1.1" if size and isinstance(site.server, Httpd) else None
    (transfer,) = curl(site, *sign_in(ALICE), "--data-binary", f"@{tmp_path}/body",
                       "--header", f"X-Test-Id: {test_id}", site.url("/post"), version=version)
    assert transfer.user == ALICE.name
    (seen,) = site.server.journal.runs(test_id)
    assert (seen["method"], seen["length"]) == ("POST", size)
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("account", [ALICE.with_password("wrong"), UNKNOWN, DISABLED],
                         ids=["wrong password", "unknown user", "disabled"])
def test_who_cannot_sign_in_gets_a_401_and_never_the_application(site, account):
    test_id = str(uuid.uuid4())
    (transfer,) = curl(site, *sign_in(account), "--header", f"X-Test-Id: {test_id}", site.url())
    assert transfer.status == 401
    assert site.server.journal.runs(test_id) == []


def test_a_second_request_on_the_connection_needs_no_handshake(site):
    log = site.access_log()
    first, second = curl(site, *sign_in(ALICE), site.url("/first"), site.url("/second"), version="--http1.1")
    assert (first.user, second.user) == (ALICE.name, ALICE.name)
    assert second.connects == 0
    log.wait("GET /second")
    assert len(log.lines("GET /first")) == 2 and len(log.lines("GET /second")) == 1


def test_two_users_after_one_another_are_two_identities(site):
    first, second = curl(site, *sign_in(ALICE), site.url(), "--next", *sign_in(BOB), site.url())
    assert (first.user, second.user) == (ALICE.name, BOB.name)


@pytest.mark.parametrize("version", [None, "--http2", "--http1.1"], ids=["default", "http2", "http1.1"])
def test_with_http2_offered_the_sign_in_ends_in_http_1_1(secure_site, version):
    (transfer,) = curl(secure_site, *sign_in(ALICE), secure_site.url(), version=version)
    assert transfer.user == ALICE.name
    assert transfer.http_version == "1.1"


def test_anyauth_picks_ntlm_where_nothing_else_is_offered(site):
    (transfer,) = curl(site, *sign_in(ALICE, "--anyauth"), site.url())
    assert transfer.user == ALICE.name


def test_a_put_with_expect_continue_signs_in(site, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 2_000_000)
    # Over HTTP/2 curl 7.88 takes an answer that comes before the end of its upload for none at all.
    (transfer,) = curl(site, *sign_in(ALICE), "--upload-file", f"{tmp_path}/body", site.url("/put"),
                       version="--http1.1")
    assert transfer.user == ALICE.name
    assert json.loads(transfer.body)["length"] == 2_000_000
