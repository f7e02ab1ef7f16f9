"""What connections cost in memory: idle ones that have signed in, and handshakes that stay half done.

The yardstick is a server without the module: to it the same requests go, on as many connections.
"""

import resource
import time
from contextlib import ExitStack, contextmanager

import pytest

from endurance import KINDS, memory, processes, rounds, serving
from losses import Careful
from ntlm_client import ANY_CHALLENGE, negotiate
from raw_http import authorization
from servers import Site
from world import ALICE

pytestmark = pytest.mark.measures

IDLE = rounds(500, 2_000)
HALF_OPEN = rounds(2_000, 10_000)
# In seconds: a first wave of handshakes has to be done before it is over.
LIFETIME = rounds(5, 40)
# After so many connections a server has what it needs whatever comes.
FIRST = 100
# Of the tests and of a server, beside the connections.
OTHER_DESCRIPTORS = 150

PER_SESSION = 1024
PER_HANDSHAKE = 2100


@pytest.fixture(params=KINDS)
def name(request):
    return request.param


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    """As many open files as the system lets us, also for the servers. Returns how many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_idle_connection_that_has_signed_in_costs_at_most_1_kb(name, certificates):
    costs = []
    for module in (True, False):
        with crowd(name, certificates, module, IDLE) as connections:
            costs.append(connections.come(IDLE, sign_in))
    ours, bare = costs
    print(f"{name}: {IDLE} idle connections, bytes for each: {ours / IDLE:.0f}, {bare / IDLE:.0f} without the module")
    assert ours - bare <= IDLE * PER_SESSION


def test_half_done_handshakes_cost_little_and_are_freed_by_age(name, certificates, descriptors):
    second_wave = min(HALF_OPEN, descriptors - OTHER_DESCRIPTORS - FIRST - HALF_OPEN)
    assert second_wave >= HALF_OPEN / 2, f"RLIMIT_NOFILE of {descriptors} is too low"
    connections = HALF_OPEN + second_wave
    with crowd(name, certificates, True, connections, lifetime=LIFETIME) as ours:
        session = ours.come(connections, be_asked) / connections
        waves = ours.connections[FIRST:][:HALF_OPEN], ours.connections[FIRST:][HALF_OPEN:]
        start = time.monotonic()
        first = ours.talk(waves[0], begin) / HALF_OPEN
        assert time.monotonic() < start + LIFETIME, "the first wave took too long to be there all at once"
        time.sleep(LIFETIME)  # nothing tells the end of a lifetime
        second = ours.talk(waves[1], begin) / second_wave
    with crowd(name, certificates, False, HALF_OPEN) as bare:
        bare = bare.come(HALF_OPEN, be_asked) / HALF_OPEN
    print(f"{name}: bytes for each of {connections} connections: {session:.0f}, {bare:.0f} without the module;",
          f"for each of {HALF_OPEN} handshakes more: {first:.0f}, for each of {second_wave} later: {second:.0f}")
    assert session + first - bare <= PER_HANDSHAKE
    # They take the place of the first; only what was answered stays with each connection until its next request.
    assert second <= 0.8 * first


@contextmanager
def crowd(name, certificates, module, size, **how):
    """A server and connections to it, the first of which are there. When few are left, nginx would close idle ones."""
    with (serving(name, certificates, module, connections=2 * size, **how) as server,
          Crowd(server, module) as crowd):
        crowd.come(FIRST, sign_in)
        yield crowd


class Crowd(ExitStack):
    """Connections that stay open."""

    def __init__(self, server, module):
        super().__init__()
        self.server = server
        self.module = module
        self.connections = []

    def come(self, count, talk):
        """More connections, each of which talks as told. Returns how much memory the server took for them."""
        before = self.memory()
        for _ in range(count):
            self.connections.append(self.enter_context(Careful(Site(self.server, "http"))))
            talk(self.connections[-1], self.module)
        return self.memory() - before

    def talk(self, connections, talk):
        """Lets some of them talk again. Returns how much more memory the server took."""
        before = self.memory()
        for connection in connections:
            talk(connection, self.module)
        return self.memory() - before

    def memory(self):
        return sum(map(memory, processes(self.server)))


def sign_in(connection, module):
    leg = connection.expect(401 if module else 200, "/file/text", authorization(negotiate()))
    challenge = leg.token if module else ANY_CHALLENGE
    connection.expect(200, "/file/text", authorization(ALICE.authenticate(challenge)))


def be_asked(connection, module):
    connection.expect(401 if module else 200, "/short/text")


def begin(connection, _):
    connection.expect(401, "/short/text", authorization(negotiate()))
