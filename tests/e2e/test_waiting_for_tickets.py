"""What a step with a ticket waits for, also on HTTP/2: keytabs that change, and local names."""

import fcntl
import os
import pathlib
import select
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hyperframe.frame import GoAwayFrame

from conftest import NGINXES, make_server
from endurance import TROUBLE, rounds
from http2_client import Http2
from krb5_client import keytab
from krb5_world import SERVICE, install, with_kerberos
from raw_http import TIMEOUT, Connection, authorization
from servers import HERE, Httpd, Nginx, Site, until
from test_waiting import go_away, is_cut, reset, settle, watched

KINDS = {**NGINXES, "httpd": Httpd}
NAME, LOCAL_NAME = "alice@DEMO.TEST", "alice"
CHANGING = ["changing.keytab", "deadline.keytab"]
STREAMS = 4


def patient(kind, realms, main="", quic=""):
    """The server of conf/keys: its one worker finds local names by local_names.c."""
    kind = with_kerberos(kind, realms, templates="conf/keys")

    class Patient(kind):
        def start(self, wrapper=()):
            for name in CHANGING:
                install(self.directory / name, keytab(realms.entries(SERVICE)))
            (self.directory / "htdocs/public").mkdir()
            (self.directory / "htdocs/public/text").write_text("public text\n")
            (self.directory / "local-names.conf").write_text(self.local_names())
            return super().start(wrapper)

        def local_names(self):
            module = self.directory / "local_names.so"
            command = ["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f'-DGATE="{self.directory}/gate"']
            subprocess.run([*command, "-o", module, HERE / "local_names.c"], check=True, timeout=60)
            return f"[plugins]\n localauth = {{\n  module = gate:{module}\n  enable_only = gate\n }}\n"

        def environment(self, for_test=False):
            variables = super().environment(for_test)
            return {**variables, "KRB5_CONFIG": f"{self.directory}/local-names.conf:{variables['KRB5_CONFIG']}"}

        def fill_in(self, text):
            return super().fill_in(text.replace("@MAIN@", main).replace("@QUIC@", quic))

    return Patient


@contextmanager
def serving(kind, certificates):
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        os.chmod(directory, 0o755)
        with make_server(kind, pathlib.Path(directory) / kind.name, certificates) as server:
            yield server


@pytest.fixture(scope="module", params=KINDS)
def shared_server(request, realms, certificates):
    with serving(patient(KINDS[request.param], realms), certificates) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """A server that is as it was after each test: the same processes, and nothing that alarms."""
    log, workers = Site(shared_server, "http").log(), until(shared_server.workers, "workers")
    yield shared_server
    assert log.lines(TROUBLE) == []
    assert shared_server.workers() == workers


class Gate:
    """As long as it is closed, who asks for local names waits."""

    def __init__(self, server):
        self.path = server.directory / "gate"
        self.writer = None

    def __enter__(self):
        os.mkfifo(self.path)
        self.path.chmod(0o666)
        return self

    def __exit__(self, *_):
        self.open()

    def is_awaited(self):
        """Whether somebody has come to it."""
        try:
            self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        return True

    def open(self):
        """Whoever has come to it is let through, and nobody comes to it any more."""
        if self.path.exists():
            passage = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
            self.path.unlink()
            os.close(passage)
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None


def shown(user):
    return authorization(user.token(), "Negotiate")


def ask(site, user, path):
    """What the server says first, of TLS and of HTTP/2, is no answer."""
    connection = Connection(site)
    assert connection.request("/public/text").status == 200
    connection.send(path, [shown(user)])
    return connection


def ask_on_a_stream(site, user, path):
    connection = Http2(site)
    # A server that goes away still answers; the client's library would not listen.
    connection.h2._frame_dispatch_table[GoAwayFrame] = lambda frame: ([], [])
    assert connection.request("/public/text")["status"] == 200
    connection.stream = connection.send(path, shown(user))
    return connection


ASK = {"HTTP/1.1": ("http", ask), "HTTP/1.1 over TLS": ("https", ask), "HTTP/2": ("https", ask_on_a_stream)}


def answer_of(connection):
    """The status, and the user that the application saw."""
    if isinstance(connection, Connection):
        answer = connection.receive()
        return answer.status, answer.status == 200 and answer.user
    return seen(connection.receive(connection.stream))


def seen(answer):
    """The same of an answer on HTTP/2, which ends the handshake."""
    if answer["status"] != 200:
        return answer["status"], False
    assert answer["challenges"][0].startswith("Negotiate ")
    return 200, answer["body"].split(b'"')[3].decode()


def is_silent(connection):
    return not select.select([connection.socket], [], [], 0)[0]


# Local names

@pytest.mark.parametrize("scheme, ask", ASK.values(), ids=ASK)
def test_who_waits_for_a_name_is_served_and_nobody_else_waits(server, alice, bob, scheme, ask):
    site = Site(server, scheme)
    log = site.log()
    with Gate(server) as gate, ask(site, alice, "/local/") as waiting:
        until(gate.is_awaited, "somebody at the gate")
        for other in (ask(site, bob, "/changing/"), ask_on_a_stream(Site(server, "https"), bob, "/")):
            with other:
                assert answer_of(other) == (200, "bob@DEMO.TEST")
        assert is_silent(waiting)
        gate.open()
        assert answer_of(waiting) == (200, LOCAL_NAME)
    assert log.refusals() == []
    assert len(log.lines('user "alice" signed in by kerberos')) == 1


def test_streams_of_one_connection_do_not_wait_for_one_another(server, alice, bob):
    site = Site(server, "https")
    with Gate(server) as gate, ask_on_a_stream(site, alice, "/local/") as connection:
        until(gate.is_awaited, "somebody at the gate")
        for path, header, answer in (("/changing/", [shown(bob)], (200, "bob@DEMO.TEST")), ("/", [], (401, False))):
            assert seen(connection.request(path, *header)) == answer
        second = connection.send("/local/", shown(bob))
        assert connection.request("/public/text")["status"] == 200
        assert not connection.answers[connection.stream]["done"]
        gate.open()
        assert answer_of(connection) == (200, LOCAL_NAME)
        assert seen(connection.receive(second)) == (200, "bob")


@pytest.mark.parametrize("scheme, ask", ASK.values(), ids=ASK)
def test_who_waits_too_long_for_a_name_is_told(server, alice, scheme, ask):
    site = Site(server, scheme)
    log = site.log()
    with Gate(server), ask(site, alice, "/local/deadline/") as waiting:
        assert answer_of(waiting) == (503, False)
        assert log.refusals() == ["backend-unavailable"]
    with ask(site, alice, "/local/deadline/") as other:
        assert answer_of(other) == (200, LOCAL_NAME)


def reset_stream(connection):
    connection.h2.reset_stream(connection.stream)
    connection.socket.sendall(connection.h2.data_to_send())


LEAVE = {"reset": reset, "close": lambda connection: None, "reset of the stream": reset_stream, "goodbye": go_away}


@pytest.mark.parametrize("how", LEAVE)
def test_who_waits_on_a_stream_may_leave(server, alice, bob, how):
    site = Site(server, "https")
    for _ in range(rounds(1, 30)):
        with Gate(server) as gate:
            with ask_on_a_stream(site, alice, "/local/") as waiting:
                until(gate.is_awaited, "somebody at the gate")
                LEAVE[how](waiting)
            with ask_on_a_stream(site, bob, "/") as other:
                assert answer_of(other) == (200, "bob@DEMO.TEST")
        with ask_on_a_stream(site, alice, "/local/") as other:
            assert answer_of(other) == (200, LOCAL_NAME)


def test_a_stream_that_is_reset_while_it_waits_leaves_its_connection_to_the_others(server, alice, bob):
    with Gate(server) as gate, ask_on_a_stream(Site(server, "https"), alice, "/local/") as connection:
        until(gate.is_awaited, "somebody at the gate")
        reset_stream(connection)
        assert seen(connection.request("/", shown(bob))) == (200, "bob@DEMO.TEST")
        gate.open()
        assert seen(connection.request("/local/", shown(alice))) == (200, LOCAL_NAME)
        assert seen(connection.request("/local/", shown(bob))) == (200, "bob")


def test_names_on_many_streams_are_found_each_for_itself(server, alice, bob):
    def visit(number):
        user, name = ((alice, LOCAL_NAME), (bob, "bob"))[number % 2]
        with Http2(Site(server, "https")) as connection:
            streams = [connection.send("/local/", shown(user)) for _ in range(STREAMS)]
            assert [seen(connection.receive(stream)) for stream in streams] == [(200, name)] * STREAMS

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(rounds(18, 400))))


# Keytabs

class Locked:
    """A new keytab of the same keys, which kadmin, say, has locked and still writes to: who reads it waits."""

    def __init__(self, server, name):
        self.path = server.directory / name

    def __enter__(self):
        new = install(self.path.with_name("new.keytab"), self.path.read_bytes())
        self.file = open(new, "rb+")
        fcntl.lockf(self.file, fcntl.LOCK_EX)
        os.replace(new, self.path)
        return self

    def __exit__(self, *_):
        self.file.close()

    def is_awaited(self):
        """The system's list has its owner, and with an arrow each of those who wait."""
        inode = f":{os.stat(self.path).st_ino} "
        return any("->" in line and inode in line for line in pathlib.Path("/proc/locks").read_text().splitlines())

    def ask(self, ask):
        """Once a second it is looked whether the file has changed: asks until somebody waits, and returns who does."""
        while True:
            client = ask()
            until(lambda: self.is_awaited() or not is_silent(client), "an answer, or to wait")
            if self.is_awaited():
                return client
            client.__exit__()


# valgrind lets no other thread go on while one waits for such a lock.
waits_for_keys = pytest.mark.measures


@waits_for_keys
@pytest.mark.parametrize("scheme, ask", ASK.values(), ids=ASK)
def test_who_waits_for_keys_is_signed_in_and_nobody_else_waits(server, alice, scheme, ask):
    site = Site(server, scheme)
    log = site.log()
    with Locked(server, "changing.keytab") as lock, lock.ask(lambda: ask(site, alice, "/changing/")) as waiting:
        for other in (ask(site, alice, "/changing/"), ask_on_a_stream(Site(server, "https"), alice, "/")):
            with other:
                assert answer_of(other) == (200, NAME)
        assert lock.is_awaited()
        assert is_silent(waiting)
        lock.file.close()
        assert answer_of(waiting) == (200, NAME)
    assert log.refusals() == []
    assert len(log.lines("changing.keytab: read again, [0-9]+ keys for HTTP")) == 1


@waits_for_keys
@pytest.mark.parametrize("scheme, ask", ASK.values(), ids=ASK)
def test_who_waits_too_long_for_keys_is_told(server, alice, scheme, ask):
    site = Site(server, scheme)
    log = site.log()
    with Locked(server, "deadline.keytab") as lock:
        with lock.ask(lambda: ask(site, alice, "/deadline/")) as waiting:
            assert answer_of(waiting) == (503, False)
            assert lock.is_awaited()
        assert log.refusals() == ["backend-unavailable"]
        with ask(site, alice, "/deadline/") as other:
            assert answer_of(other) == (200, NAME)

    def is_told():
        """By the next who comes when the keys have been read."""
        with ask(site, alice, "/deadline/") as other:
            assert answer_of(other) == (200, NAME)
        return log.lines("deadline.keytab: read again")

    until(is_told, "the notice")


def test_new_keys_and_broken_ones_are_told_of_once(server, alice):
    """Though one request is more than one inside."""
    site = Site(server, "http")
    keys = server.directory / "changing.keytab"
    good = keys.read_bytes()

    def told(data, pattern):
        log = site.log()
        install(keys, data)

        def is_told():
            with ask(site, alice, "/index/") as connection:
                assert answer_of(connection) == (200, NAME)
            return log.lines(pattern)

        until(is_told, pattern)
        assert log.refusals() == []
        (line,) = log.lines(pattern)
        assert "127.0.0.1" in line
        return line

    try:
        warning = told(b"nonsense", "changing.keytab: .* stay in use")
        assert "[error]" in warning or "auth_negotiate:warn]" in warning
    finally:
        notice = told(good, "changing.keytab: read again, [0-9]+ keys")
    assert "[notice]" in notice or "auth_negotiate:notice]" in notice


# The server's end

@contextmanager
def ending(kind, realms, certificates, alice, main=""):
    """A server in which a stream waits for a name, and its log."""
    with serving(patient(kind, realms, main), certificates) as server:
        site = Site(server, "https")
        log = site.log()
        with Gate(server) as gate, ask_on_a_stream(site, alice, "/local/") as waiting:
            until(gate.is_awaited, "somebody at the gate")
            yield server, waiting, gate, log


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_reload_lets_who_waits_on_a_stream_sign_in(kind, realms, certificates, alice):
    with ending(kind, realms, certificates, alice) as (server, waiting, gate, log):
        workers = server.workers()
        server.process.send_signal(server.reload_signal)
        gate.open()
        assert answer_of(waiting) == (200, LOCAL_NAME)
        waiting.socket.close()
        until(lambda: not server.workers() & workers, "the old workers to end")
        with ask_on_a_stream(Site(server, "https"), alice, "/local/") as connection:
            assert answer_of(connection) == (200, LOCAL_NAME)
        assert log.lines(TROUBLE) == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_graceful_stop_lets_who_waits_on_a_stream_sign_in(kind, realms, certificates, alice):
    with ending(kind, realms, certificates, alice) as (server, waiting, gate, log):
        server.process.send_signal({"nginx": signal.SIGQUIT, "httpd": signal.SIGWINCH}[server.name])
        gate.open()
        assert answer_of(waiting) == (200, LOCAL_NAME)
        waiting.socket.close()
        server.process.wait(TIMEOUT)
        assert log.lines(TROUBLE) == []


@pytest.mark.parametrize("kind", rounds([Nginx], [*NGINXES.values()]))
def test_a_worker_that_has_to_end_leaves_who_waits_on_a_stream(kind, realms, certificates, alice):
    """Under valgrind, which sees what a job touches that is gone. nginx cuts a stream off when it goes on."""
    main = "worker_shutdown_timeout 100ms;"
    with ending(watched(kind), realms, certificates, alice, main) as (server, waiting, gate, log):
        (worker,) = workers = server.workers()
        plain = Site(server, "http")
        with ask(plain, alice, "/local/") as other:
            settle(plain)
            os.kill(int(worker), signal.SIGQUIT)
            assert is_cut(other)
        assert worker in server.workers()
        gate.open()
        with pytest.raises(ConnectionError):
            waiting.receive(waiting.stream)
        until(lambda: not server.workers() & workers, "the old worker to end")
        assert log.lines(TROUBLE) == []
