"""What one connection remembers, seen on raw sockets."""

import time

import pytest

from ntlm_client import negotiate
from raw_http import Connection, authorization
from world import ALICE, BOB, OTHER_ALICE, UNKNOWN, ZOE


def test_a_request_without_authorization_stays_signed_in(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        for path in ("/", "/another", "/merged/"):
            assert connection.request(path).user == ALICE.name


def test_a_name_outside_ascii_arrives_as_utf_8(site):
    with Connection(site) as connection:
        assert connection.sign_in(ZOE).user == ZOE.name


def test_a_new_sign_in_replaces_the_one_before(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.sign_in(BOB).user == BOB.name
        assert connection.request().user == BOB.name


@pytest.mark.parametrize("account", [BOB.with_password("wrong"), UNKNOWN], ids=["wrong password", "unknown user"])
def test_a_failed_sign_in_leaves_nobody(site, account):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.sign_in(account).status == 401
        assert connection.request().status == 401


def test_a_type_1_alone_signs_out(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        connection.challenge()
        assert connection.request().status == 401


def test_a_failed_sign_in_keeps_the_connection_for_the_next_try(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE.with_password("wrong")).status == 401
        assert connection.sign_in(ALICE).user == ALICE.name


def test_the_second_of_two_type_1_is_the_one_that_counts(site):
    with Connection(site) as connection:
        old = connection.challenge()
        new = connection.challenge()
        assert old != new
        assert connection.request("/", authorization(ALICE.authenticate(new))).user == ALICE.name
    with Connection(site) as connection:
        old = connection.challenge()
        connection.challenge()
        assert connection.request("/", authorization(ALICE.authenticate(old))).status == 401


def test_a_type_3_on_another_connection_signs_nobody_in(site):
    with Connection(site) as first, Connection(site) as second:
        type_3 = authorization(ALICE.authenticate(first.challenge()))
        assert second.request("/", type_3).status == 401
        assert second.request().status == 401
        second.challenge()
        assert second.request("/", type_3).status == 401
        assert second.request().status == 401
        assert first.request("/", type_3).user == ALICE.name


def test_a_replayed_type_3_signs_nobody_in(site):
    with Connection(site) as connection:
        type_3 = authorization(ALICE.authenticate(connection.challenge()))
        assert connection.request("/", type_3).user == ALICE.name
        log = site.log()
        assert connection.request("/", type_3).status == 401
        assert connection.request().status == 401
        connection.challenge()
        assert connection.request("/", type_3).status == 401
        assert connection.request().status == 401
        assert log.refusals()[0] == "out-of-sequence"


def test_a_type_3_after_the_scope_changed_signs_nobody_in(site):
    with Connection(site) as connection:
        challenge = connection.challenge("/other/")
        for account in (ALICE, OTHER_ALICE):
            assert connection.request("/", authorization(account.authenticate(challenge))).status == 401
        assert connection.request().status == 401


def test_another_scope_does_not_see_who_signed_in(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.request("/other/").status == 401
        assert connection.sign_in(OTHER_ALICE, "/other/").user == OTHER_ALICE.name
        assert connection.request("/").status == 401


def test_an_account_of_another_scope_is_unknown(site):
    with Connection(site) as connection:
        assert connection.sign_in(OTHER_ALICE, "/").status == 401
        assert connection.sign_in(BOB, "/other/").status == 401


def test_type_1_and_type_3_may_pass_differently_merged_sections_of_one_scope(site):
    for first, second in (("/", "/merged/"), ("/merged/", "/deep/er")):
        with Connection(site) as connection:
            challenge = connection.challenge(first)
            assert connection.request(second, authorization(ALICE.authenticate(challenge))).user == ALICE.name


def test_without_persistence_every_request_signs_in(site):
    with Connection(site) as connection:
        answer = connection.sign_in(ALICE, "/once/")
        assert answer.user == ALICE.name
        assert answer.all("Persistent-Auth") == ["false"]
        assert connection.request("/once/").status == 401
        assert connection.sign_in(BOB, "/once/").user == BOB.name


def test_a_challenge_expires(plain_site):
    with Connection(plain_site) as connection:
        challenge = connection.challenge("/short/")
        log = plain_site.log()
        time.sleep(1.1)  # the shortest lifetime is one second, and nothing tells its end
        assert connection.request("/short/", authorization(ALICE.authenticate(challenge))).status == 401
        assert log.refusals() == ["expired"]
        assert connection.sign_in(ALICE, "/short/").user == ALICE.name


def test_a_path_without_authentication_is_told_nobody(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.request("/public/").user == ""
        assert connection.request("/").user == ALICE.name


def test_pipelined_requests_are_answered_in_order_each_on_its_own(site):
    with Connection(site) as connection:
        type_3 = authorization(ALICE.authenticate(connection.challenge()))
        connection.send("/1", [type_3])
        connection.send("/2")
        connection.send("/3", [authorization(negotiate())])
        connection.send("/4")
        answers = [connection.receive() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 401, 401]
        assert [answer.user for answer in answers[:2]] == [ALICE.name] * 2
