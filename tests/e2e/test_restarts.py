"""Reloads and graceful restarts under traffic, with the module and without: what they lose, what they keep."""

import math
import pathlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from endurance import KINDS, TROUBLE, memory, processes, rounds, serving
from losses import Careful, Closed, Lost
from ntlm_client import ANY_CHALLENGE, negotiate
from raw_http import Connection, authorization
from servers import Site, until
from world import ALICE, BOB

CLIENTS = 4
PAIRS = rounds(1, 5)
RELOADS = rounds(8, 100)
# After these, what a first reload leaves behind is there.
RELOADS_BEFORE = 5
VISITS_BETWEEN = 20
# What the growth of two processes may differ by, in bytes. How many threads of a young worker have served differs.
MASTER_GROWTH = 64 << 10
WORKER_GROWTH = 2 << 20
PATH = "/file/text"


@dataclass
class Run:
    """What became of a server's requests and memory."""

    visits: int
    lost: list
    # Visits that had to come again on another connection: it was closed, or its first answer said that it would be.
    again: int
    master: int
    worker: int


@pytest.fixture(scope="module", params=KINDS)
def pairs(request, certificates):
    """Runs without the module and with it, each pair of them at one time."""
    with ThreadPoolExecutor(2) as pool:
        found = []
        for _ in range(PAIRS):
            pair = [pool.submit(run, request.param, certificates, module) for module in (False, True)]
            found.append([one.result() for one in pair])
            print(request.param, *found[-1], sep="\n    ")
    return found


def test_reloads_lose_no_more_with_the_module_than_without(pairs):
    bare, ours = zip(*pairs)
    assert all(run.visits > RELOADS * VISITS_BETWEEN for run in bare + ours)
    lost, yardstick = (sum(len(run.lost) for run in runs) for runs in (ours, bare))
    assert lost <= yardstick + 3 * math.sqrt(yardstick), [run.lost for run in ours]
    again, yardstick = (sum(run.again for run in runs) for runs in (ours, bare))
    assert again <= 1.25 * yardstick + 25, (again, yardstick)


@pytest.mark.measures
def test_reloads_leave_as_little_memory_with_the_module_as_without(pairs):
    for bare, ours in pairs:
        assert ours.master <= max(bare.master, 0) + MASTER_GROWTH
        assert ours.worker <= max(bare.worker, 0) + WORKER_GROWTH


def run(name, certificates, module):
    """Reloads one server under traffic. Without the module the same requests go to the same file."""
    with serving(name, certificates, module) as server:
        site = Site(server, "http")
        log = site.log()
        done, counts, lost = threading.Event(), Counter(), []

        def client():
            while not done.is_set():
                try:
                    visit(site, module)
                    counts["visits"] += 1
                except Closed:
                    counts["again"] += 1
                except Lost as one:
                    lost.append(str(one))

        def reload(times):
            for _ in range(times):
                target = counts["visits"] + VISITS_BETWEEN
                until(lambda: counts["visits"] >= target or done.is_set(), "visits")
                server.reload()
            return [memory(pid) for pid in processes(server)]

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            try:
                before = reload(RELOADS_BEFORE)
                after = reload(RELOADS)
            finally:
                done.set()
            for one in clients:
                one.result()
        assert log.lines(TROUBLE) == []
        assert len(before) == len(after) == 2
    master, worker = (new - old for old, new in zip(before, after))
    return Run(counts["visits"], lost, counts["again"], master, worker)


def visit(site, module):
    """Two requests of one connection, as a sign-in takes. A server without the module asks for nothing."""
    with Careful(site) as connection:
        leg = connection.expect(401 if module else 200, PATH, authorization(negotiate()))
        if leg.closes:
            raise Closed("told so")
        challenge = leg.token if module else ANY_CHALLENGE
        connection.expect(200, PATH, authorization(ALICE.authenticate(challenge)))


@pytest.mark.parametrize("name", KINDS)
def test_three_restarts_keep_the_module_where_it_is_and_serve_on(name, certificates):
    with serving(name, certificates) as server:
        place = module_addresses(server)
        for account in (ALICE, BOB, ALICE):
            server.reload()
            assert module_addresses(server) == place
            with Connection(Site(server, "http")) as connection:
                assert connection.sign_in(account).user == account.name
                assert connection.request().user == account.name


def module_addresses(server):
    """Where the module is in every process: its statics outlive a restart only if it stays where it was."""
    maps = [pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines() for pid in processes(server)]
    found = {tuple(line.split()[0] for line in lines if "auth_negotiate" in line) for lines in maps}
    assert len(found) == 1 and found != {()}, found
    return found
