"""The domain fails in every way that it can: who signs in meanwhile is told so in time, and nobody else waits.

Each fault is there once, for both servers at a time. NEGOTIATE_AUTH_WRITE_FAILURES=1 writes what was measured into
docs/domain-failures.md; a figure there is one of a long run on a machine that does nothing else.
"""

import os
import pathlib
import platform
import re
import statistics
import subprocess
from contextlib import ExitStack

import pytest

import ad_world
import failures
import valgrind
from conftest import make_server
from endurance import ONE_HEAP, TROUBLE, descriptors, memory, processes, rounds
from failures import CLOSED, OPENED, SLACK, TIMEOUT, Probe, lowest_p99, p99
from servers import HERE, Httpd, Nginx, Site, until
from test_winbind import WORKER

KINDS = {"nginx": Nginx, "httpd": Httpd}
# What README recommends.
WINBIND = {"winbind request timeout": "5"}
# With which reasons there may be a 401, beside a 503.
GIVEN_UP = {"backend-unavailable", "no-answers"}
UNAVAILABLE = {"winbind-unavailable"}
NO_CONTROLLER = {"no-logon-servers"}
# Somebody has to find out first that it is not the password. These come, and go, with a new winbindd: if the old one
# ends under a question, that looks as if it had given up.
BROKEN = {"broken-trust", "logon-failure", "no-logon-servers"} | UNAVAILABLE
FAULTS = {
    "winbindd stopped": UNAVAILABLE,
    "winbindd killed": UNAVAILABLE,
    "winbindd frozen": set(),
    "controller stopped": NO_CONTROLLER,
    "link cut": NO_CONTROLLER,
    "controller frozen": NO_CONTROLLER,
    "account deleted": BROKEN,
    "clock off": BROKEN,
}
# Those in which nobody who waits gets an answer.
SILENT = {"winbindd frozen", "controller stopped", "link cut", "controller frozen"}

# So many in a row open the breaker.
MISSES = 3
# In windows: what a server has to itself, and how long a fault lasts.
BEFORE, LEAST = rounds(1, 2), rounds(TIMEOUT + 1, 6)
# In seconds, from when what had failed is there again.
SOON = 10
# Of its connections to winbindd a process keeps so many, and it may have kept less before.
MOST_IDLE = 8
# What all threads of a server have touched once, and no more than that, however many faults there are.
MORE_MEMORY = 1 << 20

DOCUMENT = HERE.parent.parent / "docs/domain-failures.md"
START, END = "<!-- measured: written by the test -->\n", "<!-- end of what was measured -->\n"
HEADINGS = ["fault", "server", "others, ms", "beside sign-ins", "in the fault", "slowest",
            "sign-ins that failed", "slowest, s", "503 at once, ms", "back after, s", "winbindd itself, s"]


def member_server(kind, domain):
    """A server on the member with one process that serves."""

    class OnMember(kind):
        templates = "conf/failures"
        schemes = ("http",)

        def environment(self, for_test=False):
            return {**(super().environment(for_test) or os.environ), **ONE_HEAP}

        def fill_in(self, text):
            self.values["TIMEOUT"] = TIMEOUT
            return super().fill_in(text)

        def start(self, wrapper=()):
            for name in ("public", "private"):
                (self.directory / "htdocs" / name).mkdir()
                (self.directory / "htdocs" / name / "text").write_text("a file\n")
            wrapper = valgrind.command(self.directory) if valgrind.UNDER_VALGRIND else []
            return super().start([*domain.member.prefix, *wrapper])

    return type(kind.__name__, (OnMember,), {})


class State:
    """What must be as it was when all faults are over."""

    def __init__(self, server):
        until(server.workers, "workers")
        (self.worker,) = processes(server)[1:]
        self.descriptors, self.memory = descriptors(self.worker), memory(self.worker)


class World:
    """A domain and its servers, each with a probe that asks all the time, and what has been measured."""

    def __init__(self, domain, servers, stack):
        self.domain, self.servers = domain, servers
        self.sites = {name: Site(server, "http") for name, server in servers.items()}
        self.logs = {name: site.log() for name, site in self.sites.items()}
        self.probes = {name: Probe(site, site.server.directory / "probe") for name, site in self.sites.items()}
        for probe in self.probes.values():
            stack.callback(probe.stop)
        failures.let_everybody_sign_in(domain, self.sites)
        self.before = {name: State(server) for name, server in servers.items()}
        self.runs = {}


@pytest.fixture(scope="module")
def world(domain_snapshot, certificates):
    with ExitStack() as stack:
        domain = stack.enter_context(ad_world.running_domain(domain_snapshot, winbind=WINBIND))
        domain.member.allow(WORKER)
        directory = stack.enter_context(ad_world.folder())
        with domain.member.network():
            servers = {name: stack.enter_context(make_server(member_server(kind, domain), directory / name,
                                                             certificates)) for name, kind in KINDS.items()}
            world = World(domain, servers, stack)
        yield world
        if os.environ.get("NEGOTIATE_AUTH_WRITE_FAILURES") == "1":
            write(world)


@pytest.fixture(scope="module", params=FAULTS)
def fault(request, world):
    """It has been there and is gone."""
    with world.domain.member.network():
        world.runs[request.param] = failures.run(world.domain, request.param, world.sites, world.probes,
                                                 BEFORE, LEAST)
    return request.param


@pytest.fixture(params=KINDS)
def name(request):
    return request.param


@pytest.fixture
def run(world, fault, name):
    return world.runs[fault][name]


def test_every_sign_in_is_answered_in_time(run):
    assert len(run.during) >= failures.ENOUGH
    for one in run.during:
        assert one.status in (401, 503), one
        assert one.is_bare and (one.retry_after > 0) == one.is_given_up, one
    assert max(one.took for one in run.sign_ins) < TIMEOUT + SLACK
    assert set(run.reasons) <= GIVEN_UP | FAULTS[run.fault]
    assert sum(run.reasons.values()) == sum(not one.is_right for one in run.sign_ins)


@pytest.mark.measures
def test_nobody_else_waits(run):
    """By the lowest p99 of all windows, as in test_waiting; and nobody waited as long as somebody who signs in."""
    print(row(run))
    assert failures.waits_for_nobody(run.idle, run.loaded), (lowest_p99(run.idle), lowest_p99(run.loaded))
    assert max(run.loaded) < TIMEOUT / 2


def test_when_nobody_answers_only_one_sign_in_at_a_time_waits(run):
    assert len(run.notices(OPENED)) == len(run.notices(CLOSED))
    assert max(run.at_once, default=0) < TIMEOUT / 2
    if run.fault in SILENT:
        opened = sorted(one.ended for one in run.waited)[MISSES - 1]
        tried = [one for one in run.waited if one.began > opened]
        assert len(tried) <= 1 + (run.taken - opened) / TIMEOUT
        assert run.notices(OPENED) and run.at_once


def test_service_is_back_as_soon_as_the_domain_is(run):
    assert run.back < max(SOON, run.winbindd_back + TIMEOUT + SLACK)


def test_no_fault_ends_a_process_or_leaves_a_file_open(world, name):
    server, before = world.servers[name], world.before[name]
    after = State(server)
    assert after.worker == before.worker
    assert world.logs[name].lines(TROUBLE) == []
    until(lambda: descriptors(after.worker) <= before.descriptors + MOST_IDLE, "descriptors")


@pytest.mark.measures
def test_no_memory_is_lost(world, name):
    before, after = world.before[name].memory, State(world.servers[name]).memory
    print(f"{name}: {before} bytes before all faults, and {after} after")
    assert after <= before + MORE_MEMORY


# The document

def test_the_document_has_a_row_for_every_fault_and_server():
    rows = re.findall(r"^\| ([^|]*) \| (nginx|httpd) \|", measured(DOCUMENT.read_text())[1], re.MULTILINE)
    assert rows == [(fault, name) for fault in FAULTS for name in KINDS]


def measured(text):
    """What comes before the table, the table, and what comes after."""
    before, rest = text.split(START)
    table, after = rest.split(END)
    return before, table, after


def write(world):
    before, _, after = measured(DOCUMENT.read_text())
    DOCUMENT.write_text("".join([before, START, table(world), END, after]))


def table(world):
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---" + "|--:" * 4 + "|---" + "|--:" * 4 + "|"]
    lines += [row(run) for runs in world.runs.values() for run in runs.values()]
    return "\n".join([*machine(), "", *lines, "", *left(world), ""])


def row(run):
    answers = ", ".join(f"{count} {reason}" for reason, count in run.reasons.items())
    at_once = f"{1000 * statistics.median(run.at_once):.1f}" if run.at_once else ""
    figures = [f"{1000 * seconds:.1f}"
               for seconds in (p99(run.idle), p99(run.healthy), p99(run.loaded), max(run.loaded))]
    slowest = max(one.took for one in run.sign_ins if not one.is_right)
    return " | ".join([f"| {run.fault}", run.server.name, *figures, answers, f"{slowest:.2f}", at_once,
                       f"{run.back:.1f}", f"{run.winbindd_back:.1f} |"])


def left(world):
    yield "| server | processes | descriptors before all of them | and after | memory before, kB | and after, kB |"
    yield "|---|---|--:|--:|--:|--:|"
    for name, server in world.servers.items():
        before, after = world.before[name], State(server)
        same = "the same" if before.worker == after.worker else "others"
        yield (f"| {name} | {same} | {before.descriptors} | {after.descriptors} | {before.memory // 1024} | "
               f"{after.memory // 1024} |")


def machine():
    """Where this was measured, and with which versions."""
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    versions = {"nginx": first(r"nginx/(.*)$", "/usr/sbin/nginx", "-v"),
                "httpd": first(r"Apache/(.*)$", "/usr/sbin/apache2", "-v"),
                "winbindd": first(r"Version (.*)$", "winbindd", "--version")}
    yield "| | |\n|---|---|"
    yield f"| machine | {model[1] if model else platform.machine()}, {os.cpu_count()} cores |"
    yield f"| system | {platform.system()} {platform.release()} |"
    yield from (f"| {name} | {version} |" for name, version in versions.items())
    yield f"| each fault | {LEAST * failures.WINDOW} s or a little more |"


def first(pattern, *command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.search(pattern, done.stdout + done.stderr, re.MULTILINE)[1]
