"""Many clients, many reloads, memory errors. NEGOTIATE_SOAK=1 runs the long forms."""

import pathlib
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import valgrind
from endurance import KINDS, TROUBLE, rounds, serving
from http2_client import Http2
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import Httpd, Nginx, Site, until
from world import ALICE, BOB, UNKNOWN, ZOE

CLIENTS = 8
# How much is done under valgrind, and how much to see whether more is in use when it ends.
VISITS = 2, rounds(10, 100)
RELOADS = 1, rounds(3, 10)
# Behind a sign-in, and without an application.
NOTHING = "/file/nothing"


def one_life(site, number):
    """A connection on which users come and go; each answer must name the last who got in."""
    users = [ALICE, BOB, ZOE]
    first, second = users[number % 3], users[(number + 1) % 3]
    with Connection(site) as connection:
        assert connection.request().status == 401
        assert connection.sign_in(first).user == first.name
        assert connection.request().user == first.name
        assert connection.sign_in(second).user == second.name
        assert connection.request().user == second.name
        assert connection.sign_in(first.with_password("wrong")).status == 401
        assert connection.request().status == 401
        assert connection.sign_in(UNKNOWN).status == 401
        assert connection.sign_in(second).user == second.name


def abandoned(site, number, path="/"):
    """A client that leaves in mid-handshake."""
    with Connection(site) as connection:
        connection.challenge(path)
        if number % 2:
            connection.send(path, [authorization(negotiate())])


def test_many_clients_at_once_are_never_taken_for_one_another(site):
    with ThreadPoolExecutor(CLIENTS) as pool:
        lives = [pool.submit(life, site, number)
                 for number in range(rounds(4, 100) * CLIENTS) for life in (one_life, abandoned)]
        for life in lives:
            life.result()


def test_reloads_under_load_confuse_nobody_and_crash_nothing(plain_site):
    log = plain_site.log()
    done, counts = threading.Event(), {"right": 0, "cut": 0}

    def client(number):
        account = (ALICE, BOB)[number % 2]
        while not done.is_set():
            try:
                with Connection(plain_site) as connection:
                    for _ in range(20):
                        answer = connection.sign_in(account)
                        if answer.status == 200:
                            assert answer.user == account.name
                        counts["right" if answer.status == 200 else "cut"] += 1
                        if answer.closes:
                            break
            except (OSError, ValueError, EOFError):
                counts["cut"] += 1  # the old worker has gone

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            for _ in range(rounds(3, 20)):
                target = counts["right"] + CLIENTS
                until(lambda: counts["right"] > target or any(one.done() for one in clients), "sign-ins")
                plain_site.server.reload(wait_for_old=False)
        finally:
            done.set()
        for one in clients:
            one.result()
    plain_site.server.reload()
    assert counts["right"] > CLIENTS
    assert log.lines(TROUBLE) == []


class SingleNginx(Nginx):
    def command(self, configuration):
        return [*super().command(configuration), "-g", "master_process off;"]


class SingleHttpd(Httpd):
    says_when_ready = False

    def command(self, configuration):
        return [self.binary, "-d", str(self.directory), "-X", "-f", str(configuration)]


@pytest.mark.parametrize("kind", [SingleNginx, SingleHttpd], ids=["nginx", "httpd"])
def test_valgrind_finds_no_error_and_nothing_that_grows_with_visits(kind, certificates, tmp_path):
    """What one thread keeps is not what grows: httpd has few. It drops connections that wait for their next request
    when none of its threads is free, and connections that were abandoned keep two busy for a moment."""

    def run(count, directory):
        with serving(kind, certificates, threads=4, wrapper=valgrind.command(directory, "-v")) as server:
            for site in (Site(server, "http"), Site(server, "https")):
                for number in range(count):
                    one_visit(site, number)
                    abandoned(site, number, NOTHING)
                    if site.tls:
                        with Http2(site) as connection:
                            assert connection.request(NOTHING, authorization(negotiate()))["status"] == 401
            until(lambda: is_idle(server.process), f"{server.name} to have done with its connections")
            until(lambda: has_ended(server.process), f"{server.name} to end by itself")
            return valgrind.in_use_at_end(directory, server.process.pid)

    assert_no_growth(VISITS, [run(count, tmp_path / str(count)) for count in VISITS])


@pytest.mark.parametrize("name", KINDS)
def test_valgrind_finds_no_error_and_nothing_that_grows_with_reloads(name, certificates, tmp_path):
    def run(count, directory):
        with serving(name, certificates, threads=2, wrapper=valgrind.command(directory, "-v")) as server:
            for number in range(count):
                one_visit(Site(server, "http"), number)
                server.reload()
            master = server.process.pid
        return valgrind.in_use_at_end(directory, master)

    assert_no_growth(RELOADS, [run(count, tmp_path / str(count)) for count in RELOADS])


def assert_no_growth(counts, in_use):
    """A piece of memory may be there sooner or later; one for each time that something is done may not."""
    (few, few_blocks), (many, many_blocks) = in_use
    more = counts[1] - counts[0]
    assert many_blocks - few_blocks < more and many - few < 64 * more, in_use


def is_idle(process, moment=0.5):
    """Whether it uses no time: a single httpd ends without waiting for its own threads."""
    def used():
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return fields[11:13]

    before = used()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        return used() == before
    return True


def has_ended(process):
    """A single nginx that is told between its look at the signal and its wait for events sleeps on."""
    process.send_signal(signal.SIGQUIT if process.args[-1] == "master_process off;" else signal.SIGTERM)
    try:
        return process.wait(2) is not None
    except subprocess.TimeoutExpired:
        return False


def one_visit(site, number):
    """Everything that one connection can do, on a path that needs no application."""
    with Connection(site) as connection:
        assert connection.request(NOTHING).status == 401
        assert connection.sign_in(ALICE, NOTHING).status == 404
        assert connection.request(NOTHING).status == 404
        assert connection.sign_in(BOB.with_password("wrong"), NOTHING).status == 401
        assert connection.sign_in(UNKNOWN, NOTHING).status == 401
        assert connection.request(NOTHING, ("Authorization", "NTLM ===")).status == 401
        assert connection.request(NOTHING, authorization(b"NTLMSSP\0" + bytes(number))).status == 401
        assert connection.sign_in(BOB, NOTHING, mic=True).status == 404
