"""Asks for one page again and again, at a steady pace, and prints how long each answer took, in seconds, as JSON.

    probe.py PORT PATH COUNT PER_SECOND

A process of its own, since the clients of a test would make it wait. An answer's time runs from when its request
was due, so that one that is late makes those behind it late, too.
"""

import json
import socket
import sys
import time


def main(port, path, count, per_second):
    with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as connection:
        answers = connection.makefile("rb")
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        ask(connection, answers, request)
        took = []
        due = time.perf_counter()
        for _ in range(int(count)):
            due += 1 / float(per_second)
            time.sleep(max(0, due - time.perf_counter()))
            ask(connection, answers, request)
            took.append(time.perf_counter() - due)
    print(json.dumps(took))


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
