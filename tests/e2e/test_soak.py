"""Many clients, many reloads, memory errors. NEGOTIATE_SOAK=1 runs the long forms."""

import os
import pathlib
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import make_server
from http2_client import Http2
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import HERE, Httpd, Nginx, Site, until
from world import ALICE, BOB, UNKNOWN, ZOE

LONG = os.environ.get("NEGOTIATE_SOAK") == "1"
CLIENTS = 8


def rounds(short, long):
    return long if LONG else short


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


def abandoned(site, number):
    """A client that leaves in mid-handshake."""
    with Connection(site) as connection:
        connection.challenge()
        if number % 2:
            connection.send("/", [authorization(negotiate())])


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
            for _ in range(rounds(3, 100)):
                plain_site.server.reload(wait_for_old=False)
        finally:
            done.set()
        for one in clients:
            one.result()
    plain_site.server.reload()
    assert counts["right"] > CLIENTS
    assert log.lines("signal (11|6|7|4)|exit signal|panicked|\\[alert\\]") == []


class SingleNginx(Nginx):
    def command(self, configuration):
        return [*super().command(configuration), "-g", "master_process off;"]


class SingleHttpd(Httpd):
    says_when_ready = False

    def command(self, configuration):
        return [self.binary, "-d", str(self.directory), "-X", "-f", str(configuration)]


@pytest.mark.parametrize("kind", [SingleNginx, SingleHttpd], ids=["nginx", "httpd"])
def test_valgrind_finds_no_error_and_no_leak(kind, tmp_path_factory, certificates):
    directory = tmp_path_factory.mktemp("valgrind")
    for part in (directory, *directory.parents[:2]):
        part.chmod(0o755)
    valgrind = ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite",
                "--show-leak-kinds=definite", "--trace-children=no", "--child-silent-after-fork=yes",
                "--vgdb=no", f"--suppressions={HERE}/valgrind.supp", f"--log-file={directory}/valgrind"]
    with make_server(kind, directory / "server", certificates, wrapper=valgrind) as server:
        for scheme in ("http", "https"):
            for number in range(rounds(3, 100)):
                site = Site(server, scheme)
                one_visit(site, number)
                abandoned(site, number)
                if site.tls:
                    with Http2(site) as connection:
                        assert connection.request("/missing/file", authorization(negotiate()))["status"] == 401
        until(lambda: is_idle(server.process), f"{server.name} to have done with its connections")
        until(lambda: has_ended(server.process), f"{server.name} to end by itself")
    report = (directory / "valgrind").read_text()
    assert report == "", report


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
    path = "/missing/file"
    with Connection(site) as connection:
        assert connection.request(path).status == 401
        assert connection.sign_in(ALICE, path).status == 404
        assert connection.request(path).status == 404
        assert connection.sign_in(BOB.with_password("wrong"), path).status == 401
        assert connection.sign_in(UNKNOWN, path).status == 401
        assert connection.request(path, ("Authorization", "NTLM ===")).status == 401
        assert connection.request(path, authorization(b"NTLMSSP\0" + bytes(number))).status == 401
        assert connection.sign_in(BOB, path, mic=True).status == 404
