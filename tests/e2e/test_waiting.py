"""Sign-ins that take their time: who waits, for how long, and that nobody else does."""

import hashlib
import os
import pathlib
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

import valgrind
from conftest import make_server
from endurance import TROUBLE, rounds
from http2_client import Http2
from ntlm_client import negotiate
from raw_http import TIMEOUT, Connection, authorization
from servers import HERE, AsanNginx, Httpd, Nginx, Site, until
from test_configuration import assert_error
from test_soak import SingleHttpd, SingleNginx, has_ended, is_idle
from valgrind import SLOWNESS
from world import ALICE, BOB, ZOE

# What conf/waiting says, in seconds.
DELAY = 0.3
SECOND = 1.0
DEADLINE = 0.5
FEW = 4
STUCK_DEADLINE, STUCK = 0.3, 8
# How late an answer may be on a machine that does much else, and how early by clocks of milliseconds.
SLACK = 0.4 * SLOWNESS
EARLY = 0.002


def slow(kind):
    """The server with modules that know accounts which take their time."""

    class Slow(kind):
        modules = kind.modules / "slow"
        templates = "conf/waiting"
        main = ""

        def fill_in(self, text):
            self.values["MAIN"] = self.main
            return super().fill_in(text)

    return Slow


def watched(kind):
    """The server under valgrind, unless it watches itself. Whatever is reported makes stop() fail."""
    if issubclass(kind, AsanNginx):
        return kind

    class Watched(kind):
        def start(self, wrapper=()):
            return super().start(wrapper or valgrind.command(self.directory))

    return Watched


KINDS = {"nginx": slow(Nginx), "httpd": slow(Httpd)}


@contextmanager
def serving(kind, certificates, main=""):
    """A server in a folder that its workers can enter."""
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        os.chmod(directory, 0o755)
        kind = type(kind.__name__, (kind,), {"main": main})
        with make_server(kind, pathlib.Path(directory) / kind.name, certificates) as server:
            (server.directory / "htdocs/public").mkdir()
            for name in ("text", "denied", "late"):
                (server.directory / "htdocs/public" / name).write_text(f"public {name}\n")
            yield server


@pytest.fixture(scope="module", params=KINDS)
def shared_server(request, certificates):
    with serving(KINDS[request.param], certificates) as server:
        yield server


@pytest.fixture
def server(shared_server):
    """A server that is as it was after each test: the same processes, and nothing that alarms."""
    log, workers = Site(shared_server, "http").log(), workers_of(shared_server)
    yield shared_server
    assert log.lines(TROUBLE) == []
    assert shared_server.workers() == workers


only_nginx = pytest.mark.parametrize("shared_server", ["nginx"], indirect=True)


class Client(Connection):
    def ask(self, account=ALICE, path="/", *headers, **how):
        """Sends both legs of a sign-in and leaves the last answer for receive()."""
        token = account.authenticate(self.challenge(path))
        self.send(path, [authorization(token), *headers], **how)
        return self

    def time_to_sign_in(self, account, path="/"):
        """From just before the last message of a sign-in to its answer, and that answer."""
        token = authorization(account.authenticate(self.challenge(path)))
        started = time.monotonic()
        answer = self.request(path, token)
        return time.monotonic() - started, answer


def settle(site):
    """Whoever asked before this has been heard."""
    with Connection(site) as connection:
        assert connection.request("/public/text").status == 200


def seconds(action):
    started = time.monotonic()
    result = action()
    return time.monotonic() - started, result


# Everybody else

WAITING = 30
PER_SECOND = 200
WINDOW = rounds(1, 5)
PAIRS = range(rounds(2, 6), 13)
FLOOR = 0.005


def p99(site):
    """Of answers to requests that need no sign-in."""
    command = [sys.executable, HERE / "probe.py", site.port, "/public/text", PER_SECOND, PER_SECOND * WINDOW]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return statistics.quantiles([float(line.split()[1]) for line in done.stdout.splitlines()], n=100)[-1]


@contextmanager
def sign_ins(site, path):
    """So many clients that do nothing but sign in and wait for it."""
    done, begun = threading.Event(), threading.Barrier(WAITING + 1)

    def client():
        with Client(site) as connection:
            connection.ask(ALICE, path)
            begun.wait(TIMEOUT)
            assert connection.receive().user == ALICE.name
            while not done.is_set():
                assert connection.sign_in(ALICE, path).user == ALICE.name

    with ThreadPoolExecutor(WAITING) as pool:
        clients = [pool.submit(client) for _ in range(WAITING)]
        try:
            begun.wait(TIMEOUT)
            yield
        finally:
            done.set()
        for one in clients:
            one.result()


@pytest.mark.measures
def test_nobody_else_waits_for_sign_ins(plain_site):
    """
    Windows without sign-ins and with, in turn. The lowest p99 of each kind counts, since what else the machine does
    can only add, and so does waiting for more windows; and it may be as high as the floor, since that of an idle
    server is anything from a fraction of a millisecond to some of them. If sign-ins held others up, by a whole
    second each, no window would be without.
    """
    seen = []
    for pairs in range(1, PAIRS.stop):
        idle = p99(plain_site)
        with sign_ins(plain_site, "/second/"):
            seen.append((idle, p99(plain_site)))
        idle, loaded = map(min, zip(*seen))
        if pairs in PAIRS and loaded <= max(1.5 * idle, FLOOR * SLOWNESS):
            return
    pytest.fail(f"p99 in seconds, without sign-ins and with: {seen}")


# The deadline

def assert_given_up(answer):
    assert answer.status == 503, (answer.status, answer.body)
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.challenges == []


def assert_goes_on(connection, answer):
    """With nobody signed in. httpd closes a connection behind each 503."""
    assert answer.closes == (connection.site.server.name == "httpd")
    if not answer.closes:
        assert connection.request().status == 401


def test_a_job_that_takes_too_long_is_given_up_on_time(site):
    log = site.log()
    with Client(site) as connection:
        took, answer = connection.time_to_sign_in(ALICE, "/deadline/")
        assert_given_up(answer)
        assert DEADLINE - EARLY <= took < DEADLINE + SLACK
        assert log.refusals() == ["backend-unavailable"]
        assert log.lines("backend-unavailable.*alice")
        assert_goes_on(connection, answer)


@only_nginx
def test_a_job_that_ends_too_late_changes_nothing(site):
    log = site.log()

    def given_up(connection):
        assert_given_up(connection.sign_in(ALICE, "/alone/"))
        return log.refusals()[-1] == "backend-unavailable"

    with Client(site) as connection, Client(site) as other:
        until(lambda: given_up(connection), "the only job")
        assert connection.sign_in(BOB).user == BOB.name
        until(lambda: given_up(other), "the job to end")
        assert connection.request().user == BOB.name
        assert connection.request("/alone/").status == 401


def test_more_sign_ins_than_max_jobs_are_told_at_once(site):
    log = site.log()
    with ThreadPoolExecutor(FEW + 1) as pool:
        clients = list(pool.map(lambda _: Client(site), range(FEW + 1)))
        tokens = list(pool.map(lambda client: ALICE.authenticate(client.challenge("/few/")), clients))
        for client, token in zip(clients, tokens):
            client.send("/few/", [authorization(token)])
    (first,) = select.select([client.socket for client in clients], [], [], SECOND / 2)[0]
    for client in clients:
        with client:
            answer = client.receive()
            if client.socket is first:
                assert_given_up(answer)
            else:
                assert answer.user == ALICE.name
                assert client.request("/few/").user == ALICE.name
    assert log.refusals() == ["busy"]


# Those who leave

POINTS = {
    "connected": lambda client: None,
    "in the request line": lambda client: client.socket.sendall(b"GET / HT"),
    "type 1 sent": lambda client: client.send("/", [authorization(negotiate())]),
    "challenged": lambda client: client.challenge(),
    "in type 3": lambda client: client.socket.sendall(type_3(client)[:-200]),
    "waiting": lambda client: waits(client.ask()),
    "waiting, with a request behind": lambda client: waits(client.ask(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "waiting, with half a request behind": lambda client: waits(client.ask(), b"GET / HT"),
    "waiting, with half a body": lambda client: waits(ask_with_body(client), bytes(500)),
    "waiting, with a body": lambda client: waits(ask_with_body(client), bytes(1000)),
    "in the answer": lambda client: client.ask().answers.file.read(1),
    "answered": lambda client: client.ask().receive(),
    "given up": lambda client: client.ask(ALICE, "/deadline/").receive(),
}


def type_3(client):
    name, value = authorization(ALICE.authenticate(client.challenge()))
    return f"GET / HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n".encode()


def ask_with_body(client):
    return client.ask(ALICE, "/", ("Content-Length", "1000"), method="PUT")


def waits(client, more=b""):
    client.socket.sendall(more)
    settle(client.site)


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_close(client):
    """Says that nothing more will come, and reads what still does."""
    client.socket.shutdown(socket.SHUT_WR)
    while client.socket.recv(65536):
        pass


LEAVE = {"reset": reset, "close": lambda client: None, "half-close": half_close}


def leave(site, point, how):
    with Client(site) as client:
        POINTS[point](client)
        try:
            LEAVE[how](client)
        except OSError:
            assert how == "half-close", point  # the server was quicker


def everybody_leaves(site, together):
    visits = [(point, how) for point in POINTS for how in LEAVE] * rounds(1, 16)
    with ThreadPoolExecutor(together) as pool:
        for one in [pool.submit(leave, site, *visit) for visit in visits]:
            one.result()


def test_clients_may_leave_at_any_point(site):
    everybody_leaves(site, together=24)
    with Client(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.sign_in(ALICE, "/second/").user == ALICE.name


def go_away(connection):
    connection.h2.close_connection()
    connection.socket.sendall(connection.h2.data_to_send())


def reset_streams(connection):
    for stream in connection.answers:
        connection.h2.reset_stream(stream)
    connection.socket.sendall(connection.h2.data_to_send())


def test_http2_never_waits_and_may_leave_while_others_do(secure_site):
    log = secure_site.log()
    with Client(secure_site) as waiting:
        token = authorization(ALICE.authenticate(waiting.challenge()))
        paths = [("/", authorization(negotiate())), ("/second/", token), ("/second/",), ("/public/text",)]
        for _ in range(rounds(3, 30)):
            waiting.ask(BOB, "/second/")
            for how in (reset, reset_streams, go_away, lambda connection: None):
                with Http2(secure_site) as connection:
                    for path in paths * 2:
                        connection.send(*path)
                    how(connection)
            with Http2(secure_site) as connection:
                took, answers = seconds(lambda: [connection.request(*path)["status"] for path in paths])
                assert answers == [401, 401, 401, 200]
                assert took < SECOND
            assert waiting.receive().user == BOB.name
    assert set(log.refusals()) <= {"multiplexed"}


# What follows a sign-in that waited

@pytest.mark.parametrize("path", ["/index/", "/fallback/"])
def test_a_redirect_after_the_wait_does_not_wait_again(site, path):
    log = site.log()
    with Client(site) as connection:
        took, answer = connection.time_to_sign_in(ALICE, path)
        assert answer.user == ALICE.name
        assert answer.all("Persistent-Auth") == ["true"]
        assert DELAY - EARLY <= took < DELAY + SLACK
        assert connection.request(path).user == ALICE.name
    assert log.refusals() == []


@pytest.mark.parametrize("path", ["/error/public/", "/error/protected/"])
def test_after_a_wrong_password_there_is_an_error_page(site, path):
    log = site.log()
    with Client(site) as connection:
        took, answer = connection.time_to_sign_in(ALICE.with_password("wrong"), path)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert DELAY - EARLY <= took < DELAY + SLACK
        assert connection.request(path).status == 401
        assert connection.sign_in(ALICE, path).user == ALICE.name
    assert log.refusals() == ["wrong-response"]


@pytest.mark.parametrize("path", ["/late/public/", "/late/protected/"])
def test_after_a_deadline_there_is_an_error_page(site, path):
    with Client(site) as connection:
        answer = connection.sign_in(ALICE, path)
        assert_given_up(answer)
        assert (answer.body == b"public late\n") == ("public" in path)
        assert_goes_on(connection, answer)


def test_satisfy_any_waits_where_nothing_else_lets_in(site):
    with Client(site) as connection:
        assert connection.sign_in(ALICE, "/satisfy/deny/").user == ALICE.name
        assert connection.sign_in(ALICE.with_password("wrong"), "/satisfy/deny/").status == 401


@only_nginx
@pytest.mark.parametrize("path", ["/satisfy/request/", "/asking/", "/copying/"])
def test_requests_of_nginx_itself_do_not_wait(site, path):
    with Client(site) as connection:
        for account in (ALICE, BOB):
            took, answer = connection.time_to_sign_in(account, path)
            assert answer.user == account.name
            assert took < DELAY + SLACK
        assert connection.request(path).user == BOB.name


@only_nginx
def test_a_part_that_nginx_adds_does_not_wait(site):
    with Client(site) as connection:
        took, answer = connection.time_to_sign_in(ALICE, "/adding/text")
        assert answer.body == b"public text\n" * 2
        assert took < DELAY + SLACK


@pytest.mark.parametrize("headers", [[], [("Expect", "100-continue")]], ids=["at once", "when asked for"])
def test_an_upload_behind_a_sign_in_that_waits_arrives_whole(site, headers):
    body = os.urandom(rounds(1, 10) << 20)
    with Client(site) as connection:
        connection.ask(ALICE, "/upload", ("Content-Length", str(len(body))), *headers, method="PUT")
        if headers:
            assert connection.answers.readline().startswith(b"HTTP/1.1 100 ")
            assert connection.answers.readline() == b"\r\n"
        connection.socket.sendall(body)
        answer = connection.receive()
        assert answer.user == ALICE.name
        assert answer.json["sha256"] == hashlib.sha256(body).hexdigest()
        assert connection.request().user == ALICE.name


def test_what_is_sent_behind_a_sign_in_waits_for_it(site):
    with Client(site) as connection:
        connection.ask(ALICE, "/1")
        connection.send("/2")
        connection.send("/3", [authorization(negotiate())])
        connection.send("/4")
        answers = [connection.receive() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 401, 401]
        assert [answer.json["path"] for answer in answers[:2]] == ["/1", "/2"]
        assert [answer.user for answer in answers[:2]] == [ALICE.name] * 2


def test_whoever_waits_at_once_gets_their_own_answer(site):
    accounts = (ALICE, BOB, ZOE, ALICE.with_password("wrong"))

    def visit(number):
        account = accounts[number % 4]
        with Client(site) as connection:
            answer = connection.sign_in(account)
            if number % 4 == 3:
                assert answer.status == 401
            else:
                assert answer.user == connection.request().user == account.name

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(visit, range(rounds(96, 960))))


# Configuration

@only_nginx
def test_a_pool_of_threads_has_its_own_limits(site):
    log = site.log()
    clients = [Client(site) for _ in range(3)]
    tokens = [ALICE.authenticate(client.challenge("/pair/")) for client in clients]
    started = time.monotonic()
    for client, token in zip(clients, tokens):
        client.send("/pair/", [authorization(token)])
    answers = [client.receive() for client in clients]
    assert time.monotonic() - started < DELAY + SLACK
    assert sorted(answer.status for answer in answers) == [200, 200, 503]
    assert_given_up(next(answer for answer in answers if answer.status == 503))
    assert log.refusals() == ["backend-unavailable"]
    assert log.lines("thread pool \"pair\" queue overflow")
    for client in clients:
        with client:
            assert client.sign_in(BOB, "/pair/").user == BOB.name


@only_nginx
def test_an_unknown_pool_of_threads_is_an_error_with_its_place(shared_server):
    assert_error(shared_server, ["auth_negotiate_thread_pool nobodys;"], 'unknown thread pool "nobodys"')


@only_nginx
def test_two_pools_of_threads_are_an_error_with_its_place(shared_server):
    assert_error(shared_server, ["auth_negotiate_thread_pool default; " * 2], "duplicate")


class Off(KINDS["nginx"]):
    def fill_in(self, text):
        return super().fill_in(text).replace("auth_negotiate on;", "auth_negotiate off;")


@pytest.mark.parametrize("kind, threads", [(KINDS["nginx"], 1 + 2 + 32), (Off, 1 + 2)], ids=["on", "off"])
def test_threads_are_there_where_somebody_can_sign_in(certificates, kind, threads):
    """Beside the worker's own those of conf/waiting and, if they are needed, those of nginx's default."""
    with serving(kind, certificates) as server:
        (worker,) = workers_of(server)
        until(lambda: len(os.listdir(f"/proc/{worker}/task")) == threads, "threads")
        settle(Site(server, "http"))
        assert len(os.listdir(f"/proc/{worker}/task")) == threads


# The server's end

def reload(server):
    """Whoever comes after this comes to the new workers."""
    log = Site(server, "http").log()
    server.reload(wait_for_old=False)
    if server.name == "nginx":
        log.wait("gracefully shutting down")


@contextmanager
def ending(kind, certificates, main="", path="/second/", quick=False):
    """A server in which Alice waits to be signed in, and its log.

    httpd may crash when a connection ends just as it stops at once: before a quick stop, who asks meanwhile stays.
    """
    with serving(kind, certificates, main) as server:
        site = Site(server, "http")
        log = site.log()
        with Client(site) as waiting, ExitStack() as others:
            waiting.ask(ALICE, path)
            other = others.enter_context(Connection(site))
            assert other.request("/public/text").status == 200
            if not quick:
                others.close()
            if server.name == "httpd":  # whose threads may take up later requests before earlier ones
                log.wait("valid-user .*no authenticated user yet", 2)
            yield server, waiting, log


def workers_of(server):
    """They come a moment after the server listens."""
    return until(server.workers, "workers")


def is_cut(connection):
    """Whether it ends without an answer."""
    try:
        return connection.socket.recv(1) == b""
    except ConnectionError:
        return True


def assert_over(server, workers, log):
    until(lambda: not server.workers() & workers, "the old workers to end")
    assert log.lines(TROUBLE) == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_reload_lets_who_waits_sign_in(kind, certificates):
    with ending(kind, certificates) as (server, waiting, log):
        workers = workers_of(server)
        reload(server)
        with Client(waiting.site) as connection:
            assert connection.sign_in(BOB).user == BOB.name
        assert waiting.receive().user == ALICE.name
        assert_over(server, workers, log)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_graceful_stop_lets_who_waits_sign_in(kind, certificates):
    with ending(kind, certificates) as (server, waiting, log):
        server.process.send_signal({"nginx": signal.SIGQUIT, "httpd": signal.SIGWINCH}[server.name])
        assert waiting.receive().user == ALICE.name
        server.process.wait(TIMEOUT)
        assert log.lines(TROUBLE) == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_quick_stop_does_not_wait_for_an_answer(kind, certificates):
    with ending(kind, certificates, quick=True) as (server, waiting, log):
        took, _ = seconds(server.stop)
        assert took < SECOND + SLACK
        assert is_cut(waiting)
        assert log.lines(TROUBLE) == []


def test_a_worker_that_has_to_end_leaves_who_waits(certificates):
    """The only case in which a request that waits is gone before its job: under valgrind, which sees what is not."""
    kind, main = watched(KINDS["nginx"]), "worker_shutdown_timeout 100ms;"
    with ending(kind, certificates, main, "/third/") as (server, waiting, log):
        workers = workers_of(server)
        (worker,) = workers
        os.kill(int(worker), signal.SIGQUIT)
        assert is_cut(waiting)
        assert server.workers() == workers
        assert_over(server, workers, log)


# Jobs that do not end

def time_used(pid):
    """By a process, in ticks of the system's clock."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def get_stuck(site):
    """As many as may wait, and one more."""
    log = site.log()
    with ThreadPoolExecutor(STUCK + 1) as pool:
        for took, answer in pool.map(lambda _: sign_in_stuck(site), range(STUCK)):
            assert_given_up(answer)
            assert STUCK_DEADLINE - EARLY <= took < STUCK_DEADLINE + SLACK
    took, answer = sign_in_stuck(site)
    assert_given_up(answer)
    assert took < STUCK_DEADLINE
    assert log.refusals() == ["backend-unavailable"] * STUCK + ["busy"]


def sign_in_stuck(site):
    with Client(site) as connection:
        return connection.time_to_sign_in(ALICE, "/stuck/")


def all_is_well(site):
    with Client(site) as connection:
        assert connection.request("/public/text").status == 200
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.request().user == ALICE.name


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_jobs_that_do_not_end_hold_up_nobody_else(kind, certificates):
    with serving(kind, certificates) as server:
        log = Site(server, "http").log()
        sites = [Site(server, scheme) for scheme in ("http", "https")]
        workers = workers_of(server)
        get_stuck(sites[0])
        end = time.monotonic() + rounds(1, 60)
        while time.monotonic() < end:
            for site in sites:
                all_is_well(site)
        assert server.workers() == workers
        reload(server)
        get_stuck(sites[0])
        all_is_well(sites[0])
        assert log.lines(TROUBLE) == []
        if server.name == "nginx":
            assert_stays_asleep(server, workers)
        until(lambda: not server.workers() & workers, "the old workers to end")
        took, _ = seconds(server.stop)
        assert took < 5 * SLOWNESS


def assert_stays_asleep(server, workers):
    """nginx waits for its threads. An administrator who does not want that has to end the worker by force."""
    (old,) = workers
    used = time_used(old)
    site = Site(server, "http")
    for _ in range(3):
        all_is_well(site)
    assert old in server.workers()
    assert time_used(old) - used <= 1
    os.kill(int(old), signal.SIGKILL)


# Memory

SINGLE = {"nginx": slow(SingleNginx), "httpd": slow(SingleHttpd)}


@pytest.mark.parametrize("kind", SINGLE.values(), ids=SINGLE)
def test_clients_that_leave_cost_no_memory_and_corrupt_none(kind, certificates):
    with serving(watched(kind), certificates) as server:
        for scheme in rounds(["http"], ["http", "https"]):
            everybody_leaves(Site(server, scheme), together=6)
        until(lambda: is_idle(server.process), f"{server.name} to have done with its connections")
        until(lambda: has_ended(server.process), f"{server.name} to end by itself")
