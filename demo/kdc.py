"""A KDC of MIT Kerberos for one realm: private, on 127.0.0.1, gone without a trace.

    with Kdc(directory) as kdc:
        kdc.add_user("alice", "wonderland")
        kdc.add_service("HTTP/localhost")
        kdc.keytab(directory / "keytab", "HTTP/localhost")
        subprocess.run(["kinit", "alice"], env={**os.environ, **kdc.environment})

All its files lie in the directory; clients need KRB5_CONFIG alone. Nobody has to be root.
"""

import contextlib
import ctypes
import os
import pathlib
import pwd
import secrets
import shlex
import signal
import socket
import subprocess
import time

KRB5KDC, KADMIN, KDB5_UTIL = "/usr/sbin/krb5kdc", "/usr/sbin/kadmin.local", "/usr/sbin/kdb5_util"
DEADLINE = 20

# Addresses and names of hosts are taken as they are: no name service is asked anything.
KRB5_CONF = """[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_uri_lookup = false
    dns_canonicalize_hostname = false
    rdns = false
    default_ccache_name = FILE:{directory}/ccache
    default_keytab_name = FILE:{directory}/no-default.keytab
    forwardable = true

[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}

[domain_realm]
    localhost = {realm}
"""

KDC_CONF = """[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}

[realms]
    {realm} = {{
        database_name = {directory}/principal
        key_stash_file = {directory}/stash
        acl_file = {directory}/acl
        master_key_type = aes128-cts-hmac-sha1-96
        supported_enctypes = {enctypes}
        max_life = 10h
        max_renewable_life = 7d
    }}

[logging]
    kdc = FILE:{directory}/kdc.log
    default = FILE:{directory}/kdc.log
"""

ENCTYPES = ("aes256-cts-hmac-sha1-96:normal", "aes128-cts-hmac-sha1-96:normal", "aes256-cts-hmac-sha384-192:normal")


class KdcError(Exception):
    """What a program of Kerberos said when it failed."""


class Kdc:
    """owner is the user that the KDC and its tools run as, and that the files belong to: by default who starts it.

    time_offset, in seconds, is how much the KDC's clock is ahead.
    """

    def __init__(self, directory, realm="DEMO.TEST", port=None, owner=None, time_offset=0):
        self.directory = pathlib.Path(directory)
        self.realm = realm
        self.port = port
        self.owner = owner
        self.time_offset = time_offset
        self.process = None
        self.krb5_conf = self.directory / "krb5.conf"
        self.kdc_conf = self.directory / "kdc.conf"
        self.log = self.directory / "kdc.log"
        self.output = self.directory / "kdc.output"
        self.environment = {"KRB5_CONFIG": str(self.krb5_conf), "KRB5_KDC_PROFILE": str(self.kdc_conf)}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Makes what is missing of the realm and returns when the KDC answers."""
        self.directory.mkdir(exist_ok=True)
        if self.owner:
            os.chown(self.directory, pwd.getpwnam(self.owner).pw_uid, -1)
        for _ in range(3 if self.port is None else 1):
            if self._listens(self.port or free_port()):
                return self
        raise KdcError(f"krb5kdc does not start: {self._said()}")

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def add_user(self, name, password, *options):
        self.kadmin(shlex.join(["addprinc", *options, "-pw", password, name]))

    def add_service(self, principal, *options):
        self.kadmin(shlex.join(["addprinc", "-randkey", *options, principal]))

    def keytab(self, path, *principals, norandkey=True):
        """Writes the keys into this file, or adds them to it. Without norandkey they are new ones."""
        options = ["-norandkey"] if norandkey else []
        self.kadmin(shlex.join(["ktadd", "-q", "-k", str(path), *options, *principals]))
        return path

    def rotate(self, principal, keepold=True):
        """Gives the principal new keys under the next number; a keytab gets them from keytab()."""
        options = ["-keepold"] if keepold else []
        self.kadmin(shlex.join(["cpw", "-randkey", *options, principal]))

    def kadmin(self, command):
        """Runs one command of kadmin.local, quoted as in a shell."""
        return self._run([KADMIN, "-r", self.realm, *shlex.split(command)])

    def kinit(self, cache, user, password, *options):
        """A ticket for the user, in this cache (a path, or TYPE:name)."""
        return self._run(["kinit", "-c", str(cache), *options, user], given=password + "\n")

    def _listens(self, port):
        values = {"realm": self.realm, "port": port, "directory": self.directory, "enctypes": " ".join(ENCTYPES)}
        self.krb5_conf.write_text(KRB5_CONF.format(**values))
        self.kdc_conf.write_text(KDC_CONF.format(**values))
        if not (self.directory / "principal").exists():
            self._run([KDB5_UTIL, "create", "-s", "-r", self.realm, "-P", secrets.token_hex()])
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen([KRB5KDC, "-n", "-r", self.realm, "-T", str(self.time_offset)],
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True, preexec_fn=end_with_parent(), **self._as_owner())
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    self.port = port
                    return True
            time.sleep(0.01)
        self.stop()
        return False

    def _as_owner(self):
        environment = {**os.environ, **self.environment}
        return {"env": environment} | ({"user": self.owner, "group": pwd.getpwnam(self.owner).pw_gid,
                                        "extra_groups": []} if self.owner else {})

    def _run(self, command, given=""):
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=DEADLINE,
                              **self._as_owner())
        # Some commands of kadmin.local fail with words alone.
        if done.returncode or done.stderr and command[0] == KADMIN:
            raise KdcError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def _said(self):
        texts = [path.read_text(errors="replace").strip() for path in (self.output, self.log) if path.exists()]
        return next((text.splitlines()[-1] for text in texts if text), "it says nothing")


def free_port():
    """A port that is free for UDP and for TCP."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return tcp.getsockname()[1]


def end_with_parent():
    """What the child runs: if this process dies, the kernel ends the KDC."""
    parent = os.getpid()

    def prepare():
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
