"""Servers under valgrind: each of their processes reports to a file of its own, and every report is an error.

NEGOTIATE_VALGRIND=1 runs all servers of the suite that way. Only a leak for which nothing points to the memory any
more is an error: what grows while something still points to it is told by comparing two runs of different length.
"""

import functools
import os
import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).parent
BUILD = HERE.parent.parent / "build"
UNDER_VALGRIND = os.environ.get("NEGOTIATE_VALGRIND") == "1"
# How much longer everything may take.
SLOWNESS = 10 if UNDER_VALGRIND else 1

IN_USE = re.compile(r"in use at exit: ([\d,]+) bytes in ([\d,]+) blocks")


@functools.cache
def ofd_locks():
    """The library that makes waiting for a file's lock possible."""
    library = BUILD / "tests/ofd_locks.so"
    library.parent.mkdir(exist_ok=True)
    # Another run of the tests may be using the one that is there.
    made = library.with_suffix(f".{os.getpid()}")
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", made, HERE / "ofd_locks.c"],
                   check=True, timeout=60)
    return made.rename(library)


def command(directory, *options):
    """What to put before a server's command. Programs that it runs, such as CGI, are not looked at."""
    folder = directory / "valgrind"
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # workers have another user
    return ["env", f"LD_PRELOAD={ofd_locks()}", "valgrind", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            "--trace-children=no", "--vgdb=no", "--num-callers=30", "--keep-debuginfo=yes",
            *(options or ["--quiet"]),
            f"--suppressions={HERE}/valgrind.supp", f"--log-file={folder}/%p"]


def reports(directory):
    """What the processes of a server that has ended reported, each after its number."""
    texts = {path.name: path.read_text() for path in sorted(directory.glob("valgrind/*"))}
    return "\n".join(f"process {pid}:\n{text}" for pid, text in texts.items() if text)


def in_use_at_end(directory, pid):
    """Bytes and blocks that a process had not given back, when run with -v; it and the others had no error."""
    for path in directory.glob("valgrind/*"):
        text = path.read_text()
        # Without a summary a process has become another program.
        assert "ERROR SUMMARY" not in text or "ERROR SUMMARY: 0 errors" in text, text
    found = IN_USE.search((directory / "valgrind" / str(pid)).read_text())
    return tuple(int(number.replace(",", "")) for number in found.groups())
