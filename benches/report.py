"""The figures as Markdown."""

import math
import statistics

import figures
from figures import (CHALLENGED, CONNECT_ONCE, CONNECT_TWICE, FOR_RULE, IN_GROUPS, OF_32, PACED, SIGN_IN, SIGNED_IN,
                     STATIC, TICKET, UNREMEMBERED)
from servers import HTTPD, KINDS, PEER

# What an operation costs, or what it costs beyond another one.
ROWS = (
    (STATIC, None, "static request, connection kept", ""),
    (CONNECT_ONCE, None, "new connection, one static request", ""),
    (CONNECT_TWICE, None, "new connection, two static requests", ""),
    (CHALLENGED, None, "request without credentials, answered 401", ""),
    (PACED, None, "static request, after as long as the client takes for a ticket", ""),
    (SIGN_IN, CONNECT_TWICE, "**NTLM sign-in on a new connection**, beyond two static requests on one",
     "15 µs on nginx"),
    (SIGNED_IN, STATIC, "**request of a client that has signed in**, beyond a static one", "0.5 µs on nginx"),
    (TICKET, PACED, "**Kerberos sign-in per request**, beyond a static one after as long", "50 µs, httpd 60 µs"),
    (UNREMEMBERED, PACED, "**the same without replay cache**", "40 µs, httpd 50 µs"),
    (OF_32, PACED, "the same with a domain's PAC, of 32 groups", ""),
    (FOR_RULE, OF_32, "**a rule about one of these groups**, beyond that", "8 µs"),
)
MEMORY_ROWS = (
    (SIGNED_IN, "**memory of an idle connection that has signed in**, beyond one that has not, in bytes", "1024 bytes"),
    (IN_GROUPS, "the same by Kerberos, of a user of 1,000 groups, let in for one of them", ""),
)
LATENCY_ROWS = (
    (STATIC, "static request, connection kept"),
    (SIGNED_IN, "request of a client that has signed in"),
    (CONNECT_TWICE, "new connection, two static requests"),
    (SIGN_IN, "NTLM sign-in on a new connection"),
    (PACED, "static request, after as long as the client takes for a ticket"),
    (TICKET, "Kerberos sign-in per request, connection kept"),
    (UNREMEMBERED, "the same without replay cache"),
    (OF_32, "the same with a domain's PAC, of 32 groups"),
    (FOR_RULE, "the same with a rule about one of these groups"),
)

NOTHING = "–"
HEAD = ("operation", "nginx", "httpd", "httpd with mod_auth_gssapi", "times ours", "budget")


def report(measured):
    return f"""\
### CPU time of the server for an operation, in µs

The median and the middle half of {figures.REPETITIONS} repetitions of {figures.AT_ONCE * figures.ROUNDS} operations, \
{figures.AT_ONCE * figures.ROUNDS_OF_TICKETS} with tickets,
{figures.AT_ONCE} connections at once, taken in turns on all servers; a difference is that of neighbours in time. \
Memory (Pss) is that
of {figures.HELD} connections; those that have not signed in sent and got the same.

{table(HEAD, [*rows(measured.cpu, microseconds), *memory_rows(measured.memory)])}
### Instructions of the server for an operation

Counted by callgrind, one connection at a time, without the kernel's: these repeat on a busy machine, too.

{table(HEAD[:-1], [row[:-1] for row in rows(measured.instructions, plain)])}
### Time until the answer is there, in µs

Half of them are as fast as the first number, 99 % as the second. One connection at a time; what the client computes
is not counted.

{table(HEAD[:4], latency_rows(measured.latency))}"""


def rows(samples, form):
    for operation, base, what, budget in ROWS:
        row = {kind: samples[kind.name, operation] for kind in KINDS if (kind.name, operation) in samples}
        if base:
            row = {kind: [a - b for a, b in zip(row[kind], samples[kind.name, base])] for kind in row}
        yield [what, *cells(row, form), ratio(row) if base else "", budget]


def memory_rows(samples):
    for operation, what, budget in MEMORY_ROWS:
        row = {kind: samples[kind.name, operation] for kind in KINDS if (kind.name, operation) in samples}
        yield [what, *cells(row, plain), ratio(row), budget]


def cells(row, form):
    return (form(row[kind]) if kind in row else NOTHING for kind in KINDS)


def latency_rows(samples):
    for operation, what in LATENCY_ROWS:
        row = {kind: samples[kind.name, operation] for kind in KINDS if (kind.name, operation) in samples}
        yield [what, *cells(row, half_and_most)]


def half_and_most(samples):
    p50, p99 = (statistics.median(column) / 1000 for column in zip(*samples))
    return f"{p50:.0f}, {p99:.0f}"


def table(head, body):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def ratio(row):
    """How many times as much the peer takes as our module beside it, if both can be told from nothing."""
    if PEER not in row or not (is_clear(row[PEER]) and is_clear(row[HTTPD])):
        return NOTHING
    times = statistics.median(row[PEER]) / statistics.median(row[HTTPD])
    return f"{times:.{0 if times >= 10 else 1}f}×"


def is_clear(samples):
    """Whether the median lies three of its standard errors above zero."""
    low, middle, high = quartiles(samples)
    return middle > 3 * 0.93 * (high - low) / math.sqrt(len(samples))


def microseconds(samples):
    low, middle, high = (sample / 1000 for sample in quartiles(samples))
    digits = 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def plain(samples):
    low, middle, high = quartiles(samples)
    return f"{middle:,.0f}" if low == high else f"{middle:,.0f} ({low:,.0f} to {high:,.0f})"


def quartiles(samples):
    return statistics.quantiles(samples, n=4) if len(samples) > 1 else samples * 3
