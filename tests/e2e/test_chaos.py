"""Ten minutes, or seconds, in which everything happens at once: nobody is taken for another, and nothing stays behind.

Mixed clients (chaos.py) tell the application with each request whom alone it may be told. Meanwhile accounts change,
their file breaks and is mended, and in the first half the server is reloaded every few seconds; in the second it is
left alone, so that what grows in its workers shows.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest

import application
from endurance import KINDS, TROUBLE, descriptors, memory, processes, rounds, serving
from ledger import SETTLES, Book
from raw_http import Connection
from servers import DEADLINE, HERE, Site, end_with_parent, until
from world import line, write_accounts

CYCLES = rounds(1, 30)
CLIENTS = 8
NAMES = [f"EXAMPLE\\u{number}" for number in range(6)]
BROKEN = ["this is no account\n", "EXAMPLE\\u0:short\n"]
# In bytes: what a server may hold more at the end of a time than at its begin.
GROWTH = 2 << 20


class Witness(application.Proxied):
    """Compares whom it is told with whom alone it may be told, and writes down both."""

    def answer(self):
        headers = {name.lower(): value.encode("latin-1").decode() for name, value in self.headers.items()}
        length = len(self.body(headers))
        user = headers.get("x-remote-user", "")
        expected = headers["x-expected"]
        right = expected == "=" + quote(user)
        self.server.journal.add(f"{'right' if right else 'WRONG'} {expected} {user!r} {self.path}")
        text = json.dumps({"user": user, "length": length}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        with suppress(OSError):  # a client that left takes its server along
            self.end_headers()
            self.wfile.write(text)

    do_GET = do_POST = answer


@dataclass(repr=False)
class Outcome:
    """What the time left behind."""

    journal: list = field(default_factory=list)
    # What the clients counted, and of which requests they say that they were lost or answered wrongly.
    counts: dict = field(default_factory=dict)
    lost: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    reloads: int = 0
    trouble: list = field(default_factory=list)
    # The memory of the master in the first half, of the worker in the second, each second.
    master: list = field(default_factory=list)
    worker: list = field(default_factory=list)
    # Workers of the second half that are no more at its end.
    ended: set = field(default_factory=set)
    # Files and sockets of all processes before the clients came and after they went.
    before: int = 0
    after: int = 0


@pytest.fixture(scope="module")
def outcomes(certificates):
    """What became of both servers, who go through it at the same time."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        found = {name: pool.submit(Chaos, name, certificates) for name in KINDS}
        return {name: chaos.result().outcome for name, chaos in found.items()}


@pytest.fixture(params=KINDS)
def outcome(request, outcomes):
    return outcomes[request.param]


def test_nobody_is_taken_for_another(outcome):
    print(f"{len(outcome.journal)} requests reached the application; the clients counted {outcome.counts}")
    assert [entry for entry in outcome.journal if not entry.startswith("right ")][:5] == []
    assert outcome.wrong[:5] == []
    assert len(outcome.journal) >= outcome.counts["served"] > CYCLES * 100


def test_no_request_is_lost(outcome):
    """Of the bare servers none is, either: test_restarts.py."""
    assert outcome.lost[:5] == []
    # A reload may close a connection under each client, who then comes again.
    assert outcome.counts.get("again", 0) <= CLIENTS * (outcome.reloads + 1)
    assert outcome.reloads == 3 * CYCLES + 1


def test_no_process_crashes_or_complains(outcome):
    assert outcome.trouble == []
    assert outcome.ended == set()


@pytest.mark.measures
def test_memory_stays(outcome):
    for samples in (outcome.master, outcome.worker):
        third = len(samples) // 3
        print("kB over time:", [sample >> 10 for sample in samples][::max(1, len(samples) // 20)])
        assert statistics.median(samples[-third:]) - statistics.median(samples[third:2 * third]) <= GROWTH


def test_no_file_or_socket_stays_open(outcome):
    assert outcome.after <= outcome.before


class Chaos:
    """One server, its accounts, its clients, and what happens to them."""

    def __init__(self, name, certificates):
        self.outcome = Outcome()
        with serving(name, certificates, slow=True, proxied=Witness, keepalive=5) as server:
            self.server = server
            self.book = Book(server.directory / "ledger", NAMES)
            self.write()
            log = Site(server, "http").log()
            self.settle()
            self.outcome.before = self.open_at_rest()
            with clients(server, self.book) as report:
                self.first_half()
                self.second_half()
            self.settle()
            with suppress(AssertionError):
                until(lambda: self.open_files() <= self.outcome.before, "connections to be closed")
            self.outcome.after = self.open_files()
            self.outcome.trouble = log.lines(TROUBLE)
            self.outcome.journal = server.journal.path.read_text().splitlines()
        for key, value in report.items():
            setattr(self.outcome, key, value)

    def settle(self):
        """Everybody signs in, as they are now."""
        for account, _ in self.book.accounts():
            if account:
                with Connection(Site(self.server, "http")) as connection:
                    until(lambda: connection.sign_in(account, "/file/text").status == 200, f"{account.name} to get in")

    def open_files(self):
        return sum(map(descriptors, processes(self.server)))

    def open_at_rest(self):
        """The same when it does not change any more."""
        known = None
        while known != (known := self.open_files()):
            time.sleep(1)
        return known

    def first_half(self):
        for _ in range(CYCLES):
            self.cycle(self.reload, self.outcome.master, lambda: memory(self.server.process.pid))

    def second_half(self):
        self.reload(wait_for_old=True)
        workers = self.server.workers()
        for _ in range(CYCLES):
            self.cycle(lambda: None, self.outcome.worker, lambda: sum(map(memory, workers)))
        self.outcome.ended = workers - self.server.workers()

    def cycle(self, reload, samples, sample):
        """Some seconds. The file breaks when every process has seen what was in it."""
        events = {0: self.rotate, 1: reload, 2: self.disable, 3.5: reload, 5: reload, 2.5 + SETTLES: self.spoil,
                  4 + SETTLES: self.write, 4.5 + SETTLES: self.enable, 5 + SETTLES: lambda: None}
        start = time.monotonic()
        for moment, event in events.items():
            while (left := start + moment - time.monotonic()) > 0:
                samples.append(sample())
                time.sleep(min(left, 1))
            event()

    def reload(self, wait_for_old=False):
        self.server.reload(wait_for_old)
        self.outcome.reloads += 1

    def rotate(self):
        """Somebody gets another password."""
        self.book.give(random.choice(NAMES[1:]))
        self.write()

    def disable(self):
        self.book.take(NAMES[0])
        self.write()

    def enable(self):
        self.book.give(NAMES[0])
        self.write()

    def write(self):
        self.book.publish()
        text = "".join(line(account) if account else f"{name}:!\n" for account, name in self.book.accounts())
        write_accounts(self.server.directory / "accounts", text)

    def spoil(self):
        """For a while nobody can read who there is."""
        write_accounts(self.server.directory / "accounts", random.choice(BROKEN))


@contextmanager
def clients(server, book):
    """Clients of this server, until the end. Gives what they say then."""
    specification = {"ports": server.ports, "ca": str(server.ca), "ledger": str(book.path), "names": NAMES,
                     "clients": CLIENTS, "seed": random.randrange(1 << 32)}
    print("specification:", specification)
    report = {}
    process = subprocess.Popen([sys.executable, HERE / "chaos.py", json.dumps(specification)], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=end_with_parent)
    try:
        yield report
        said, _ = process.communicate(timeout=2 * DEADLINE)
        report.update(json.loads(said))
    finally:
        process.kill()
        process.wait()
