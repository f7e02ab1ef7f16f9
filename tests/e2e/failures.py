"""What a fault of the domain does to a web server: to those who sign in meanwhile, and to everybody else."""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ad_world import AD_ALICE
from endurance import rounds
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import DECISION, HERE, end_with_parent, until
from valgrind import SLOWNESS, UNDER_VALGRIND

# How long sign-ins may take (conf/failures), how much later an answer may be on a machine that does much else, and how
# early by clocks of milliseconds that run ahead.
TIMEOUT = 6 if UNDER_VALGRIND else 2
SLACK = 0.5 * SLOWNESS
EARLY = 0.05
CLIENTS = 8
PAUSE = 0.2 * SLOWNESS
# When a client has signed in so often, one after the other, the service is back.
STEADY = 3
PER_SECOND = 200 / SLOWNESS
WINDOW = rounds(1, 5)
MOST = rounds(20, 12)
# So many sign-ins have to show what a fault does to them.
ENOUGH = 2 * CLIENTS
# Of a server that has nothing to do it is anything from a fraction of a millisecond to some of them.
FLOOR = 0.005 * SLOWNESS

OPENED, CLOSED = "winbind: no answer in time, several times in a row", "winbind: answers again"


class Probe:
    """Asks for a page that needs no sign-in, all the time."""

    def __init__(self, site, output):
        with open(output, "w") as file:
            command = [sys.executable, HERE / "probe.py", site.port, "/public/text", PER_SECOND]
            self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        self.lines = open(output)
        self.rest = ""
        self.answers = []

    def between(self, begin, end):
        """How long those answers took whose requests were due then."""
        until(lambda: self._last_due() >= end, "answers to probes")
        return [took for due, took in self.answers if begin <= due < end]

    def _last_due(self):
        assert self.process.poll() is None, self.process.stderr.read()
        *lines, self.rest = (self.rest + self.lines.read()).split("\n")
        self.answers += [tuple(map(float, line.split())) for line in lines]
        return self.answers[-1][0] if self.answers else 0

    def stop(self):
        with self.process:
            self.process.terminate()
        self.lines.close()


@dataclass(frozen=True)
class SignIn:
    """One of a client: on a connection of its own, and from before that until the last answer."""

    began: float
    ended: float
    status: int
    is_bare: bool
    retry_after: int

    @property
    def took(self):
        return self.ended - self.began

    @property
    def has_waited(self):
        """In vain, until the deadline."""
        return self.is_given_up and self.took >= TIMEOUT - EARLY

    @property
    def is_right(self):
        return self.status == 200

    @property
    def is_given_up(self):
        return self.status == 503


def sign_in(site):
    began = time.monotonic()
    with Connection(site) as connection:
        answer = connection.request("/private/text", authorization(negotiate()))
        if answer.status == 401 and " " in answer.challenges[0]:
            token = AD_ALICE.authenticate(answer.token)
            answer = connection.request("/private/text", authorization(token))
    is_bare = not any(" " in challenge for challenge in answer.challenges)
    return SignIn(began, time.monotonic(), answer.status, is_bare, int(answer.headers["Retry-After"] or 0))


class Clients:
    """Users who sign in, and try again a moment after each answer."""

    def __init__(self, site, member):
        self.site, self.member = site, member
        self.done = threading.Event()
        self.made = [[] for _ in range(CLIENTS)]

    def __enter__(self):
        self.pool = ThreadPoolExecutor(CLIENTS)
        self.running = [self.pool.submit(self._sign_in_all_the_time, made) for made in self.made]
        return self

    def __exit__(self, *_):
        self.done.set()
        self.pool.shutdown()
        for one in self.running:
            one.result()

    def _sign_in_all_the_time(self, made):
        # Whoever measures goes first.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        with self.member.network():
            while not self.done.is_set():
                made.append(sign_in(self.site))
                self.done.wait(PAUSE)

    def all(self):
        return sorted((one for made in self.made for one in list(made)), key=lambda one: one.began)

    def have_tried_since(self, begin):
        return sum(one.began > begin for one in self.all()) >= ENOUGH

    def are_steady(self):
        """Whether each of them signs in, and has done so for a while."""
        assert not any(one.done() for one in self.running), [one.exception() for one in self.running if one.done()]
        return all(len(made) >= STEADY and all(one.is_right for one in made[-STEADY:]) for made in self.made)


@dataclass
class Run:
    """A fault, and one server meanwhile. Times are those of time.monotonic."""

    fault: str
    server: object
    # How long the probes' answers took: without sign-ins, beside good ones, and while the fault was there.
    idle: list
    healthy: list
    loaded: list
    begun: float
    in_force: float
    taken: float
    returned: float
    winbindd: float
    sign_ins: list
    lines: list

    @property
    def during(self):
        """The sign-ins that the fault had all to itself."""
        return [one for one in self.sign_ins if self.in_force < one.began and one.ended < self.taken]

    @property
    def reasons(self):
        """How often each is in the log, as long as the fault was there or somebody still suffered from it."""
        found = [match[2] for line in self.lines if (match := DECISION.search(line)) and int(match[1]) >= 200]
        return {reason: found.count(reason) for reason in sorted(set(found))}

    def notices(self, text):
        return [line for line in self.lines if text in line]

    @property
    def waited(self):
        """The sign-ins for which nobody had an answer in time."""
        return [one for one in self.sign_ins if one.has_waited and self.begun < one.ended < self.taken]

    @property
    def at_once(self):
        """How long those took that nobody was asked about any more."""
        return [one.took for one in self.during if one.is_given_up and not one.has_waited]

    @property
    def back(self):
        """How long after the fault the last sign-in failed."""
        return max([0.0, *(one.ended - self.returned for one in self.sign_ins if not one.is_right)])

    @property
    def winbindd_back(self):
        return max(0.0, self.winbindd - self.returned)


def p99(took):
    return statistics.quantiles(took, n=100)[-1]


def lowest_p99(took):
    """Of all windows: what else the machine does can only add."""
    count = max(1, round(len(took) / (WINDOW * PER_SECOND)))
    return min(p99(took[len(took) * number // count:len(took) * (number + 1) // count]) for number in range(count))


def waits_for_nobody(idle, loaded):
    return lowest_p99(loaded) <= max(1.5 * lowest_p99(idle), FLOOR)


def let_everybody_sign_in(domain, sites):
    """As many at once as later: the servers then have all that they need for it."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Clients(site, domain.member)) for site in sites.values()]
        until(lambda: all(one.are_steady() for one in clients), "everybody to sign in")


def run(domain, fault, sites, probes, before, least):
    """One fault from its beginning to its end: a Run for each server, by name.

    before: how many windows there are without sign-ins, and then with them; least: how many the fault lasts at least.
    """
    def measure(since, until_then):
        time.sleep(max(0, until_then - time.monotonic()))
        return {name: probe.between(since, until_then) for name, probe in probes.items()}

    bring, take = domain.faults[fault]
    since = time.monotonic()
    idle = measure(since, since + before * WINDOW)
    logs = {name: site.log() for name, site in sites.items()}
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(Clients(site, domain.member)) for name, site in sites.items()}
        since = time.monotonic()
        healthy = measure(since, since + before * WINDOW)
        until(lambda: all(one.are_steady() for one in clients.values()), "everybody to sign in")
        begun = time.monotonic()
        bring()
        in_force = time.monotonic()
        try:
            for count in range(1, MOST + 1):
                loaded = measure(begun, in_force + count * WINDOW)
                if count >= least and all(clients[name].have_tried_since(in_force)
                                          and waits_for_nobody(idle[name], loaded[name]) for name in sites):
                    break
        finally:
            taken = time.monotonic()
            take()
        returned = time.monotonic()
        domain.member.wait_until_signing_in(90)
        winbindd = time.monotonic()
        until(lambda: all(one.are_steady() for one in clients.values()), "everybody to sign in again")
    return {name: Run(fault, site.server, idle[name], healthy[name], loaded[name], begun, in_force, taken, returned,
                      winbindd, clients[name].all(), logs[name].lines()) for name, site in sites.items()}
