#!/usr/bin/python3
"""What it takes to sign in with a ticket: keytabs, and caches with tickets that are good for hours.

    realm.py FOLDER

The KDC that gives the ticket is there for this moment only. Its PAC tells no groups; those of the other caches do, as
if a domain controller had written them.
"""

import os
import pathlib
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "demo"))
from kdc import Kdc  # noqa: E402

SERVICE = "HTTP/www.demo.test"
# The keys of other hosts come first.
OTHERS = [f"HTTP/host-{number}.demo.test" for number in range(60)]
# One key for each.
ENCTYPE = ("-e", "aes256-cts-hmac-sha1-96:normal")

# alice, as S-1-5-21-1-2-3-1103, is in so many groups, from S-1-5-21-1-2-3-2000 on.
DOMAIN, USER, FIRST_GROUP = (21, 1, 2, 3), 1103, 2000
CACHES = {"cache-of-32": 32, "cache-of-1000": 1000}


def write(folder):
    """Writes one.keytab, many.keytab, cache and CACHES. Returns the variables that libkrb5 needs with them."""
    with Kdc(folder / "realm") as kdc:
        kdc.add_user("alice", "wonderland")
        for service in (*OTHERS, SERVICE):
            kdc.add_service(service, *ENCTYPE)
        kdc.keytab(folder / "one.keytab", SERVICE)
        kdc.keytab(folder / "many.keytab", *OTHERS, SERVICE)
        kdc.kinit(folder / "cache", "alice", "wonderland")
        variables = {"KRB5_CONFIG": str(kdc.krb5_conf), "KRB5CCNAME": f"FILE:{folder}/cache"}
        subprocess.run(["kvno", "-q", SERVICE], env={**os.environ, **variables}, check=True)
        program = build(folder)
        for cache, count in CACHES.items():
            (folder / "logon-info").write_bytes(logon_info(count))
            subprocess.run([program, f"FILE:{folder}/one.keytab", SERVICE, folder / "logon-info",
                            f"FILE:{folder}/{cache}"], env={**os.environ, **variables}, check=True)
        return variables


def build(folder):
    subprocess.run(["cc", "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", HERE / "pac_ticket.c", "-lkrb5",
                    "-o", folder / "pac_ticket"], check=True)
    return folder / "pac_ticket"


def logon_info(count):
    """KERB_VALIDATION_INFO (MS-PAC 2.5) of alice, who is in so many groups."""
    fixed, referents = bytearray(6 * 8), bytearray()

    def pointer(referent):
        nonlocal fixed, referents
        fixed += struct.pack("<I", 0x20000 + 4 * len(fixed))
        referents += referent + bytes(-len(referent) % 4)

    def name(text):
        nonlocal fixed
        octets = text.encode("utf-16-le")
        fixed += struct.pack("<HH", len(octets), len(octets))
        pointer(struct.pack("<III", len(text), 0, len(text)) + octets)

    for text in ("alice", "Alice Liddell", "logon.cmd", "", r"\\files\alice", "H:"):
        name(text)
    fixed += struct.pack("<HHIII", 1, 0, USER, FIRST_GROUP, count)
    pointer(struct.pack("<I", count) + b"".join(struct.pack("<II", FIRST_GROUP + at, 7) for at in range(count)))
    fixed += bytes(4 + 16)
    name("DC1")
    name("DEMO")
    pointer(struct.pack(f"<IBB6B{len(DOMAIN)}I", len(DOMAIN), 1, len(DOMAIN), 0, 0, 0, 0, 0, 5, *DOMAIN))
    # To the end nothing: no ExtraSids, no groups of a resource domain.
    fixed += bytes(40 + 2 * 4 + 3 * 4)
    body = struct.pack("<I", 0x20000) + fixed + referents
    body += bytes(-len(body) % 8)
    return struct.pack("<BBHIII", 1, 0x10, 8, 0xcccccccc, len(body), 0) + body


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
