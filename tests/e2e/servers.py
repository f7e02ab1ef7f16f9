"""nginx and httpd as Debian ships them, and the newest nginx, each with its own folder, ports and log."""

import ctypes
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections import deque
from dataclasses import dataclass

import valgrind

HERE = pathlib.Path(__file__).parent
BUILD = HERE.parent.parent / "build"
HTTPD_MODULES = "/usr/lib/apache2/modules"
NEWEST_NGINX = re.search(r'^name = "nginx-src"\nversion = ".*\+(.*)"$',
                         (HERE.parent / "nginx/Cargo.lock").read_text(), re.MULTILINE)[1]
NEWEST = BUILD / f"nginx-{NEWEST_NGINX}"
DEADLINE = 20 * valgrind.SLOWNESS
IS_ROOT = os.geteuid() == 0

DECISION = re.compile(r"auth_negotiate: (\d+) ([a-z0-9-]+): (.*)")
# Ports that were given out lately, and may not be in use yet.
GIVEN = deque(maxlen=1000)


def free_port():
    """Below the ports that the kernel gives to clients, which come and go."""
    while True:
        port = random.randrange(15000, 32000)
        if port in GIVEN:
            continue
        GIVEN.append(port)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


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
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)
    return result


def end_with_parent():
    """Runs in a child: the kernel ends it (PR_SET_PDEATHSIG) if the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Log:
    """A log file, read from where it ended when this was made."""

    def __init__(self, path):
        self.path = path
        self.start = os.path.getsize(path) if os.path.exists(path) else 0

    def lines(self, pattern=""):
        if not os.path.exists(self.path):
            return []
        with open(self.path, errors="replace") as file:
            file.seek(self.start)
            return [line.rstrip("\n") for line in file if re.search(pattern, line)]

    def wait(self, pattern, count=1):
        until(lambda: len(self.lines(pattern)) >= count, f"{count} lines like {pattern} in {self.path}")
        return self.lines(pattern)

    def decisions(self):
        """The reason names of our own lines, in order. A line is written before its answer."""
        return [name for _, name in self._decisions()]

    def refusals(self):
        """The reason names of what was refused or went wrong."""
        return [name for number, name in self._decisions() if number >= 200]

    def _decisions(self):
        found = (DECISION.search(line) for line in self.lines())
        return [(int(match[1]), match[2]) for match in found if match]


@dataclass(frozen=True)
class Site:
    """One server over one scheme."""

    server: "Server"
    scheme: str
    host: str = "127.0.0.1"

    @property
    def tls(self):
        return self.scheme == "https"

    @property
    def port(self):
        return self.server.ports[self.scheme]

    def url(self, path="/"):
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    def tls_context(self, protocols):
        context = ssl.create_default_context(cafile=self.server.ca)
        context.set_alpn_protocols(protocols)
        return context

    def log(self):
        return Log(self.server.error_log)

    def access_log(self):
        return Log(self.server.directory / "access.log")


class Server:
    """A server, its folder, and the journal of the application behind it."""

    name = binary = None
    modules = BUILD
    templates = "conf"
    schemes = ("http", "https")

    def __init__(self, directory, journal, values):
        self.directory = directory
        self.journal = journal
        self.ca = self.directory / "ca.pem"
        self.error_log = self.directory / "error.log"
        self.configuration = self.directory / f"{self.name}.conf"
        self.values = values
        self.process = None
        self.ports = {}

    def command(self, configuration):
        raise NotImplementedError

    def environment(self, for_test=False):
        return None

    def start(self, wrapper=()):
        if valgrind.UNDER_VALGRIND:
            wrapper = wrapper or valgrind.command(self.directory)
        self.ports = {scheme: free_port() for scheme in self.schemes}
        text = (HERE / self.templates / self.configuration.name).read_text()
        self.configuration.write_text(self.fill_in(text))
        self.output = open(self.directory / "output", "w+")
        self.process = subprocess.Popen([*wrapper, *self.command(self.configuration)], preexec_fn=end_with_parent,
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
                                        start_new_session=True, env=self.environment())
        until(self.answers, f"{self.name} to listen")
        return self

    def fill_in(self, text):
        values = {"BUILD": self.modules, "DIR": self.directory, "MODULES": HTTPD_MODULES, "USER": self.user_line(),
                  "HTTP": self.ports.get("http"), "HTTPS": self.ports.get("https"), **self.values}
        return re.sub(r"@([A-Z]+)@", lambda match: str(values[match[1]]), text)

    def answers(self):
        assert self.process.poll() is None, self.said()
        return all(is_open(port) for port in self.ports.values())

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def workers(self):
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(path.read_text().split())

    def reload(self, wait_for_old=True):
        """Reads the configuration anew. Returns when new workers run and the old ones have ended."""
        # nginx forgets a signal that comes after its ports are open and before it has started its workers.
        until(self.workers, "the first workers")
        before = self.workers()
        log = Log(self.error_log)
        self.process.send_signal(self.reload_signal)
        log.wait(self.reload_message)
        until(lambda: self.workers() - before, "new workers")
        if wait_for_old:
            until(lambda: not self.workers() & before, "the old workers to end")

    def stop(self):
        """A quick stop that leaves no process of the server's own session."""
        if self.process is None:
            return
        try:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(DEADLINE)
            until(lambda: not is_group(self.process.pid), f"{self.name}'s processes to end")
        finally:
            if is_group(self.process.pid):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.output.close()
        reported = valgrind.reports(self.directory)
        assert not reported, reported

    def test(self, text, directory=None):
        """What -t says of this configuration, and its exit status."""
        path = (directory or self.directory) / f"tested-{self.name}.conf"
        path.write_text(text)
        done = subprocess.run([*self.command(path), "-t"], capture_output=True, text=True, timeout=60,
                              env=self.environment(for_test=True))
        return done.returncode, done.stdout + done.stderr


class DebianNginx(Server):
    name, binary = "nginx", "/usr/sbin/nginx"
    reload_signal, reload_message = signal.SIGHUP, "start worker process"

    def command(self, configuration):
        return [self.binary, "-e", str(self.error_log), "-p", str(self.directory), "-c", str(configuration)]

    def user_line(self):
        return "user www-data;" if IS_ROOT else ""


class NewestNginx(DebianNginx):
    """Built by tests/nginx/build, as distributions do."""

    modules = NEWEST / "full"
    binary = modules / "nginx"


class AsanNginx(NewestNginx):
    """With AddressSanitizer and LeakSanitizer: each report of any of its processes is an error."""

    modules = NEWEST / "asan"
    binary = modules / "nginx"

    @property
    def reports(self):
        return self.directory / "reports"

    def environment(self, for_test=False):
        options = {
            "log_path": self.reports / "asan",
            "detect_odr_violation": 0,  # each dynamic module of nginx has an ngx_modules of its own
            "detect_leaks": int(not for_test),  # nginx -t ends without freeing the configuration
            "detect_stack_use_after_return": 1,
        }
        return {**os.environ, "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in options.items()),
                "LSAN_OPTIONS": f"print_suppressions=0:suppressions={HERE}/lsan.supp"}

    def start(self, wrapper=()):
        self.reports.mkdir()
        if IS_ROOT:
            shutil.chown(self.reports, "www-data")
        return super().start(wrapper)

    def stop(self):
        super().stop()
        reported = self.reported()
        assert not reported, reported

    def reported(self):
        """Each process has a file of its own. What cannot be written there is said aloud."""
        texts = [path.read_text(errors="replace") for path in sorted(self.reports.iterdir())]
        aloud = (self.directory / "output").read_text(errors="replace")
        return "\n".join([*texts, aloud] if "Sanitizer" in aloud else texts)


# Which nginx the tests use where they do not say: NEGOTIATE_NGINX=asan runs them all on that one.
Nginx = {"debian": DebianNginx, "newest": NewestNginx, "asan": AsanNginx}[os.environ.get("NEGOTIATE_NGINX", "debian")]


class Httpd(Server):
    name, binary = "httpd", "/usr/sbin/apache2"
    reload_signal, reload_message = signal.SIGUSR1, "resuming normal operations"
    says_when_ready = True
    mpm = "event"

    def start(self, wrapper=()):
        """Listening comes before handling signals: one in between would end it."""
        log = Log(self.error_log)
        super().start(wrapper)
        if self.says_when_ready:
            log.wait(self.reload_message)
        return self

    def command(self, configuration):
        return [self.binary, "-d", str(self.directory), "-DFOREGROUND", "-f", str(configuration)]

    def fill_in(self, text):
        return super().fill_in(text.replace("@MPM@", self.mpm))

    def user_line(self):
        return "User www-data\nGroup www-data" if IS_ROOT else ""


def site_files(directory):
    """What is served, and the program that httpd runs."""
    files = {
        "index/who": "a static file that the index redirect finds\n",
        "fallback/README": "nothing else is here\n",
        "missing/README": "nothing else is here\n",
        "htaccess/rule/file": "for who signed in\n",
        "htaccess/rule/.htaccess": "NegotiatePersist off\n",
        "htaccess/scope/file": "for nobody\n",
        "htaccess/scope/.htaccess": "NegotiateDomain MINE\n",
    }
    for name, text in files.items():
        path = directory / "htdocs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(HERE / "application.cgi", directory)
    (directory / "htdocs/looked").mkdir()
    shutil.copy(HERE / "application.cgi", directory / "htdocs/looked/program")
