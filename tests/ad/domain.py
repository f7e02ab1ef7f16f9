"""An Active Directory on this machine: a domain controller and a member of its domain, as hosts of their own.

    with Domain(folder) as domain:
        domain.member.sign_in("alice")["status"]
        domain.freeze_controller()

The folder is new or has what an earlier Domain left; Domain.from_snapshot fills it from a file. The two hosts (host.py)
are joined by one cable; the machine's own network has no part in it, so that any number of domains run at once, each
with the same addresses. Accounts and passwords: accounts.py.

winbindd's two pipes are where Debian has them, in the member's own files: all may use /run/samba/winbindd/pipe; the
privileged one is /var/lib/samba/winbindd_privileged/pipe, in a folder of root and the group winbindd_priv with mode
0750. Whoever checks a response to a challenge (wbcCtxAuthenticateUserEx, ntlm_auth) needs the latter. The member has an
/etc/group of its own: Member.allow and Member.deny say who is in that group, for every process that takes its groups
from then on (a worker of a server that starts, popen(user=…)).

A fault stays until the method beside it takes it away; heal takes away all. Each returns when it is in force.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

from accounts import (ADMIN_PASSWORD, DC_NAME, DNS_DOMAIN, DOMAIN, KEYTABS, MACHINE_PASSWORD, MEMBER_NAME, PASSWORD,
                      PROBE, REALM, WWW)
from host import DEADLINE, HERE, Host, HostError, await_end, end, signal_to
from remote import Remote

# On a network of the two hosts alone.
DC_ADDRESS, MEMBER_ADDRESS = "10.99.0.10", "10.99.0.20"
# LDAP, KDC, SMB, DNS, RPC: what a member asks.
DC_PORTS = (389, 88, 445, 53, 135)
# Debian's Python has Samba's modules.
DEBIAN_PYTHON = "/usr/bin/python3"
GROUP = "winbindd_priv"
# What is lost in a crash of the machine was for tests.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("KRB5")} | {"TDB_NO_FSYNC": "1"}
SUCCESS = "WBC_ERR_SUCCESS"
MACHINE_ACCOUNT, DELETED_ACCOUNT = f"{MEMBER_NAME.upper()}$", "DELETED$"
# Kerberos takes clocks that differ by 5 minutes.
CLOCK_OFF = 600

# Browsers run on the server's own host, and ask for tickets by the first name of a line.
HOSTS = f"""127.0.0.1 localhost
127.0.0.1 {WWW}
{DC_ADDRESS} {DC_NAME}.{DNS_DOMAIN} {DC_NAME}
{MEMBER_ADDRESS} {MEMBER_NAME}.{DNS_DOMAIN} {MEMBER_NAME}
"""

RESOLV_CONF = f"""search {DNS_DOMAIN}
nameserver {DC_ADDRESS}
options timeout:1 attempts:2
"""

# Caches of tickets and replays are the host's, too.
KRB5_CONF = f"""[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    forwardable = true
    default_keytab_name = FILE:/etc/samba/krb5.keytab
    default_ccache_name = FILE:/run/tickets/cache-%{{uid}}
    default_rcache_name = file2:/run/tickets/replays-%{{uid}}

[realms]
    {REALM} = {{
        kdc = {DC_ADDRESS}
        kpasswd_server = {DC_ADDRESS}
        admin_server = {DC_ADDRESS}
    }}

[domain_realm]
    .{DNS_DOMAIN} = {REALM}
    {DNS_DOMAIN} = {REALM}
"""

ANY_SMB_CONF = {
    "workgroup": DOMAIN,
    "realm": REALM,
    "interfaces": "lo eth0",
    "bind interfaces only": "yes",
    "load printers": "no",
    "printcap name": "/dev/null",
    "disable spoolss": "yes",
    "log level": "1",
    "max log size": "0",
}

DC_SMB_CONF = {
    **ANY_SMB_CONF,
    "netbios name": DC_NAME.upper(),
    "server role": "active directory domain controller",
    "server services": "s3fs, rpc, ldap, cldap, kdc, winbindd, dns",
    "tls enabled": "no",
}

DC_SHARES = """
[sysvol]
    path = /var/lib/samba/sysvol

[netlogon]
    path = /var/lib/samba/sysvol/scripts
"""

# What a snapshot has must still be good later: winbindd leaves its password as it is.
MEMBER_SMB_CONF = {
    **ANY_SMB_CONF,
    "netbios name": MEMBER_NAME.upper(),
    "server role": "member server",
    "security": "ads",
    "kerberos method": "dedicated keytab",
    "dedicated keytab file": "/etc/samba/krb5.keytab",
    "machine password timeout": "0",
    "idmap config * : backend": "tdb",
    "idmap config * : range": "100000-199999",
}


class DomainHost(Host):
    """A host with the configuration of a domain. smb_conf has all of [global]; later changes count from the next start
    of the daemons on."""

    shares = ""

    def __init__(self, folder, name, smb_conf):
        super().__init__(folder, name)
        self.smb_conf = smb_conf
        self.log = self.folder / "var/log/samba"

    def clean(self):
        super().clean()
        (self.folder / "run/tickets").mkdir()
        (self.folder / "run/tickets").chmod(0o1777)
        # Samba makes only what is missing below it.
        (self.folder / "var/lib/samba/private").mkdir(mode=0o700, exist_ok=True)
        for name, text in (("hosts", HOSTS), ("resolv.conf", RESOLV_CONF), ("krb5.conf", KRB5_CONF)):
            (self.folder / "etc" / name).write_text(text)
        self.write_smb_conf()

    def write_smb_conf(self):
        options = "".join(f"    {name} = {value}\n" for name, value in self.smb_conf.items())
        (self.folder / "etc/samba/smb.conf").write_text(f"[global]\n{options}{self.shares}")

    @property
    def is_running(self):
        return bool(self.daemons())

    def stop(self):
        """Returns when all daemons have ended. Helpers that outlive the first one for long are killed."""
        for one in self.daemons():
            if one.parent == self.pid:
                signal_to(one.pid, signal.SIGTERM)
        # A frozen one hears it afterwards.
        self.thaw()
        if not await_end(self.daemons(), 2):
            end(self.daemons())

    def kill(self):
        """kill -9 to all daemons."""
        end(self.daemons())


class Controller(DomainHost):
    shares = DC_SHARES

    def __init__(self, folder, options, process_model):
        super().__init__(folder, DC_NAME, {**DC_SMB_CONF, **options})
        self.process_model = process_model
        self.opened = None

    @property
    def directory(self):
        """The program that reads and writes the directory, beside the daemons or without them."""
        if self.opened is None:
            self.opened = Remote(self.popen([DEBIAN_PYTHON, HERE / "directory.py"], env=ENVIRONMENT,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return self.opened

    def make(self):
        return self.directory.call("make", address=DC_ADDRESS)

    def start(self):
        """Returns when all that members ask answers."""
        self.write_smb_conf()
        self.daemon(["samba", "-D", "-M", self.process_model], ENVIRONMENT)
        with self.network():
            for port in DC_PORTS:
                until(lambda: is_open(DC_ADDRESS, port), f"port {port} of the domain controller")
        # Before its own winbindd runs, the controller's file server answers with errors.
        until(lambda: self.run(["wbinfo", "-p"], check=False).returncode == 0, "winbindd of the domain controller")

    def down(self):
        if self.opened is not None:
            self.opened.close()
            self.opened = None
        super().down()


class Member(DomainHost):
    """winbindd's host, and the servers' and their clients'."""

    def __init__(self, folder, options):
        super().__init__(folder, MEMBER_NAME, {**MEMBER_SMB_CONF, **options})
        self.address = MEMBER_ADDRESS
        self.keytab = self.folder / "etc/samba/krb5.keytab"
        self.krb5_conf = self.folder / "etc/krb5.conf"
        self.group = self.folder / "etc/group"
        self.clock = 0
        self.clients = {}

    def clean(self):
        super().clean()
        self.group.write_text(pathlib.Path("/etc/group").read_text())
        privileged = self.folder / "var/lib/samba/winbindd_privileged"
        privileged.mkdir(exist_ok=True)
        privileged.chmod(0o750)
        shutil.chown(privileged, "root", GROUP)

    def join(self):
        """An account, and a keytab for HTTP/ under the member's own name."""
        self.write_smb_conf()
        self.run(["net", "ads", "join", "-U", f"Administrator%{ADMIN_PASSWORD}", "--no-dns-updates",
                  f"machinepass={MACHINE_PASSWORD}"], env=ENVIRONMENT)
        self.run(["net", "ads", "keytab", "add", "HTTP", "-P"], env=ENVIRONMENT)

    def keep_password(self, password):
        """What the member believes its password to be; winbindd looks when it opens a channel."""
        self.run(["net", "changesecretpw", "-f"], input=f"{password}\n", env=ENVIRONMENT)

    # Who may use the privileged pipe

    def allow(self, user):
        self._set_group(self._members_of_group() | {user})

    def deny(self, user):
        self._set_group(self._members_of_group() - {user})

    def _members_of_group(self):
        line = next(line for line in self.group.read_text().splitlines() if line.startswith(f"{GROUP}:"))
        return set(filter(None, line.split(":")[3].split(",")))

    def _set_group(self, users):
        """In place: the file that covers /etc/group is this very one. Clients that run have the groups of before."""
        self.close_clients()
        lines = self.group.read_text().splitlines()
        lines = [":".join([*line.split(":")[:3], ",".join(sorted(users))]) if line.startswith(f"{GROUP}:") else line
                 for line in lines]
        self.group.write_text("\n".join(lines) + "\n")

    # winbindd

    def start_winbindd(self, clock=0):
        """Returns when it listens. clock: by how many seconds its time of day is ahead of all others'."""
        self.write_smb_conf()
        self.clock = clock
        self.daemon(["winbindd", "-D"], {**ENVIRONMENT, **(faked_clock(clock) if clock else {})})
        until(lambda: self.run(["wbinfo", "-p"], check=False).returncode == 0, "winbindd")

    def restart_winbindd(self, clock=0):
        self.stop()
        self.start_winbindd(clock)

    stop_winbindd, kill_winbindd = DomainHost.stop, DomainHost.kill
    freeze_winbindd, thaw_winbindd = Host.freeze, Host.thaw

    # Signing in

    def client(self, user=None):
        """A new program for sign-ins that runs as this user (wbclient.py)."""
        command = [sys.executable, HERE / "wbclient.py", *filter(None, [user])]
        return Remote(self.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    def sign_in(self, account, password=PASSWORD, domain=DOMAIN, user=None, timeout=90, **more):
        """What winbindd says of one response to one challenge, which a program of this user has: a dictionary.

        result: the wbcErr, as WBC_ERR_SUCCESS; status: the name of the NTSTATUS or None; code, authoritative; seconds;
        account, domain, sids, user_session_key, and the session_key that the client has.
        more: workstation, computer, av_domain (see wbclient.py). Any number of threads can sign in at once.
        """
        return self._call("authenticate", timeout, user, domain=domain, user=account, password=password, **more)

    def wait_until_signing_in(self, timeout=DEADLINE):
        """Returns how many seconds it took until somebody could sign in. One attempt follows the other."""
        try:
            found = self._call("wait", timeout + 1, None, domain=DOMAIN, user=PROBE, password=PASSWORD, seconds=timeout)
        except TimeoutError:
            raise HostError(f"nobody could sign in within {timeout} s: winbindd does not answer") from None
        if found["result"] != SUCCESS:
            raise HostError(f"nobody could sign in within {timeout} s: {found['result']} {found['status']}")
        return found["elapsed"]

    def _call(self, function, timeout, runs_as, **arguments):
        """Clients are kept for the next call, but one that still waits for winbindd."""
        kept = self.clients.setdefault(runs_as, [])
        client = kept.pop() if kept else self.client(runs_as)
        try:
            found = client.call(function, timeout, **arguments)
        except BaseException:
            client.close()
            raise
        kept.append(client)
        return found

    def close_clients(self):
        while self.clients:
            for client in self.clients.popitem()[1]:
                client.close()

    def kinit(self, account, password=PASSWORD, cache=None, user=None):
        """A ticket for the account, in the cache (a path) or in the user's own."""
        self.run(["kinit", *(["-c", str(cache)] if cache else []), f"{account}@{REALM}"], input=password + "\n",
                 user=user, env=ENVIRONMENT)

    def down(self):
        self.close_clients()
        super().down()


class Domain:
    """winbind, controller: options of smb.conf for the member and for the controller, beside the packages' defaults.

    process_model: samba's -M; single starts fastest.
    """

    def __init__(self, folder, winbind=None, controller=None, process_model="single"):
        self.folder = pathlib.Path(folder)
        self.dc = Controller(self.folder / "dc", controller or {}, process_model)
        self.member = Member(self.folder / "member", winbind or {})
        self.keytabs = self.folder / "keytabs"

    @classmethod
    def from_snapshot(cls, file, folder, **options):
        """A domain as it was when the snapshot was made; a with statement starts it."""
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "--extract", f"--file={file}", f"--directory={folder}", "--preserve-permissions",
                        "--numeric-owner"], check=True)
        return cls(folder, **options)

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
        """Makes what is missing, and returns when users can sign in."""
        new = not self.keytabs.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.dc.up()
        self.member.up()
        self.plug_in()
        self.member.clients[None] = [self.member.client()]
        if new:
            self.dc.make()
        self.dc.start()
        if new:
            self.member.join()
            self.export_keytabs()
        self.member.start_winbindd()
        self.member.wait_until_signing_in()

    def down(self):
        """The files stay in the folder. The domain can come up again."""
        try:
            self.member.down()
        finally:
            self.dc.down()

    def snapshot(self, file):
        """Stops all daemons, since files must not change meanwhile, and writes all but logs and caches."""
        self.member.stop()
        self.dc.stop()
        new = pathlib.Path(f"{file}.{os.getpid()}")
        subprocess.run(["tar", "--create", f"--file={new}", f"--directory={self.folder}", "--sparse", "--gzip",
                        "--warning=no-file-ignored", "--numeric-owner", "--exclude=*/run/*", "--exclude=*/cache/*",
                        "--exclude=*/log/*", "dc", "member", "keytabs"], check=True)
        new.replace(file)

    def plug_in(self):
        commands = [f"link add eth0 netns {self.dc.pid} type veth peer name eth0 netns {self.member.pid}"]
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), check=True, text=True)
        for host, address in ((self.dc, DC_ADDRESS), (self.member, MEMBER_ADDRESS)):
            # No address of IPv6, which the directory would announce.
            commands = ["link set eth0 addrgenmode none", f"addr add {address}/24 dev eth0", "link set eth0 up"]
            host.run(["ip", "-batch", "-"], input="\n".join(commands))

    def export_keytabs(self):
        self.keytabs.mkdir()
        for name, principals in KEYTABS.items():
            self.keytab(self.keytabs / name, *principals)

    # The directory

    def keytab(self, path, *principals):
        """The keys of these principals, of the controller's own."""
        self.dc.directory.call("keytab", path=str(path), principals=principals)
        return path

    def read(self, account, *attributes):
        """A list of values for each attribute (see directory.py)."""
        return self.dc.directory.call("read", account=account, attributes=attributes)

    def number(self, account, attribute):
        """The value of an attribute that is 0 where it is missing."""
        return int((self.read(account, attribute)[attribute] or ["0"])[0])

    def write(self, account, **attributes):
        self.dc.directory.call("write", account=account, attributes=attributes)

    def bad_pwd_count(self, account):
        return self.number(account, "badPwdCount")

    def is_locked(self, account):
        return self.number(account, "lockoutTime") != 0

    def unlock(self, account):
        self.dc.directory.call("unlock", account=account)

    def set_password(self, account, password):
        self.dc.directory.call("set_password", account=account, password=password)

    def add_user(self, account, password=PASSWORD, **attributes):
        self.dc.directory.call("add_user", account=account, password=password, attributes=attributes)

    def set_member(self, group, account, member):
        """Puts an account into a group, or takes it out."""
        self.dc.directory.call("set_member", group=group, account=account, member=member)

    def sid(self, account):
        """Of a user or a group."""
        return self.read(account, "objectSid")["objectSid"][0]

    def sids(self, pattern):
        """Of all whose names fit a pattern with asterisks, by name."""
        return self.dc.directory.call("sids", pattern=pattern)

    # Faults

    @property
    def faults(self):
        """By name, what brings it about and what takes it away. Only a restart makes winbindd look at its account and
        its clock, so these three restart it."""
        return {
            "winbindd stopped": (self.member.stop_winbindd, self.member.start_winbindd),
            "winbindd killed": (self.member.kill_winbindd, self.member.start_winbindd),
            "winbindd frozen": (self.member.freeze_winbindd, self.member.thaw_winbindd),
            "controller stopped": (self.dc.stop, self.dc.start),
            "controller frozen": (self.dc.freeze, self.dc.thaw),
            "link cut": (self.cut_link, self.restore_link),
            "account deleted": (self.delete_machine_account, self.restore_machine_account),
            "password wrong": (self.break_machine_password, self.restore_machine_password),
            "clock off": (self.set_clock_off, self.member.restart_winbindd),
        }

    @contextlib.contextmanager
    def fault(self, name):
        bring, take = self.faults[name]
        bring()
        try:
            yield
        finally:
            take()

    def heal(self, timeout=DEADLINE):
        """Takes away whatever fault there is, and returns when users can sign in, soon: with a new winbindd."""
        self.member.thaw()
        self.dc.thaw()
        if not self.has_carrier():
            self.restore_link()
        if not self.dc.is_running:
            self.dc.start()
        if not self.has_machine_account():
            self.restore_machine_account()
        self.restore_machine_password()
        self.member.kill()
        # That the controller did not answer is remembered for half a minute, in a file.
        self.member.run(["net", "cache", "flush"])
        self.member.start_winbindd()
        self.member.wait_until_signing_in(timeout)

    def cut_link(self):
        self.dc.run(["ip", "link", "set", "eth0", "down"])
        until(lambda: not self.has_carrier(), "the cable to be cut")

    def restore_link(self):
        self.dc.run(["ip", "link", "set", "eth0", "up"])
        until(self.has_carrier, "the cable to be restored")

    def has_carrier(self):
        return "LOWER_UP" in self.member.run(["ip", "link", "show", "eth0"]).stdout

    def delete_machine_account(self):
        """For all who look for it by its name: so it can come back with its SID and its keys."""
        self.write(MACHINE_ACCOUNT, sAMAccountName=DELETED_ACCOUNT)
        self.member.restart_winbindd()

    def restore_machine_account(self):
        self.write(DELETED_ACCOUNT, sAMAccountName=MACHINE_ACCOUNT)

    def has_machine_account(self):
        return bool(self.dc.directory.call("find", account=MACHINE_ACCOUNT))

    def break_machine_password(self):
        """As when a member comes back from an old backup."""
        self.member.keep_password("of-another-time")
        self.member.restart_winbindd()

    def restore_machine_password(self):
        self.member.keep_password(MACHINE_PASSWORD)

    def set_clock_off(self, seconds=CLOCK_OFF):
        self.member.restart_winbindd(seconds)


def faked_clock(seconds):
    """Variables for a program whose time of day is wrong; how long it waits is not."""
    (library,) = pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def is_open(address, port):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise HostError(f"waited {DEADLINE} s for {what}")
        time.sleep(0.01)
