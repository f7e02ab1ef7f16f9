"""Functions in a program of its own, called line by line: {"call": NAME, "with": {…}}, {"result": …}, {"error": …}.

The program says {"result": "ready"} first. Bytes travel as {"hex": …}. It ends with its standard input. Runs on
Debian's Python too.
"""

import json
import select
import sys
import time


class RemoteError(Exception):
    """What the other side raised, or how it ended."""


class Remote:
    """The calling side, of a process with pipes. Only the first call waits for the process to be ready."""

    def __init__(self, process):
        self.process = process
        self.pending = b""
        self.is_ready = False

    def close(self):
        self.process.kill()
        self.process.communicate()

    def call(self, function, timeout=60, **arguments):
        """TimeoutError means that the answer is still to come, and that nothing else can be asked."""
        if not self.is_ready:
            self.answer(timeout)
            self.is_ready = True
        line = json.dumps({"call": function, "with": arguments}, default=encoded) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        return self.answer(timeout)

    def answer(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no answer within {timeout} s")
            part = self.process.stdout.read1()
            if not part:
                raise RemoteError(f"it ended: {self.process.communicate()[1].decode(errors='replace').strip()}")
            self.pending += part
        line, self.pending = self.pending.split(b"\n", 1)
        answer = json.loads(line, object_hook=decoded)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["result"]


def serve(functions):
    """The called side: what others print goes to standard error."""
    output, sys.stdout = sys.stdout, sys.stderr
    say(output, result="ready")
    for line in sys.stdin:
        request = json.loads(line, object_hook=decoded)
        try:
            say(output, result=functions[request["call"]](**request["with"]))
        except Exception as error:
            say(output, error=f"{type(error).__name__}: {error}")


def say(output, **answer):
    output.write(json.dumps(answer, default=encoded) + "\n")
    output.flush()


def encoded(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    raise TypeError(f"{type(value).__name__} does not travel")


def decoded(value):
    return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else value
