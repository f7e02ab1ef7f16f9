"""The Active Directory that suites sign in to: made once, and started for each suite as it was then.

A suite that needs other options of Samba than the packages' defaults calls running_domain itself. Servers run on the
member, and what talks to them uses its network:

    with domain.member.network():
        make_server(kind, directory, certificates, wrapper=domain.member.prefix)
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

from ntlm_client import Account
from servers import BUILD, HERE

AD = HERE.parent / "ad"
sys.path.append(str(AD))
from accounts import DOMAIN, PASSWORD, UMLAUT  # noqa: E402
from domain import Domain  # noqa: E402

AD_ALICE = Account(DOMAIN, "alice", PASSWORD)
AD_BOB = Account(DOMAIN, "bob", PASSWORD)
AD_GROUPIE = Account(DOMAIN, "groupie", PASSWORD)
AD_UMLAUT = Account(DOMAIN, UMLAUT, PASSWORD)


def snapshot():
    """The file, which stays in build/ as long as nothing changes that it came from."""
    file = BUILD / f"domain-{fingerprint()}.tar.gz"
    # What was made in the future has passwords that are not good yet.
    if not file.exists() or file.stat().st_mtime > time.time():
        for old in BUILD.glob("domain-*.tar.gz"):
            old.unlink(missing_ok=True)
        with folder() as directory, Domain(directory / "new") as domain:
            domain.snapshot(file)
    return file


def fingerprint():
    packages = subprocess.run(["dpkg-query", "--show", "samba*", "winbind", "libwbclient0", "python3-samba"],
                              capture_output=True, check=True).stdout
    sources = [path.read_bytes() for path in sorted(AD.iterdir()) if path.is_file()]
    return hashlib.sha256(b"\0".join([packages, *sources])).hexdigest()[:16]


@contextmanager
def folder():
    """Outside the source tree, since servers' workers, which are not root, must reach what is in it."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def running_domain(file, **options):
    with folder() as directory, Domain.from_snapshot(file, directory / "domain", **options) as domain:
        yield domain
