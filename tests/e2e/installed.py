"""What `make install` leaves, and the server of examples/, built from that alone."""

import os
import pathlib
import shutil
import signal
import subprocess

from servers import BUILD, HERE, Log, end_with_parent, until

SOURCE = HERE.parent.parent
WARNINGS = ["-std=c11", "-O2", "-g", "-pthread", "-Wall", "-Wextra", "-pedantic", "-Werror"]


def run(command, **how):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **how)
    assert done.returncode == 0, (command, done.stdout + done.stderr)
    return done.stdout


def make(*arguments, **environment):
    """Make as a person calls it, whatever make has called the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", "-C", SOURCE, "--no-print-directory", *arguments], capture_output=True, text=True,
                          timeout=300, env={**inherited, **environment})


class Installation:
    """A tree that was installed below DESTDIR."""

    def __init__(self, root, *targets, **variables):
        self.root = root
        self.arguments = [f"DESTDIR={root}", *(f"{name}={value}" for name, value in variables.items())]
        self.prefix = variables.get("PREFIX", "/usr/local")
        self.libdir = variables.get("libdir", f"{self.prefix}/lib")
        self.install(*(targets or ["install"]))

    def install(self, *targets):
        done = make(*targets, *self.arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def path(self, *parts):
        return pathlib.Path(str(self.root) + "/".join(parts))

    def list(self):
        """Every file, with its mode or where it links to."""
        return {str(path)[len(str(self.root)):]: path.readlink() if path.is_symlink() else oct(path.stat().st_mode)[-4:]
                for path in map(pathlib.Path, sorted(files(self.root)))}

    def pkg_config(self, *arguments):
        environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(self.root),
                       "PKG_CONFIG_LIBDIR": str(self.path(self.libdir, "/pkgconfig"))}
        return run(["pkg-config", *arguments, "negotiate-auth"], env=environment).split()


def files(root):
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]


def http_library():
    return run(["pkg-config", "--cflags", "--libs", "libmicrohttpd"]).split()


class Example:
    """The server of examples/, with the folder that it runs in."""

    ca = "/dev/null"

    def __init__(self, directory):
        self.directory = directory
        self.error_log = directory / "error.log"
        self.program = directory / "server"
        self.process = None

    def build(self, installation, archive=False, changes=()):
        """Against what is installed, with its shared library or its archive."""
        flags = installation.pkg_config("--cflags")
        if archive:
            libs = installation.pkg_config("--static", "--libs")
            linked = ["-Wl,-Bstatic" if flag == "-lnegotiate_auth" else flag for flag in libs]
            where = linked.index("-Wl,-Bstatic") + 1
            libs = [*linked[:where], "-lnegotiate_auth", "-Wl,-Bdynamic", *linked[where:]]
        else:
            libs = [*installation.pkg_config("--libs"), f"-Wl,-rpath,{installation.path(installation.libdir)}"]
        return self.compile(self.source(installation, changes), flags, libs)

    def build_slow(self, installation):
        """With accounts that take their time, which are never installed."""
        libs = installation.pkg_config("--static", "--libs-only-l")[1:]
        return self.compile(self.source(installation), installation.pkg_config("--cflags"),
                            [BUILD / "slow/libnegotiate_auth.a", *libs])

    def source(self, installation, changes=()):
        """The installed source; changes are pairs of what stands there and what is to."""
        path = self.directory / "server.c"
        shutil.copy(installation.path(installation.prefix, "/share/doc/negotiate-auth/examples/server.c"), path)
        text = path.read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text)
        return path

    def compile(self, source, flags, libs):
        run(["cc", *WARNINGS, *flags, "-o", self.program, source, *libs, *http_library()])
        return self

    def start(self, *options, wrapper=()):
        log = Log(self.error_log)
        with open(self.error_log, "a") as errors:
            self.process = subprocess.Popen([*wrapper, self.program, "0", *options], cwd=self.directory,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                            preexec_fn=end_with_parent)
        until(lambda: log.lines("listening on") or self.process.poll() is not None, "the example to listen")
        (line,) = log.lines("listening on")
        self.ports = {"http": int(line.rstrip("/").rpartition(":")[2])}
        return self

    def stop(self, number=signal.SIGTERM):
        """Returns the exit status."""
        try:
            self.process.send_signal(number)
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
