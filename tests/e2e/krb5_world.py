"""What Kerberos needs before the servers start: two realms with users and services, and keytabs for all places."""

import os
import pathlib
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from krb5_client import AES128, AES256, RC4, Forger, Key, User, keys_of, keytab
from ntlm_client import Account
from servers import HERE, IS_ROOT
from world import line

sys.path.append(str(HERE.parent.parent / "demo"))
from kdc import Kdc  # noqa: E402

REALM, OTHER_REALM = "DEMO.TEST", "OTHER.TEST"
# That of the address under which the tests know the servers.
SERVICE = "HTTP/127.0.0.1"
SERVICES = [SERVICE, "HTTP/localhost", "HTTP/second.demo.test", "host/127.0.0.1", "HTTP/elsewhere.demo.test",
            "HTTP/rotated.demo.test"]
HERE_SERVICES = SERVICES[:4]
ROTATED = "HTTP/rotated.demo.test"
RC4_SERVICE = "HTTP/rc4.demo.test"
PASSWORD = "wonderland"

# Users who have a name here and there, and one whom NTLM knows by another name.
DEMO_ALICE = Account("DEMO", "alice", "Wonderland-1")
DEMO_ZOE = Account("DEMO", "Zoë", "Wonderland-1")
OTHER_BOB = Account("OTHER", "bob", "Wonderland-1")
STRANGER = Account("STRANGE", "alice", "Wonderland-1")
NAMED = [DEMO_ALICE, DEMO_ZOE, OTHER_BOB, STRANGER]

# What the servers' libkrb5 reads before the configuration of the realm. That it is to remember no tickets is not for
# the modules: replays are refused all the same.
KRB5_CONF = """[libdefaults]
    default_rcache_name = none:
    allow_rc4 = true

[realms]
    DEMO.TEST = {
        auth_to_local_names = {
            renamed = local-name
        }
        auth_to_local = RULE:[1:$1@$0](^capital@DEMO\\.TEST$)s/.*/Capital/
        auth_to_local = RULE:[2:$1;$2](^.*;admin$)s/;admin$/-admin/
        auth_to_local = DEFAULT
    }
"""


# Keytabs that are broken while the servers run.
BREAKABLE = ["removed", "empty", "garbage", "cut", "foreign", "open", "private"]


def install(path, data, mode=0o640, group="www-data"):
    """Replaces the file at once."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    new.chmod(mode)
    if IS_ROOT:
        shutil.chown(new, "root", group)
    os.replace(new, path)
    return path


@dataclass
class Realms:
    """The KDCs, and what they gave."""

    directory: pathlib.Path
    kdc: Kdc
    other: Kdc
    keys: dict = field(default_factory=dict)

    def __post_init__(self):
        for name in ("alice", "bob"):
            self.kdc.add_user(name, PASSWORD)
        for service in SERVICES:
            self.kdc.add_service(service)
        self.kdc.add_service(RC4_SERVICE, "-e", "arcfour-hmac:normal")
        self.other.add_user("alice", PASSWORD)
        self.other.add_service(SERVICE)
        # A ticket from before the key was rotated.
        self.outdated = self.user("alice", "outdated")
        self.outdated.token(ROTATED)
        self.keys = self.export(self.kdc, *SERVICES, RC4_SERVICE)
        self.old_keys = self.keys[ROTATED]
        self.kdc.rotate(ROTATED)
        self.keys |= self.export(self.kdc, ROTATED)
        self.other_keys = self.export(self.other, SERVICE)

    def export(self, kdc, *services):
        """The keys of these services: a dictionary by service, without the realm."""
        path = self.directory / "exported.keytab"
        path.unlink(missing_ok=True)
        kdc.keytab(path, *services)
        return {principal.split("@")[0]: keys for principal, keys in keys_of(path).items()}

    def user(self, name, cache=None, kdc=None, options=()):
        """Somebody with a ticket of the KDC, in a new cache."""
        kdc = kdc or self.kdc
        path = self.directory / f"cache-of-{cache or name}-{kdc.realm}"
        path.unlink(missing_ok=True)
        kdc.kinit(path, name, PASSWORD, *options)
        return User(kdc.krb5_conf, path, kdc.realm)

    def forger(self, service=SERVICE, enctype=AES256):
        key = next(key for key in self.keys[service] if key.enctype == enctype)
        return Forger(f"{service}@{REALM}", key)

    def entries(self, *services):
        return [(f"{service}@{REALM}", key) for service in services for key in self.keys[service]]

    def keytabs(self):
        """The keytabs of conf/kerberos by name."""
        ours = self.entries(SERVICE)
        number = max(key.kvno for key in self.keys[ROTATED])
        return {
            "http": self.entries(*HERE_SERVICES),
            "reread": ours,
            **dict.fromkeys(BREAKABLE, ours),
            "root": ours,
            "kept": self.entries(ROTATED),
            "rotated": [entry for entry in self.entries(ROTATED) if entry[1].kvno == number],
            "outdated": [(f"{ROTATED}@{REALM}", key) for key in self.old_keys],
            "wrong": [(name, Key.random(key.enctype, key.kvno)) for name, key in ours if key.enctype == AES256],
            "partial": [(name, key) for name, key in ours if key.enctype == AES128],
            "many": [(f"HTTP/host-{number}.demo.test@{REALM}", Key.random()) for number in range(60)]
            + [(name, key) for name, key in ours if key.enctype == AES256],
            "other": [(f"{SERVICE}@{OTHER_REALM}", key) for key in self.other_keys[SERVICE]],
            "rc4": [(name, key) for name, key in self.entries(RC4_SERVICE, SERVICE) if key.enctype in (AES256, RC4)],
        }


@contextmanager
def running_realms():
    """Realms in a folder whose krb5.conf everybody may read."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        kdc = stack.enter_context(Kdc(directory / "demo", REALM))
        other = stack.enter_context(Kdc(directory / "other", OTHER_REALM))
        yield Realms(directory, kdc, other)


def with_kerberos(kind, realms, **attributes):
    """The server with what conf/kerberos names."""

    class WithKerberos(kind):
        templates = "conf/kerberos"
        schemes = (*kind.schemes, "small")

        def start(self, wrapper=()):
            write_files(self.directory, realms)
            return super().start(wrapper)

        def environment(self, for_test=False):
            variables = super().environment(for_test) or os.environ
            paths = f"{self.directory}/krb5.conf:{realms.kdc.krb5_conf}"
            return {**variables, "KRB5_CONFIG": paths}

        def fill_in(self, text):
            self.values["SMALL"] = self.ports["small"]
            return super().fill_in(text)

    return type(kind.__name__, (WithKerberos,), attributes)


def write_files(directory, realms):
    for name, entries in realms.keytabs().items():
        install(directory / f"{name}.keytab", keytab(entries))
    install(directory / "root.keytab", keytab(realms.keytabs()["root"]), 0o600, "root")
    install(directory / "accounts-names", "".join(map(line, NAMED)).encode())
    (directory / "krb5.conf").write_text(KRB5_CONF)
    (directory / "replays").mkdir()
    if IS_ROOT:
        shutil.chown(directory / "replays", "www-data")
    (directory / "no-replays").mkdir(mode=0o500)
    files = {
        "static/file": "a file\n",
        **{f"static/{name}/file": "a file\n" for name in ("reread", *BREAKABLE)},
        "forbidden/file": "a file in a folder that is not listed\n",
        "rewritten/README": "nothing else is here\n",
        "included/page": '<!--#include virtual="/application/included" -->\n',
        "error/README": "nothing is here\n",
        "htaccess/keytab/file": "for nobody\n",
        "htaccess/keytab/.htaccess": f"NegotiateKeytab {directory}/http.keytab\n",
        "htaccess/names/file": "for who signed in\n",
        "htaccess/names/.htaccess": "NegotiateNameFormat short DEMO.TEST\n",
    }
    for name, content in files.items():
        path = directory / "htdocs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def processes(lines):
    """The processes that wrote these lines of an error log."""
    return {re.search(r"\[pid (\d+)|\] (\d+)#", line).group(0) for line in lines}
