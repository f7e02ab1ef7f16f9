#!/usr/bin/python3
"""What it takes to sign in with a ticket: keytabs, and a cache with a ticket that is good for hours.

    realm.py FOLDER

The KDC that gives the ticket is there for this moment only.
"""

import os
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "demo"))
from kdc import Kdc  # noqa: E402

SERVICE = "HTTP/www.demo.test"
# The keys of other hosts come first.
OTHERS = [f"HTTP/host-{number}.demo.test" for number in range(60)]
# One key for each.
ENCTYPE = ("-e", "aes256-cts-hmac-sha1-96:normal")


def write(folder):
    """Writes one.keytab, many.keytab and cache. Returns the variables that libkrb5 needs with them."""
    with Kdc(folder / "realm") as kdc:
        kdc.add_user("alice", "wonderland")
        for service in (*OTHERS, SERVICE):
            kdc.add_service(service, *ENCTYPE)
        kdc.keytab(folder / "one.keytab", SERVICE)
        kdc.keytab(folder / "many.keytab", *OTHERS, SERVICE)
        kdc.kinit(folder / "cache", "alice", "wonderland")
        variables = {"KRB5_CONFIG": str(kdc.krb5_conf), "KRB5CCNAME": f"FILE:{folder}/cache"}
        subprocess.run(["kvno", "-q", SERVICE], env={**os.environ, **variables}, check=True)
        return variables


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
