"""Asks for one page again and again, at a steady pace, and says of each answer how long it took.

    probe.py PORT PATH PER_SECOND [COUNT]

Each line is an answer: when its request was due, by the clock of time.monotonic, and how long it took, in seconds. A
process of its own, since the clients of a test would make it wait. An answer's time runs from when its request was due,
so that one that is late makes those behind it late, too.
"""

import itertools
import socket
import sys
import time


def main(port, path, per_second, count=None):
    with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as connection:
        answers = connection.makefile("rb")
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        ask(connection, answers, request)
        due = time.monotonic()
        for _ in range(int(count)) if count else itertools.count():
            due += 1 / float(per_second)
            time.sleep(max(0, due - time.monotonic()))
            ask(connection, answers, request)
            print(due, time.monotonic() - due, flush=True)


def ask(connection, answers, request):
    connection.sendall(request)
    assert answers.readline().startswith(b"HTTP/1.1 200 "), "no 200"
    length = 0
    while (line := answers.readline().rstrip()):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answers.read(length)


main(*sys.argv[1:])
