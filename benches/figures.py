"""What operations cost a server: CPU time by the kernel's count, latency, memory, instructions."""

import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from servers import HERE, KINDS, PEER, Failure, Server, settled

TESTS = HERE.parent / "tests"
sys.path.append(str(TESTS / "instructions"))
import realm  # noqa: E402

STATIC, CHALLENGED, SIGNED_IN, NOT_SIGNED_IN = "static", "challenged", "signed-in", "not-signed-in"
CONNECT_ONCE, CONNECT_TWICE, SIGN_IN = "connect-once", "connect-twice", "sign-in"
# By Kerberos, with the replay cache and without; and requests as far apart as it takes to make a ticket.
TICKET, UNREMEMBERED, PACED = "ticket", "unremembered", "paced"
# With the PAC of a domain, and with a rule about one of its groups besides, which mod_auth_gssapi knows nothing of.
OF_32, FOR_RULE = "ticket-of-32", "ticket-for-rule"
TICKETS = PACED, TICKET, UNREMEMBERED, OF_32, FOR_RULE
# By Kerberos to stay, in a thousand groups.
IN_GROUPS, NOT_IN_GROUPS = "in-groups", "not-in-groups"
OURS = {FOR_RULE, IN_GROUPS}

# Each follows what it is compared with, so that both see the same machine.
OPERATIONS = (CHALLENGED, STATIC, SIGNED_IN, *TICKETS, CONNECT_ONCE, CONNECT_TWICE, SIGN_IN)

REPETITIONS = 100
AT_ONCE, ROUNDS = 32, 30
# A ticket takes its time: a third of them is told from a static request as well.
ROUNDS_OF_TICKETS = 10
LATENCY_REPETITIONS, LATENCY_ROUNDS = 9, 300
HELD, HELD_REPETITIONS = 2000, 5
FILES = 8192

# Instructions are the difference between few rounds and so many more: enough to drown what threads
# do at start, more or less often.
FEW_ROUNDS = 20
MORE_ROUNDS = {STATIC: 2000, CHALLENGED: 2000, SIGNED_IN: 2000, PACED: 500, TICKET: 200, UNREMEMBERED: 200, OF_32: 200,
               FOR_RULE: 200, CONNECT_ONCE: 200, CONNECT_TWICE: 200, SIGN_IN: 200}

CORES = sorted(os.sched_getaffinity(0))
SERVERS_CORE, CLIENTS_CORE = CORES[0], CORES[-1]


def can(kind, operation):
    """Whether this server knows what that is about."""
    return kind is not PEER or operation not in OURS


class Client:
    """The load generator, told one order after another. Without a core of its own it does not spin."""

    def __init__(self, program, server, core=CLIENTS_CORE):
        rests = "sleep" if core in (None, server.core) else "spin"
        self.process = subprocess.Popen([*settled(core), program, str(server.port), str(server.worker), rests],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def order(self, *words):
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline().split()
        if not answer:
            raise Failure(f"the load generator ended during: {words}")
        return answer

    def cpu(self, operation):
        """Nanoseconds of the server for one operation among many at once."""
        rounds = ROUNDS_OF_TICKETS if operation in TICKETS else ROUNDS
        return float(self.order(operation, AT_ONCE, rounds)[0])

    def latency(self, operation):
        """The median and the 99th percentile, in nanoseconds, of one at a time."""
        return tuple(int(word) for word in self.order(operation, 1, LATENCY_ROUNDS)[1:])


def build(directory):
    """Compiles the load generator."""
    program = directory / "load"
    clients = TESTS / "abi" / "ntlm_client.c", TESTS / "instructions" / "krb5_client.c"
    subprocess.run(["cc", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", *(f"-I{path.parent}" for path in clients),
                    HERE / "load.c", *clients, "-lgssapi_krb5", "-lkrb5", "-o", program], check=True)
    return program


def times(program, directory):
    """CPU times and latencies by (server, operation): a list with one for each repetition."""
    cpu, latency = {}, {}
    with ExitStack() as stack:
        clients = {}
        for kind in KINDS:
            server = stack.enter_context(Server(kind, directory, SERVERS_CORE))
            clients[kind.name] = stack.enter_context(Client(program, server))
        def each():
            for kind in KINDS:
                yield from (((kind.name, operation), clients[kind.name])
                            for operation in OPERATIONS if can(kind, operation))

        for _ in range(REPETITIONS):
            for (name, operation), client in each():
                cpu.setdefault((name, operation), []).append(client.cpu(operation))
        for _ in range(LATENCY_REPETITIONS):
            for (name, operation), client in each():
                latency.setdefault((name, operation), []).append(client.latency(operation))
    return cpu, latency


def memory(program, directory):
    """Bytes of an idle signed-in connection beyond one that sent the same, by (server, operation)."""
    def held(kind, operation, first):
        with Server(kind, directory, SERVERS_CORE) as server, Client(program, server) as client:
            # What happens once in a process has happened: also a sign-in, for its token.
            client.order("hold", first, HELD // 20)
            client.order("hold", operation, HELD // 20)
            before = server.memory()
            client.order("hold", operation, HELD)
            return (server.memory() - before) / HELD

    def beyond(kind, operation, base):
        return [held(kind, operation, operation) - held(kind, base, operation) for _ in range(HELD_REPETITIONS)]

    return {(kind.name, operation): beyond(kind, operation, base)
            for operation, base in ((SIGNED_IN, NOT_SIGNED_IN), (IN_GROUPS, NOT_IN_GROUPS))
            for kind in KINDS if can(kind, operation)}


def instructions(program, directory):
    """Instructions of the server's own, the kernel's not counted, by (server, operation)."""
    def total(kind, operation, rounds):
        counts = directory / f"{kind.name}-{operation}-{rounds}"
        # A server that began as root and writes this at its end as somebody else.
        counts.touch()
        counts.chmod(0o666)
        valgrind = ("valgrind", "--quiet", "--vgdb=no", "--tool=callgrind", f"--callgrind-out-file={counts}")
        with (Server(kind, directory, None, valgrind, alone=True) as server,
              Client(program, server, None) as client):
            client.order(operation, 1, rounds)
        return int(re.search(r"^totals: (\d+)$", counts.read_text(), re.MULTILINE)[1])

    def each(what):
        kind, operation = what
        more = MORE_ROUNDS[operation]
        return (total(kind, operation, FEW_ROUNDS + more) - total(kind, operation, FEW_ROUNDS)) / more

    wanted = [(kind, operation) for kind in KINDS for operation in OPERATIONS if can(kind, operation)]
    with ThreadPoolExecutor(len(CORES)) as pool:
        return {(kind.name, operation): [count]
                for (kind, operation), count in zip(wanted, pool.map(each, wanted))}


class OthersTime:
    """The share of all cores' time that processes other than ours took."""

    def __init__(self):
        self.before = self.now()

    def share(self):
        total, busy, ours = (now - before for now, before in zip(self.now(), self.before))
        return max(0, busy - ours) / total

    @staticmethod
    def now():
        """Seconds in all, those not idle, and those of this process and its ended children."""
        ticks = os.sysconf("SC_CLK_TCK")
        user, nice, system, idle, iowait, irq, softirq, steal, *_ = (
            int(word) / ticks for word in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:])
        busy = user + nice + system + irq + softirq + steal
        return busy + idle + iowait, busy, sum(os.times()[:4])


@dataclass
class Measured:
    """Samples by (server, operation). Times in nanoseconds."""

    cpu: dict
    latency: dict
    memory: dict
    instructions: dict
    others: float


def measure():
    """Everything, in a folder that servers can read and that is gone afterwards."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    except ValueError as error:
        raise Failure(f"{FILES} open files are not allowed: {error}") from error
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-bench-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        program = build(directory)
        # Known to servers and clients alike.
        os.environ.update(realm.write(directory))
        os.environ.update({"CACHE_OF_32": f"FILE:{directory}/cache-of-32",
                           "CACHE_OF_1000": f"FILE:{directory}/cache-of-1000"})
        others = OthersTime()
        cpu, latency = times(program, directory)
        held = memory(program, directory)
        share = others.share()
        return Measured(cpu, latency, held, instructions(program, directory), share)
