"""The servers that are measured: each in a folder of its own, on its own port, at work in one process."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
HTTPD_MODULES = "/usr/lib/apache2/modules"
PEER_MODULE = pathlib.Path(HTTPD_MODULES) / "mod_auth_gssapi.so"
DEADLINE = 60
IS_ROOT = os.geteuid() == 0

# alice's password is "Password"; gss-ntlmssp knows no groups.
GROUPS = ",".join(f"group-{number}" for number in range(32))
ACCOUNTS = f"DEMO\\alice:a4f49c406510bdcab6824ee7c30fd852:{GROUPS}\n"
PEER_ACCOUNTS = "DEMO:alice:Password\n"


@dataclass(frozen=True)
class Kind:
    """What is measured, and how it is started."""

    name: str
    template: str
    command: tuple
    user: str
    # In one process without a master: for a profiler.
    alone: tuple = ()


def httpd(*more):
    return ("/usr/sbin/apache2", "-d", "@DIR@", "-DFOREGROUND", *more, "-f", "@CONF@")


HTTPD_USER = "User www-data\nGroup www-data"
NGINX = Kind("nginx", "nginx.conf", ("/usr/sbin/nginx", "-e", "@DIR@/error.log", "-p", "@DIR@", "-c", "@CONF@"),
             "user www-data;")
HTTPD = Kind("httpd", "httpd.conf", httpd(), HTTPD_USER, ("-X",))
PEER = Kind("mod_auth_gssapi", "httpd.conf", httpd("-DPeer"), HTTPD_USER, ("-X",))
KINDS = (NGINX, HTTPD, PEER)


class Server:
    """A server that runs within a with statement, kept to one core."""

    def __init__(self, kind, directory, core, wrapper=(), alone=False):
        self.kind = kind
        self.keytab = directory / "one.keytab"
        self.port = free_port()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{kind.name}-", dir=directory))
        self.core = core
        self.wrapper = wrapper
        self.alone = alone

    def __enter__(self):
        prepare(self.directory, self.keytab)
        self.output = open(self.directory / "output", "w+")
        self.process = subprocess.Popen([*settled(self.core), *self.command()], env=self.environment(),
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        try:
            until(self.answers, f"{self.kind.name} to listen")
            self.worker = self.process.pid if self.alone else until(self.only_child, f"{self.kind.name}'s worker")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            until(self.ends, f"{self.kind.name} to end")
            until(lambda: not is_group(self.process.pid), f"{self.kind.name}'s processes to end")
        finally:
            if is_group(self.process.pid):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.output.close()

    def ends(self):
        """An nginx that is one process overlooks a signal that comes just before it waits for events: once more then."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(1) is not None
        except subprocess.TimeoutExpired:
            return False

    def command(self):
        configuration = self.directory / "conf"
        values = {"BUILD": BUILD, "DIR": self.directory, "MODULES": HTTPD_MODULES, "PORT": self.port,
                  "CONF": configuration, "USER": self.kind.user if IS_ROOT else "",
                  "MASTER": "off" if self.alone else "on"}
        configuration.write_text(fill_in((HERE / self.kind.template).read_text(), values))
        return [*self.wrapper, *(fill_in(word, values) for word in self.kind.command),
                *(self.kind.alone if self.alone else ())]

    def environment(self):
        return {**os.environ, "NTLM_USER_FILE": str(self.directory / "accounts-peer"), "NETBIOS_DOMAIN_NAME": "DEMO",
                "KRB5RCACHEDIR": str(self.directory / "replays")}

    def answers(self):
        if self.process.poll() is not None:
            self.output.seek(0)
            raise Failure(f"{self.kind.name} does not start: {self.output.read()}")
        return is_open(self.port)

    def only_child(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if len(children) == 1 else None

    def memory(self):
        """The worker's own memory (Pss: what it shares counts in part), in bytes."""
        rollup = pathlib.Path(f"/proc/{self.worker}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s*(\d+) kB$", rollup, re.MULTILINE)[1]) * 1024


def prepare(directory, keytab):
    """Writes what is served and who may sign in. The workers are not root."""
    directory.chmod(0o755)
    for folder in ("open", "shut", "ticket", "unremembered", "rule", "groups"):
        (directory / "htdocs" / folder).mkdir(parents=True)
        (directory / "htdocs" / folder / "file").write_text("A static file, as small as they come.\n" * 10)
    for name, data in (("accounts", ACCOUNTS.encode()), ("accounts-peer", PEER_ACCOUNTS.encode()),
                       ("keytab", keytab.read_bytes())):
        path = directory / name
        path.write_bytes(data)
        path.chmod(0o640)
        if IS_ROOT:
            shutil.chown(path, "root", "www-data")
    (directory / "replays").mkdir()
    if IS_ROOT:
        shutil.chown(directory / "replays", "www-data")


class Failure(Exception):
    """What a person is told in one line."""


def fill_in(text, values):
    return re.sub(r"@([A-Z]+)@", lambda match: str(values[match[1]]), text)


def settled(core):
    """What a command is begun with to end with its parent and, unless None, to stay on this core."""
    return ("setpriv", "--pdeathsig", "TERM", *(() if core is None else ("taskset", "--cpu-list", str(core))))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_group(pid):
    """Whether any process of this process group is left."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, what):
    """Polls for an event that cannot be waited for. Returns what the condition returned."""
    deadline = time.monotonic() + DEADLINE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"waited {DEADLINE} s for {what}")
        time.sleep(0.01)
    return result
