"""What exists before the servers start: certificates, accounts, applications."""

import datetime
import ipaddress
import os
import shutil
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
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


PEM = serialization.Encoding.PEM


class Certificates:
    """One CA and one RSA-SHA256 certificate for localhost and 127.0.0.1."""

    def __init__(self):
        ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        ca_name, name = common_name("Test CA"), common_name("localhost")
        names = x509.SubjectAlternativeName([
            x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        is_ca = x509.BasicConstraints(ca=True, path_length=0)
        ca = builder(ca_name, ca_name, ca_key).add_extension(is_ca, True).sign(ca_key, hashes.SHA256())
        leaf = builder(name, ca_name, key).add_extension(names, False).sign(ca_key, hashes.SHA256())
        self.ca = ca.public_bytes(PEM)
        self.leaf = leaf.public_bytes(PEM)
        self.key = private_pem(key)

    def write(self, directory):
        (directory / "ca.pem").write_bytes(self.ca)
        (directory / "server.pem").write_bytes(self.leaf)
        (directory / "server.key").write_bytes(self.key)


class CertificatesBySignature:
    """A certificate for each way to sign one, by names such as rsa-sha256: key of the issuer, and hash.

    Its own key is of the same kind; that of ed25519-key is not. The one of chain comes with its issuer's.
    """

    def __init__(self):
        self.issuers = {"rsa": rsa.generate_private_key(65537, 2048), "ecdsa": ec.generate_private_key(ec.SECP384R1()),
                        "ed25519": ed25519.Ed25519PrivateKey.generate(), "ed448": ed448.Ed448PrivateKey.generate()}
        self.keys = {"rsa": rsa.generate_private_key(65537, 2048), "ecdsa": ec.generate_private_key(ec.SECP256R1()),
                     "ed25519": ed25519.Ed25519PrivateKey.generate(), "ed448": ed448.Ed448PrivateKey.generate()}
        self.leaf, self.chain, self.key = {}, {}, {}
        for sha in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
            pss = padding.PSS(padding.MGF1(sha), padding.PSS.DIGEST_LENGTH)
            self.add(f"rsa-{sha.name}", "rsa", self.signed("rsa", "rsa", sha))
            self.add(f"pss-{sha.name}", "rsa", self.signed("rsa", "rsa", sha, rsa_padding=pss))
            self.add(f"ecdsa-{sha.name}", "ecdsa", self.signed("ecdsa", "ecdsa", sha))
        self.add("ed25519", "ed25519", self.signed("ed25519", "ed25519", None))
        self.add("ed448", "ed448", self.signed("ed448", "ed448", None))
        self.add("ed25519-key", "ed25519", self.signed("ed25519", "rsa", hashes.SHA512()))
        # Below OpenSSL's security level, unless nobody but themselves has to trust them.
        self.add("rsa-md5", "rsa", self.self_signed("-md5"))
        self.add("rsa-sha1", "rsa", self.self_signed("-sha1"))
        self.add("pss-sha1", "rsa", self.self_signed("-sha1", "-sigopt", "rsa_padding_mode:pss"))
        issuer = builder(common_name("issuer"), common_name("root"), self.issuers["rsa"])
        self.intermediate = issuer.sign(self.issuers["ecdsa"], hashes.SHA512()).public_bytes(PEM)
        self.add("chain", "rsa", self.signed("rsa", "rsa", hashes.SHA256()), self.intermediate)

    def add(self, name, key, leaf, *issuers):
        self.leaf[name] = leaf
        self.chain[name] = b"".join([leaf, *issuers])
        self.key[name] = private_pem(self.keys[key])

    def signed(self, key, issuer, sha, **how):
        certificate = builder(common_name("leaf"), common_name("issuer"), self.keys[key])
        return certificate.sign(self.issuers[issuer], sha, **how).public_bytes(PEM)

    def self_signed(self, *how):
        """With hashes that only the tool still signs with."""
        command = ["openssl", "req", "-x509", "-new", "-key", "/dev/stdin", "-subj", "/CN=leaf", "-days", "2", *how]
        return subprocess.run(command, input=private_pem(self.keys["rsa"]), capture_output=True, check=True).stdout

    def write(self, directory):
        for name, chain in self.chain.items():
            (directory / f"{name}.pem").write_bytes(chain)
            (directory / f"{name}.key").write_bytes(self.key[name])


def common_name(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def private_pem(key):
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2)))
