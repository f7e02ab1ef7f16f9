"""HTTP/3, of which the newest nginx has one: a ticket signs in a stream, and nothing else does."""

import base64
import signal

import pytest

from conftest import NGINXES
from endurance import TROUBLE, rounds
from http3_client import Http3
from krb5_client import neg_token_init
from ntlm_client import negotiate
from raw_http import authorization
from servers import NewestNginx, Nginx, Site, until
from test_waiting_for_tickets import LOCAL_NAME, NAME, Gate, Locked, patient, seen, serving, shown, waits_for_keys

KIND = NGINXES.get("newest-nginx", Nginx)
QUIC = "listen 127.0.0.1:@HTTPS@ quic;"


def test_the_newest_is_one_that_has_it():
    assert issubclass(KIND, NewestNginx)


@pytest.fixture(scope="module")
def server(realms, certificates):
    with serving(patient(KIND, realms, quic=QUIC), certificates) as server:
        yield server


@pytest.fixture
def site(server):
    """A server that is as it was after each test: the same processes, and nothing that alarms."""
    site = Site(server, "https")
    log, workers = site.log(), until(server.workers, "workers")
    yield site
    assert log.lines(TROUBLE) == []
    assert server.workers() == workers


def test_a_ticket_signs_in_one_stream(site, alice, bob):
    log = site.log()
    with Http3(site) as connection:
        answer = connection.request("/")
        assert (answer["status"], answer["challenges"]) == (401, ["Negotiate"])
        streams = [connection.send("/", shown(user)) for user in (alice, bob)] + [connection.send("/")]
        answers = [seen(connection.receive(stream)) for stream in streams]
        assert answers == [(200, NAME), (200, "bob@DEMO.TEST"), (401, False)]
        assert seen(connection.request("/local/", shown(alice))) == (200, LOCAL_NAME)
    assert log.refusals() == []


def test_the_server_proves_itself_on_a_stream(site, alice):
    initiator = alice.initiator(mech="spnego")
    with Http3(site) as connection:
        answer = connection.request("/", authorization(initiator.step(), "Negotiate"))
    scheme, _, token = answer["challenges"][0].partition(" ")
    initiator.step(base64.b64decode(token))
    assert (scheme, initiator.complete) == ("Negotiate", True)


@pytest.mark.parametrize("token, reason", [
    (b"\x60\x01\x00", "malformed-token"), (neg_token_init(["krb5"]), "multiplexed"),
    (negotiate(), "multiplexed"),
], ids=["malformed", "the first of several", "NTLM"])
def test_nothing_else_signs_in(site, token, reason):
    log = site.log()
    with Http3(site) as connection:
        answer = connection.request("/", authorization(token, "Negotiate"))
        assert (answer["status"], answer["challenges"]) == (401, ["Negotiate"])
        assert connection.request("/")["status"] == 401
    assert log.refusals() == [reason]


def test_streams_do_not_wait_for_one_another(site, alice, bob):
    with Gate(site.server) as gate, Http3(site) as connection:
        waiting = connection.send("/local/", shown(alice))
        until(gate.is_awaited, "somebody at the gate")
        assert seen(connection.request("/changing/", shown(bob))) == (200, "bob@DEMO.TEST")
        assert connection.request("/public/text")["status"] == 200
        assert not connection.answers[waiting]["done"]
        gate.open()
        assert seen(connection.receive(waiting)) == (200, LOCAL_NAME)


LEAVE = {
    "cancelled": lambda connection, stream: connection.cancel(stream),
    "closed": lambda connection, stream: None,
    "silent": lambda connection, stream: connection.vanish(),
}


@pytest.mark.parametrize("how", LEAVE)
def test_who_waits_on_a_stream_may_leave(site, alice, bob, how):
    for _ in range(rounds(1, 30)):
        with Gate(site.server) as gate:
            with Http3(site) as connection:
                stream = connection.send("/local/", shown(alice))
                until(gate.is_awaited, "somebody at the gate")
                LEAVE[how](connection, stream)
                if how == "cancelled":
                    assert seen(connection.request("/", shown(bob))) == (200, "bob@DEMO.TEST")
            with Http3(site) as other:
                assert seen(other.request("/", shown(bob))) == (200, "bob@DEMO.TEST")
        with Http3(site) as other:
            assert seen(other.request("/local/", shown(alice))) == (200, LOCAL_NAME)


@waits_for_keys
def test_who_waits_for_keys_is_signed_in(site, alice):
    with Locked(site.server, "changing.keytab") as lock, Http3(site) as connection:
        while not lock.is_awaited():
            waiting = connection.send("/changing/", shown(alice))
            connection.run(lambda: lock.is_awaited() or connection.answers[waiting]["done"])
        assert seen(connection.request("/changing/", shown(alice))) == (200, NAME)
        assert not connection.answers[waiting]["done"]
        lock.file.close()
        assert seen(connection.receive(waiting)) == (200, NAME)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM], ids=["graceful", "at once"])
def test_a_stop_while_a_stream_waits(realms, certificates, alice, number):
    with serving(patient(KIND, realms, "worker_shutdown_timeout 2s;", QUIC), certificates) as server:
        site = Site(server, "https")
        log = site.log()
        with Gate(server) as gate, Http3(site) as connection:
            stream = connection.send("/local/", shown(alice))
            until(gate.is_awaited, "somebody at the gate")
            server.process.send_signal(number)
            gate.open()
            if number == signal.SIGQUIT:
                assert seen(connection.receive(stream)) == (200, LOCAL_NAME)
        server.process.wait(20)
        assert log.lines(TROUBLE) == []
