"""What exists before the servers start: certificates, accounts, applications."""

import datetime
import ipaddress
import os
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from ntlm_client import Account, nt_hash
from servers import IS_ROOT

ALICE = Account("EXAMPLE", "alice", "Wonderland-1")
BOB = Account("EXAMPLE", "bob", "Builder: 2 % of \\all")
ZOE = Account("EXAMPLE", "zoë", "Pässwörd-3")
DISABLED = Account("EXAMPLE", "mallory", "disabled")
UNKNOWN = Account("EXAMPLE", "nobody", "Wonderland-1")
OTHER_ALICE = Account("OTHER", "alice", "Wonderland-1")


def line(account):
    return f"{account.name}:{nt_hash(account.password).hex()}\n"


ACCOUNTS = (
    "# The accounts of the tests.\n\n"
    + line(ALICE).rstrip("\n") + ":staff,admins\n"
    + line(BOB) + line(ZOE)
    + f"{DISABLED.name}:!\n"
)


def write_accounts(path, text, mode=0o640):
    """Replaces the file at once; readable by root and the servers' group only."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.chmod(new, mode)
    if IS_ROOT:
        shutil.chown(new, "root", "www-data")
    os.replace(new, path)


def account_files(directory):
    write_accounts(directory / "accounts", ACCOUNTS)
    write_accounts(directory / "accounts-other", line(OTHER_ALICE))
    write_accounts(directory / "accounts-reread", line(ALICE))


class Certificates:
    """One CA and one RSA-SHA256 certificate for localhost and 127.0.0.1."""

    def __init__(self):
        ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName([
            x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        is_ca = x509.BasicConstraints(ca=True, path_length=0)
        ca = builder(ca_name, ca_name, ca_key).add_extension(is_ca, True).sign(ca_key, hashes.SHA256())
        leaf = builder(name, ca_name, key).add_extension(names, False).sign(ca_key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        self.ca = ca.public_bytes(pem)
        self.leaf = leaf.public_bytes(pem)
        self.key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def write(self, directory):
        (directory / "ca.pem").write_bytes(self.ca)
        (directory / "server.pem").write_bytes(self.leaf)
        (directory / "server.key").write_bytes(self.key)


def builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2)))
