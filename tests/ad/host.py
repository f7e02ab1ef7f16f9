"""A host on this machine: a network, a name and files of its own, gone without a trace.

    with Host(folder, "web1") as host:
        host.run(["hostname"])

It consists of namespaces (network, UTS, mount, PID) without names, which a process keeps: when that ends, or whoever
started it, the kernel ends all daemons of the host and takes away its interfaces and mounts. What lies in the folder
covers the machine's own: run on /run, each file of etc, and the folders of Samba, so that everything there has its
usual path.

A daemon lives in all the namespaces (daemon). A program of the tests (run, popen, prefix) keeps the PIDs of
the machine, so that its process is the one that Popen knows. In this very process a thread can use the host's network
(network).
"""

import contextlib
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
COVERED = ("run", "etc/samba", "var/lib/samba", "var/cache/samba", "var/log/samba")
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
DEADLINE = 20

LIBC = ctypes.CDLL(None, use_errno=True)


class HostError(Exception):
    """What went wrong, in the words of who said so."""


@dataclass(frozen=True)
class Process:
    """As /proc has it; state T is stopped, Z ended."""

    pid: int
    name: str
    state: str
    parent: int


class Host:
    """The folder is the caller's to remove."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.keeper = None
        self.pid = None

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    def up(self):
        """Makes the namespaces, for as long as the calling thread lives. No daemon runs yet."""
        if os.geteuid() != 0:
            raise HostError("the domain of the tests takes root")
        for covered in COVERED:
            if not os.path.isdir(f"/{covered}"):
                raise HostError(f"/{covered} is missing: run tests/setup test")
        self.clean()
        # In a session of its own: Ctrl-C is for the tests, which then take the host down.
        self.keeper = subprocess.Popen(
            ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
             HERE / "host-init", self.folder, self.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=end_with_parent(signal.SIGKILL))
        if self.keeper.stdout.readline() != "ready\n":
            raise HostError(f"this machine does not let root make namespaces, which the domain of the tests needs: "
                            f"{self.keeper.stderr.read().strip()}")
        self.pid = int(pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text())
        self.namespaces = {kind: identity(self.pid, kind) for kind in ("net", "uts", "mnt", "pid")}

    def clean(self):
        """Makes the folders, and empties /run as a boot does."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        for covered in COVERED:
            (self.folder / covered).mkdir(parents=True, exist_ok=True)
        (self.folder / "run/lock").mkdir()
        (self.folder / "run/lock").chmod(0o1777)

    def down(self):
        """Ends all daemons of the host at once, and every program that still uses its network."""
        if self.keeper is None:
            return
        # The first process and not its parent, which has to see it end.
        signal_to(self.keeper.pid if self.pid is None else self.pid, signal.SIGKILL)
        self.keeper.communicate()
        self.keeper = None
        if self.pid is not None:
            for kind in ("pid", "net"):
                end(self.members(kind))
            self.pid = None

    # Programs

    @property
    def prefix(self):
        """What a command begins with that runs here; its process is then this very one."""
        return self._enter("--net", "--mount", "--uts", f"--wdns={os.getcwd()}")

    def popen(self, command, user=None, network_only=False, **options):
        """A program here, which the kernel ends if the tests are killed.

        user: whom it runs as, with the groups that /etc/group says here; by default root.
        network_only: with the machine's own files, so also without the way to winbindd.
        """
        folder = options.pop("cwd", None) or os.getcwd()
        enter = self._enter("--net") if network_only else self._enter("--net", "--mount", "--uts", f"--wdns={folder}")
        if network_only:
            options["cwd"] = folder
        if user is not None:
            enter += ["setpriv", "--pdeathsig=keep", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        return subprocess.Popen([*enter, *command], preexec_fn=end_with_parent(), **options)

    def run(self, command, check=True, timeout=60, input=None, **options):
        """Runs a program to its end. Returns a CompletedProcess with text; an exit status other than 0 raises."""
        options = {"stdin": subprocess.DEVNULL if input is None else subprocess.PIPE, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, "text": True, **options}
        with self.popen(command, **options) as process:
            try:
                output, errors = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        if check and process.returncode:
            raise HostError(f"{' '.join(map(str, command))}: status {process.returncode}: "
                            f"{(errors or '').strip()} {(output or '').strip()}")
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def daemon(self, command, environment=None):
        """Runs a command that leaves a daemon behind, in the PID namespace too."""
        done = subprocess.run([*self._enter("--net", "--mount", "--uts", "--pid"), *command], capture_output=True,
                              stdin=subprocess.DEVNULL, text=True, timeout=DEADLINE, env=environment)
        if done.returncode:
            raise HostError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")

    @contextlib.contextmanager
    def network(self):
        """This thread, and what it starts, has the network of the host: what it opens stays there."""
        with open("/proc/thread-self/ns/net") as before, open(f"/proc/{self.pid}/ns/net") as own:
            enter_network(own)
            try:
                yield self
            finally:
                enter_network(before)

    def _enter(self, *kinds):
        if self.pid is None:
            raise HostError(f"the host {self.name} is down")
        return ["nsenter", f"--target={self.pid}", *kinds, "--"]

    # Daemons

    def daemons(self):
        """All processes of the PID namespace but its first, and those that have ended and wait for their parent."""
        return [one for one in self.members("pid") if one.pid != self.pid and one.state != "Z"]

    def members(self, kind):
        """All processes in this namespace, but not this very one."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if identity(name, kind) == self.namespaces[kind]:
                    found.append(process(int(name)))
        return found

    def freeze(self):
        """Stops all daemons where they are, and returns when the last one stands still."""
        while moving := [one.pid for one in self.daemons() if one.state != "T"]:
            for pid in moving:
                signal_to(pid, signal.SIGSTOP)
            time.sleep(0.001)

    def thaw(self):
        for one in self.daemons():
            signal_to(one.pid, signal.SIGCONT)


def end(processes):
    for one in processes:
        signal_to(one.pid, signal.SIGKILL)
    await_end(processes)


def await_end(processes, timeout=DEADLINE):
    """Returns whether all of them have ended in time."""
    deadline = time.monotonic() + timeout
    for one in processes:
        try:
            descriptor = os.pidfd_open(one.pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
        finally:
            os.close(descriptor)
    return True


def signal_to(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def identity(pid, kind):
    """Of the namespace that this process is in."""
    found = os.stat(f"/proc/{pid}/ns/{kind}")
    return found.st_dev, found.st_ino


def process(pid):
    name, rest = pathlib.Path(f"/proc/{pid}/stat").read_text().split(" (", 1)[1].rsplit(") ", 1)
    state, parent = rest.split()[:2]
    return Process(pid, name, state, int(parent))


def enter_network(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter the network of a host")


def end_with_parent(number=signal.SIGTERM):
    """What the child runs: if the thread that starts it ends, the kernel sends it this signal."""
    parent = os.getpid()

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
