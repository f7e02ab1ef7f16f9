"""What the long forms share: how long they are, their servers, and what processes use."""

import os
import pathlib
import tempfile
from contextlib import contextmanager

import application
from conftest import make_server
from servers import Httpd, Nginx

LONG = os.environ.get("NEGOTIATE_SOAK") == "1"
KINDS = {kind.name: kind for kind in (Nginx, Httpd)}
# Memory that one thread has freed is there for all. What each would keep for itself (malloc's arenas, and its tcache: a
# few pieces of each small size) takes a million requests to fill up, and hides what grows for ever.
ONE_HEAP = {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
TROUBLE = r"signal (4|6|7|8|11)\b|exit signal|panicked|\[(alert|emerg)\]|:(alert|emerg)\]"


def rounds(short, long):
    return long if LONG else short


@contextmanager
def serving(kind, certificates, module=True, slow=False, proxied=application.Proxied, wrapper=(), **how):
    """A server of conf/long, with the module or without, in a folder that its workers can enter.

    In /slow/, if slow, accounts take their time. how: the words that conf/long names, in small letters.
    """
    kind = KINDS.get(kind, kind)
    words = {"connections": 1024, "keepalive": 600, "lifetime": 1, "threads": 32, **how}

    class Server(kind):
        templates = "conf/long"
        modules = kind.modules / "slow" if slow else kind.modules

        def fill_in(self, text):
            self.values |= {"MODULE": "" if module else "#", "SLOW": "" if slow else "#",
                            **{word.upper(): value for word, value in words.items()}}
            return super().fill_in(text)

        def environment(self, for_test=False):
            return {**(super().environment(for_test) or os.environ), **ONE_HEAP}

    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        os.chmod(directory, 0o755)
        with make_server(Server, pathlib.Path(directory) / kind.name, certificates, wrapper, proxied) as server:
            for folder in ("file", "short"):
                path = server.directory / "htdocs" / folder / "text"
                path.parent.mkdir()
                path.write_text("a file\n")
            yield server


def processes(server):
    """The server's processes: first the one that it was started as, then its workers."""
    return [server.process.pid, *sorted(map(int, server.workers()))]


def memory(pid):
    """What a process holds in anonymous pages, in bytes: other figures depend on who else has the same files open."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


def descriptors(pid):
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
