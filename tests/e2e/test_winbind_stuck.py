"""winbindd stands still while servers wait for it, and goes on while clients leave and servers end.

Every call of libwbclient hangs then, for up to five minutes by its own clock; its late answer comes when the client
has gone, when its deadline is over, in an old process after a reload, or to nobody at all.
"""

import itertools
import os
import select
import signal
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

import ad_world
import valgrind
from ad_world import AD_ALICE, AD_BOB
from conftest import make_server
from endurance import TROUBLE, descriptors, rounds
from http2_client import Http2
from ntlm_client import negotiate
from raw_http import TIMEOUT, Connection, authorization
from servers import AsanNginx, Httpd, Nginx, Site, until
from test_waiting import (EARLY, SLACK, assert_given_up, go_away, is_cut, reload, reset, reset_streams, seconds,
                          time_used, workers_of)
from test_winbind import WORKER, member_server, on_the_member
from valgrind import SLOWNESS, UNDER_VALGRIND

# What conf/winbind-stuck says, in seconds and in jobs.
VALGRIND_DEADLINE = 4
DEADLINE = VALGRIND_DEADLINE if UNDER_VALGRIND else 0.5
PATIENT_JOBS = 4
# So many deadlines missed in a row, and nobody but one is asked.
MISSES = 3
# Connections to winbindd that a process keeps.
IDLE = 8
# nginx's master kills workers that do not end.
QUICK_STOP = {"nginx": 5, "httpd": 2}
# Of a worker: its own, and those of nginx's pool; or the listener, and those that serve HTTP/1.1 and HTTP/2.
THREADS = {"nginx": 1 + 32, "httpd": 1 + 1 + 64 + 4}
# How servers say that they killed a process of their own.
KILLED = r"exited on signal 9\b|SIGKILL"


# Groups that the servers look up when they start, for those who want that.
RULES = {
    "nginx": """
        location /crowd/ {
            auth_negotiate_require group crowd-000;
            proxy_pass http://127.0.0.1:@APPLICATION@;
        }
        location /staff/ {
            auth_negotiate_require group all-staff;
            auth_negotiate_groups names;
            proxy_pass http://127.0.0.1:@APPLICATION@;
        }""",
    "httpd": """
        <Location "/crowd/">
            AuthzSendForbiddenOnFailure On
            Require negotiate-group crowd-000
        </Location>
        <Location "/staff/">
            NegotiateGroups names
            Require negotiate-group all-staff
        </Location>""",
}


class Worker(Httpd):
    mpm = "worker"


class Prefork(Httpd):
    mpm = "prefork"


KINDS = {"nginx": Nginx, "httpd": Httpd}
ALL = {**KINDS, "prefork": Prefork, **rounds({}, {"worker": Worker})}
HTTPDS = {name: kind for name, kind in ALL.items() if issubclass(kind, Httpd)}


@contextmanager
def serving(kind, domain, certificates, main="", deadline=DEADLINE, watched=False, rules=False):
    """A server of conf/winbind-stuck on the member, with RULES or without; watched: under valgrind, unless it watches
    itself."""

    class Server(member_server(kind, domain)):
        templates = "conf/winbind-stuck"
        watcher = ()

        def start(self, wrapper=()):
            if watched and not (UNDER_VALGRIND or issubclass(kind, AsanNginx)):
                self.watcher = valgrind.command(self.directory)
            return super().start(wrapper)

        def command(self, configuration):
            return [*self.watcher, *super().command(configuration)]

        def fill_in(self, text):
            self.values |= {"MAIN": main, "DEADLINE": int(deadline * 1000)}
            return super().fill_in(text.replace("@RULES@", RULES[self.name] if rules else ""))

    with ad_world.folder() as directory, make_server(Server, directory / kind.name, certificates) as server:
        (server.directory / "htdocs/public").mkdir()
        (server.directory / "htdocs/public/text").write_text("public text\n")
        yield server


@pytest.fixture(scope="module", autouse=True)
def allowed(domain):
    """Workers may have passwords checked."""
    domain.member.allow(WORKER)


@pytest.fixture(scope="module", params=KINDS)
def shared_server(request, domain, certificates):
    with domain.member.network(), serving(KINDS[request.param], domain, certificates) as server:
        yield server


@pytest.fixture
def server(shared_server, domain):
    """In the end it is well, and uses no more than in the beginning."""
    log = Site(shared_server, "http").log()
    yield shared_server
    domain.member.thaw_winbindd()
    wait_until_signing_in(Site(shared_server, "http"))
    assert log.lines(TROUBLE) == []


@contextmanager
def unharmed(server):
    """The same process serves in the end, with no more threads and files than in the beginning."""
    (worker,) = workers_of(server)
    until(lambda: threads(worker) == THREADS[server.name], "threads to start")
    files = descriptors(worker)
    yield
    until(lambda: threads(worker) == THREADS[server.name], "threads to end")
    until(lambda: descriptors(worker) <= files + IDLE, "files to be closed")
    assert server.workers() == {worker}


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


# Clients

class Client(Connection):
    """One that has all it takes for a message that winbindd has to be asked about."""

    path = "/"
    token = None
    known = False

    def prepare(self, path="/", account=AD_ALICE):
        """Up to its AUTHENTICATE."""
        self.path, self.token = path, account.authenticate(self.challenge(path))
        return self

    def be_known(self, path="/crowd/"):
        """Signed in, and about to go where a group has to be looked up."""
        assert self.sign_in(AD_ALICE).status == 200
        self.path, self.known = path, True
        return self

    @property
    def fields(self):
        return [] if self.known else [authorization(self.token or negotiate())]

    def ask(self, *headers, **how):
        self.send(self.path, [*self.fields, *headers], **how)
        return self


def public_is_served(site):
    """Also means that whoever asked before has been heard."""
    with Connection(site) as connection:
        assert connection.request("/public/text").status == 200


def signs_in(site):
    """Whether somebody can sign in, and nobody else's call is left."""
    with Connection(site) as connection:
        answer = connection.request("/alone/", authorization(negotiate()))
        if answer.status == 401:
            answer = connection.request("/alone/", authorization(AD_BOB.authenticate(answer.token)))
        if answer.status == 503:
            assert_given_up(answer)
            return False
        assert answer.user == AD_BOB.name
        return True


def wait_until_signing_in(site):
    until(lambda: signs_in(site), "somebody to sign in, and for all calls to end")


def heard(site, log, count):
    """So many requests that had to be signed in: httpd's threads may take up later ones before earlier ones."""
    public_is_served(site)
    if site.server.name == "httpd":
        log.wait("valid-user .*no authenticated user yet", count)


# Those who leave

def in_the_message(client):
    fields = "".join(f"{name}: {value}\r\n" for name, value in client.fields)
    text = f"GET {client.path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
    client.socket.sendall(text[:-20])


def with_body(client, sent):
    client.ask(("Content-Length", "1000"), method="PUT").socket.sendall(bytes(sent))


def with_more(client, more):
    client.ask().socket.sendall(more)


POINTS = {
    "in the message": in_the_message,
    "waiting": lambda client: client.ask(),
    "with a request behind": lambda client: with_more(client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "with half a request behind": lambda client: with_more(client, b"GET / HT"),
    "with half a body": lambda client: with_body(client, 500),
    "with a body": lambda client: with_body(client, 1000),
}


def close(client):
    client.__exit__()


def reset_now(client):
    reset(client)
    client.__exit__()


def half_close(client):
    client.socket.shutdown(socket.SHUT_WR)


LEAVE = {"reset": reset_now, "close": close, "half-close": half_close}


def drain(client):
    """Reads what still comes for who has said that nothing more will."""
    with client:
        try:
            while client.socket.recv(65536):
                pass
        except OSError:
            pass  # the server was quicker


VISITS = list(itertools.product(POINTS.values(), LEAVE.values(), ("before", "after")))
# In the short form some: each point, each way to leave before winbindd goes on and each after it.
MOMENTS = {"before the deadline": rounds(VISITS[::7], VISITS), "after the deadline": rounds(VISITS[3::7], VISITS)}


def come_and_leave(site, domain, prepare, moment, assert_given_up=assert_given_up):
    """Some leave before winbindd goes on, and some just then, whether or not they have their 503 by then."""
    with Client(site) as stays:
        prepare(stays)
        clients = [(prepare(Client(site)), *visit) for visit in MOMENTS[moment]]

        def leave(when):
            for client, _, how, then in clients:
                if then == when:
                    how(client)

        with domain.fault("winbindd frozen"):
            stays.ask()
            for client, point, _, _ in clients:
                point(client)
            public_is_served(site)
            leave("before")
            public_is_served(site)
            if moment == "after the deadline":
                assert_given_up(stays.receive())
            domain.member.thaw_winbindd()
            leave("after")
            for client, _, how, _ in clients:
                if how is half_close:
                    drain(client)


@pytest.mark.parametrize("moment", MOMENTS)
def test_who_leaves_while_a_password_is_checked_harms_nobody(server, domain, moment):
    site = Site(server, "http")
    with unharmed(server):
        for _ in range(rounds(1, 10)):
            come_and_leave(site, domain, Client.prepare, moment)
            wait_until_signing_in(site)


@pytest.mark.parametrize("moment", MOMENTS)
def test_who_leaves_while_the_names_are_asked_for_harms_nobody(server, domain, moment):
    """In a new process, which does not know them."""
    site = Site(server, "http")
    for _ in range(rounds(1, 10)):
        old = workers_of(server)
        with domain.fault("winbindd frozen"):
            reload(server)
            come_and_leave(site, domain, lambda client: client, moment)
        wait_until_signing_in(site)
        has_ended(server, old)


def assert_not_told(answer):
    """httpd's authorization has no word for what cannot be found out now."""
    assert answer.status in (500, 503)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", KINDS)
def test_who_leaves_while_a_group_is_looked_up_harms_nobody(domain, certificates, name, moment):
    """By a server that could not find out about it when it started."""
    for _ in range(rounds(1, 10)):
        with domain.member.network(), ExitStack() as stack:
            with domain.fault("winbindd stopped"):
                server = stack.enter_context(serving(KINDS[name], domain, certificates, rules=True))
            site = Site(server, "http")
            wait_until_signing_in(site)
            log = site.log()
            with unharmed(server):
                come_and_leave(site, domain, Client.be_known, moment, assert_not_told)
                wait_until_signing_in(site)
            assert moment == "before the deadline" or "backend-unavailable" in log.refusals()
            with Client(site) as client:
                assert client.be_known().ask().receive().status == 403
            assert log.lines(TROUBLE) == []


def assert_let_in_without_groups(answer):
    """The list is whole or not there; who the user is does not depend on it."""
    assert answer.user == AD_ALICE.name
    assert answer.json["headers"].get("x-groups", "") == ""
    assert answer.json["headers"]["x-sid"].startswith("S-1-5-21-")


@pytest.mark.parametrize("moment", MOMENTS)
def test_who_leaves_while_groups_are_spelled_harms_nobody(server, domain, moment):
    """In a new process, which does not know their names."""
    site = Site(server, "http")
    for _ in range(rounds(1, 10)):
        old = workers_of(server)
        reload(server)
        has_ended(server, old)
        wait_until_signing_in(site)
        come_and_leave(site, domain, lambda client: client.be_known("/names/"), moment, assert_let_in_without_groups)
        wait_until_signing_in(site)
        with Client(site) as client:
            groups = client.be_known("/names/").ask().receive().json["headers"]["x-groups"]
        assert "web-admins" in groups and "all-staff" in groups


def test_groups_that_cannot_be_spelled_are_not_told(server, domain):
    site = Site(server, "http")
    old = workers_of(server)
    reload(server)
    has_ended(server, old)
    wait_until_signing_in(site)
    with Client(site) as client:
        client.be_known("/names/")
        with domain.fault("winbindd stopped"):
            assert_let_in_without_groups(client.ask().receive())


@pytest.mark.parametrize("name", KINDS)
def test_what_a_rule_and_a_list_lack_is_looked_up_at_once(domain, certificates, name):
    """By a server that could not find out about the rule when it started."""
    with domain.member.network(), ExitStack() as stack:
        with domain.fault("winbindd stopped"):
            server = stack.enter_context(serving(KINDS[name], domain, certificates, rules=True))
        site = Site(server, "http")
        wait_until_signing_in(site)
        with Client(site) as client:
            answer = client.be_known("/staff/").ask().receive()
        assert answer.user == AD_ALICE.name
        assert "web-admins" in answer.json["headers"]["x-groups"]


# HTTP/2

def test_streams_never_wait_and_may_be_reset_while_others_do(server, domain):
    """NTLM is for connections of one request at a time: streams that bring it are told so at once."""
    site, plain = Site(server, "https"), Site(server, "http")
    log = site.log()
    with unharmed(server), Client(plain).prepare("/patient/") as waiting, Client(site).prepare("/patient/") as secure:
        with domain.fault("winbindd frozen"):
            waiting.ask(), secure.ask()
            paths = [("/", authorization(token, scheme)) for token in (negotiate(), waiting.token)
                     for scheme in ("NTLM", "Negotiate")] + [("/public/text",)]
            for leave in (reset, reset_streams, go_away, lambda connection: None) * rounds(1, 20):
                with Http2(site) as connection:
                    for path in paths * 2:
                        connection.send(*path)
                    leave(connection)
            with Http2(site) as connection:
                took, answers = seconds(lambda: [connection.request(*path)["status"] for path in paths])
            assert answers == [401] * 4 + [200]
            assert took < DEADLINE
        assert [waiting.receive().user, secure.receive().user] == [AD_ALICE.name] * 2
    assert set(log.refusals()) <= {"multiplexed"}


# Limits

def first_answers(clients, count):
    """Of those who have asked: so many who are answered, and the others."""
    answered, waiting = [], list(clients)
    while len(answered) < count:
        ready = select.select([client.socket for client in waiting], [], [], TIMEOUT)[0]
        assert ready, "no answer"
        answered += [client for client in waiting if client.socket in ready]
        waiting = [client for client in waiting if client.socket not in ready]
    return answered, waiting


def test_no_more_than_max_jobs_are_stuck_although_their_clients_left(server, domain):
    site = Site(server, "http")
    log = site.log()
    with unharmed(server), ExitStack() as stack:
        *clients, late = [stack.enter_context(Client(site).prepare("/patient/")) for _ in range(PATIENT_JOBS + 2)]
        with domain.fault("winbindd frozen"):
            for client in clients:
                client.ask()
            (busy,), stuck = first_answers(clients, 1)
            assert_given_up(busy.receive())
            for client in stuck:
                reset_now(client)
            public_is_served(site)
            assert_given_up(late.ask().receive())
        assert log.refusals() == ["busy"] * 2
        wait_until_signing_in(site)
        with Client(site) as connection:
            assert connection.sign_in(AD_ALICE, "/patient/").user == AD_ALICE.name
    assert set(log.refusals()) == {"busy"}
    assert not log.lines("no answer in time")


def test_after_missed_deadlines_one_tries_and_late_answers_change_nothing(server, domain):
    site = Site(server, "http")
    log = site.log()
    with unharmed(server), ExitStack() as stack:
        clients = [stack.enter_context(Client(site).prepare()) for _ in range(MISSES + 3)]
        with domain.fault("winbindd frozen"):
            for client in clients[:MISSES]:
                client.ask()
            for client in clients[:MISSES]:
                assert_given_up(client.receive())
            assert len(log.lines("winbind: no answer in time")) == 1
            started = time.monotonic()
            for client in clients[MISSES:]:
                client.ask()
            others, (trial,) = first_answers(clients[MISSES:], 2)
            assert time.monotonic() - started < DEADLINE
            for client in (*others, trial):
                assert_given_up(client.receive())
            assert time.monotonic() - started >= DEADLINE - EARLY
            assert sorted(log.refusals()) == ["backend-unavailable"] * (MISSES + 1) + ["no-answers"] * 2
        wait_until_signing_in(site)
        assert len(log.lines("winbind: answers again")) == 1
        assert len(log.lines("winbind: no answer in time")) == 1
        for client in clients:
            # httpd closes a connection behind each 503.
            if server.name == "nginx":
                assert client.request().status == 401
                assert client.sign_in(AD_BOB).user == AD_BOB.name


# The server's end

@contextmanager
def stuck(kind, domain, certificates, main=""):
    """A server in which calls of all kinds hang: of somebody who waits, of somebody who left, and of nobody's."""
    with serving(kind, domain, certificates, main) as server:
        site = Site(server, "http")
        log = site.log()
        waiting, left, late = (Client(site).prepare(path) for path in ("/patient/", "/patient/", "/"))
        with waiting, domain.fault("winbindd frozen"):
            for client in (waiting, left, late):
                client.ask()
            heard(site, log, 6)
            with late:
                assert_given_up(late.receive())
            reset_now(left)
            yield server, waiting, log


def has_ended(server, workers):
    until(lambda: not server.workers() & workers, "the old processes to end")


def assert_no_trouble(log):
    assert log.lines(TROUBLE) == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_reloads_leave_who_waits_to_the_old_processes(kind, domain, certificates):
    """Each new one has to ask for the names first, and gets stuck, too: then all get their late answers at once."""
    with stuck(kind, domain, certificates) as (server, waiting, log):
        site, old = waiting.site, workers_of(server)
        with waiting, ExitStack() as clients:
            for _ in range(2):
                reload(server)
                new = clients.enter_context(Client(site))
                new.path = "/patient/"
                new.ask()
                public_is_served(site)
            domain.member.thaw_winbindd()
            assert waiting.receive().user == AD_ALICE.name
            answer = new.request(new.path, authorization(AD_BOB.authenticate(new.receive().token)))
            assert answer.user == AD_BOB.name
        wait_until_signing_in(site)
        until(lambda: len(server.workers()) == 1 and not server.workers() & old, "the old processes to end")
        assert_no_trouble(log)


@pytest.mark.parametrize("thawed", [False, True], ids=["stuck", "thawed meanwhile"])
@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
def test_a_quick_stop_does_not_wait_for_winbindd(kind, domain, certificates, thawed):
    """nginx waits for its threads; its master ends a worker that does."""
    with stuck(kind, domain, certificates) as (server, waiting, log):
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        if thawed:
            domain.member.thaw_winbindd()
        server.process.wait(TIMEOUT)
        assert time.monotonic() - started < QUICK_STOP[server.name] * SLOWNESS
        assert is_cut(waiting)
        killed = log.lines(KILLED)
        assert len(killed) == (server.name == "nginx" and not thawed)
        assert [line for line in log.lines(TROUBLE) if line not in killed] == []


def graceful(server):
    server.process.send_signal({"nginx": signal.SIGQUIT, "httpd": signal.SIGWINCH}[server.name])


@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
def test_a_graceful_stop_lets_who_waits_sign_in(kind, domain, certificates):
    with stuck(kind, domain, certificates) as (server, waiting, log):
        workers = workers_of(server)
        graceful(server)
        if server.name == "nginx":
            log.wait("gracefully shutting down")
        assert server.workers() == workers or kind is Prefork
        domain.member.thaw_winbindd()
        with waiting:
            assert waiting.receive().user == AD_ALICE.name
        server.process.wait(TIMEOUT)
        assert_no_trouble(log)


@pytest.mark.parametrize("kind", HTTPDS.values(), ids=HTTPDS)
def test_a_graceful_stop_of_httpd_waits_for_the_deadline_and_not_for_winbindd(kind, domain, certificates):
    with serving(kind, domain, certificates) as server:
        site = Site(server, "http")
        log = site.log()
        with ExitStack() as stack:
            with Client(site).prepare() as waiting:
                stack.enter_context(domain.fault("winbindd frozen"))
                waiting.ask()
                heard(site, log, 2)
                graceful(server)
                took, answer = seconds(waiting.receive)
                assert_given_up(answer)
                assert took < DEADLINE + SLACK
            took, _ = seconds(lambda: server.process.wait(TIMEOUT))
            assert took < QUICK_STOP["httpd"] * SLOWNESS
            assert_no_trouble(log)


def test_a_worker_of_nginx_stays_asleep_until_winbindd_goes_on(domain, certificates):
    with stuck(Nginx, domain, certificates) as (server, waiting, log):
        (old,) = workers_of(server)
        reload(server)
        reset_now(waiting)
        used = time_used(old)
        for _ in range(3):
            public_is_served(waiting.site)
        assert old in server.workers()
        assert time_used(old) - used <= 1
        domain.member.thaw_winbindd()
        has_ended(server, {old})
        assert_no_trouble(log)


def test_a_worker_of_nginx_that_has_to_close_its_connections_ends_when_winbindd_goes_on(domain, certificates):
    """The only case in which a request that waits is gone before its job."""
    with stuck(Nginx, domain, certificates, "worker_shutdown_timeout 100ms;") as (server, waiting, log):
        workers = workers_of(server)
        (worker,) = workers
        os.kill(int(worker), signal.SIGQUIT)
        assert is_cut(waiting)
        assert server.workers() == workers
        domain.member.thaw_winbindd()
        has_ended(server, workers)
        assert_no_trouble(log)


# Memory

@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_late_answers_corrupt_no_memory_and_cost_none(kind, domain, certificates):
    """Of clients that left, in processes that end, and in one that is cut short."""
    with serving(kind, domain, certificates, deadline=VALGRIND_DEADLINE, watched=True) as server:
        site = Site(server, "http")
        log = site.log()
        for moment in rounds(["before the deadline"], MOMENTS):
            come_and_leave(site, domain, Client.prepare, moment)
        wait_until_signing_in(site)
        old = workers_of(server)
        with Client(site).prepare("/patient/") as waiting, domain.fault("winbindd frozen"):
            waiting.ask()
            public_is_served(site)
            reload(server)
            reset_now(waiting)
            with Client(site) as new:
                new.ask()
                public_is_served(site)
                domain.member.thaw_winbindd()
                new.receive()
        has_ended(server, old)
        with Client(site).prepare("/patient/") as waiting, domain.fault("winbindd frozen"):
            waiting.ask()
            public_is_served(site)
            server.process.send_signal(signal.SIGTERM)
            domain.member.thaw_winbindd()
            server.process.wait(TIMEOUT)
        assert_no_trouble(log)
