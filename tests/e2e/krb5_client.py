"""Kerberos clients that send what a test says, by themselves and in SPNEGO.

Initiator is the one of libgssapi, with tickets of the KDC or of a cache that a test wrote. Who has the key of a
service can make tickets for it (Forger): such as no KDC gives, or gives only to who waits; ap_req() makes of one
what no library sends.
"""

import base64
import os
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import gssapi
from gssapi.raw import ChannelBindings
from impacket.krb5 import crypto

from raw_http import authorization

NAME = "alice@DEMO.TEST"
AES256, AES128, AES256_SHA384, RC4, DES3, DES = 18, 17, 20, 23, 16, 3

OIDS = {
    "spnego": bytes.fromhex("06062b0601050502"),
    "krb5": bytes.fromhex("06092a864886f712010202"),
    "ms-krb5": bytes.fromhex("06092a864882f712010202"),
    "krb5-u2u": bytes.fromhex("060a2a864886f71201020203"),
    "ntlm": bytes.fromhex("060a2b06010401823702020a"),
    "negoex": bytes.fromhex("060a2b06010401823702021e"),
    "iakerb": bytes.fromhex("06062b0601050205"),
    "unknown": bytes.fromhex("06052b0e030201"),
}
ACCEPT_COMPLETED, ACCEPT_INCOMPLETE, REJECT, REQUEST_MIC = range(4)

MUTUAL = gssapi.RequirementFlag.mutual_authentication
INTEGRITY = gssapi.RequirementFlag.integrity
DCE_STYLE = gssapi.RequirementFlag.dce_style

# Of RFC 4120 7.5.9.
ETYPE_NOSUPP, BAD_INTEGRITY, TKT_EXPIRED, TKT_NYV, REPEAT, NOT_US, SKEW = 14, 31, 32, 33, 34, 35, 37
BADMATCH, BADKEYVER, NOKEY, GENERIC = 36, 44, 45, 60


# DER

def length(size):
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def der(tag, *parts):
    content = b"".join(parts)
    return bytes([tag]) + length(len(content)) + content


def sequence(*fields, tag=0x30):
    """Fields are numbered from the first; None is one that is left out."""
    return der(tag, *(der(0xA0 + number, value) for number, value in enumerate(fields) if value is not None))


def integer(number):
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def octets(data):
    return der(0x04, data)


def text(data):
    """KerberosString is a GeneralString of ASCII; everybody sends UTF-8, and a surrogate is a byte that is none."""
    return der(0x1B, data.encode(errors="surrogateescape"))


def bits(number):
    return der(0x03, b"\0", number.to_bytes(4, "big"))


def moment(seconds):
    return der(0x18, time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds)).encode())


def read(data, at=0):
    """The tag, the content and the end of the element at this place."""
    tag, size, start = data[at], data[at + 1], at + 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[at + 2:start], "big")
    assert start + size <= len(data), data.hex()
    return tag, data[start:start + size], start + size


def elements(data):
    at = 0
    while at < len(data):
        tag, content, at = read(data, at)
        yield tag, content


def framed(oid, inner):
    """An InitialContextToken (RFC 2743 3.1)."""
    return der(0x60, OIDS.get(oid, oid), inner)


# SPNEGO (RFC 4178)

def mech_list(*mechs):
    """What a mechListMIC signs."""
    return der(0x30, *(OIDS.get(mech, mech) for mech in mechs))


def neg_token_init(mechs, token=None, mic=None, flags=None, more=b""):
    fields = [(0, mech_list(*mechs)), (1, flags), (2, token and octets(token)), (3, mic and octets(mic))]
    content = b"".join(der(0xA0 + number, value) for number, value in fields if value is not None)
    return framed("spnego", der(0xA0, der(0x30, content, more)))


def neg_token_resp(state=None, token=None, mic=None, mech=None):
    content = sequence(
        None if state is None else der(0x0A, bytes([state])), mech and OIDS.get(mech, mech),
        token and octets(token), mic and octets(mic))
    return der(0xA1, content)


@dataclass
class NegTokenResp:
    state: int = None
    mech: str = None
    token: bytes = None
    mic: bytes = None

    @classmethod
    def of(cls, data):
        tag, content, end = read(data)
        assert (tag, end) == (0xA1, len(data)), data.hex()
        tag, content, end = read(content)
        assert tag == 0x30
        found = {}
        for tag, value in elements(content):
            name, kind = {0xA0: ("state", 0x0A), 0xA1: ("mech", 0x06), 0xA2: ("token", 0x04), 0xA3: ("mic", 0x04)}[tag]
            inner, inside, _ = read(value)
            assert inner == kind and name not in found
            found[name] = inside
        if "state" in found:
            found["state"] = found["state"][0]
        if "mech" in found:
            oid = der(0x06, found["mech"])
            found["mech"] = next((name for name, known in OIDS.items() if known == oid), oid)
        return cls(**found)


def krb_error_code(token):
    """The error code of a KRB-ERROR in the framing of RFC 4121 4.1."""
    tag, content, end = read(token)
    assert (tag, end) == (0x60, len(token)), token.hex()
    tag, mech, at = read(content)
    assert der(tag, mech) == OIDS["krb5"] and content[at:at + 2] == b"\x03\x00", token.hex()
    tag, error, end = read(content, at + 2)
    assert (tag, end) == (0x7E, len(content))
    fields = dict(elements(read(error)[1]))
    assert int.from_bytes(read(fields[0xA1])[1], "big") == 30
    return int.from_bytes(read(fields[0xA6])[1], "big")


# libgssapi

LOCK = threading.RLock()


@contextmanager
def environment(**values):
    """Variables for libkrb5, here and in programs that are started meanwhile: for one thread at a time."""
    with LOCK:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update({name: str(value) for name, value in values.items()})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


class Context(gssapi.SecurityContext):
    """One whose step raises the error that it meets, also where there is a token to send."""


# Its metaclass sets it for each class anew.
Context.__DEFER_STEP_ERRORS__ = False


def tls_binding(digest):
    return ChannelBindings(application_data=b"tls-server-end-point:" + digest)


@dataclass
class User:
    """Somebody with a cache of tickets."""

    krb5_conf: object
    cache: object
    realm: str = "DEMO.TEST"

    @property
    def variables(self):
        return {"KRB5_CONFIG": self.krb5_conf, "KRB5CCNAME": f"FILE:{self.cache}"}

    def initiator(self, service="HTTP/127.0.0.1", **how):
        return Initiator(self, service, **how)

    def token(self, service="HTTP/127.0.0.1", **how):
        """A new token of Kerberos itself; who sends it does not look at the answer."""
        return self.initiator(service, **how).step()


class Initiator:
    """The client's part of one handshake, by libgssapi."""

    def __init__(self, user, service, mech="krb5", flags=MUTUAL | INTEGRITY, binding=None):
        self.user = user
        oid = gssapi.OID(elements=OIDS[mech][2:])
        with environment(**user.variables):
            name = gssapi.Name(f"{service}@{user.realm}", gssapi.NameType.kerberos_principal)
            own = gssapi.Credentials(usage="initiate", store={"ccache": f"FILE:{user.cache}"}, mechs=[oid])
            self.context = Context(name=name, creds=own, usage="initiate", mech=oid, flags=flags,
                                   channel_bindings=binding)

    def step(self, token=None):
        with environment(**self.user.variables):
            return self.context.step(token)

    @property
    def complete(self):
        return self.context.complete

    def sign(self, data):
        return self.context.get_signature(data)

    def verify(self, data, signature):
        """Raises an error if it does not fit."""
        self.context.verify_signature(data, signature)

    def error_of(self, token):
        """What the library says of an answer that is an error."""
        try:
            self.step(token)
        except gssapi.exceptions.GSSError as error:
            return str(error)
        raise AssertionError("it is no error")


# Keys

@dataclass
class Key:
    enctype: int
    octets: bytes = field(repr=False)
    kvno: int = 1

    @classmethod
    def random(cls, enctype=AES256, kvno=1):
        size = {AES256: 32, AES128: 16, AES256_SHA384: 32, RC4: 16, DES3: 24, DES: 8}[enctype]
        return cls(enctype, os.urandom(size), kvno)

    def encrypt(self, usage, data):
        if self.enctype in (AES256, AES128, RC4):
            confounder = os.urandom(8 if self.enctype == RC4 else 16)
            return crypto.encrypt(crypto.Key(self.enctype, self.octets), usage, data, confounder)
        # Nobody shall get as far as to decrypt this.
        return os.urandom(len(data) + 24)


def encrypted(key, usage, data, kvno=None):
    return sequence(integer(key.enctype), None if kvno is None else integer(kvno), octets(key.encrypt(usage, data)))


def components(principal):
    """Those of "alice/admin@REALM", and the realm; a backslash takes the next letter as it is."""
    parts, realm, letters = [""], None, iter(principal)
    for letter in letters:
        if letter == "@" and realm is None:
            realm = ""
        elif letter == "/" and realm is None:
            parts.append("")
        else:
            letter = next(letters) if letter == "\\" else letter
            if realm is None:
                parts[-1] += letter
            else:
                realm += letter
    return parts, realm


def counted(size, data):
    return len(data).to_bytes(size, "big") + data


def keytab(entries):
    """A keytab of (principal, Key), as the file format of MIT has it."""
    data = b"\x05\x02"
    for principal, key in entries:
        names, realm = components(principal)
        entry = struct.pack(">H", len(names)) + b"".join(counted(2, one.encode()) for one in (realm, *names))
        entry += struct.pack(">IIBH", 1, 0, key.kvno & 0xFF, key.enctype) + counted(2, key.octets)
        data += counted(4, entry + struct.pack(">I", key.kvno))
    return data


def keys_of(path):
    """What a keytab has: a dictionary of lists of keys by principal."""
    data, at, found = path.read_bytes(), 2, {}
    assert data[:2] == b"\x05\x02"
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0]
        entry, at = data[at + 4:at + 4 + abs(size)], at + 4 + abs(size)
        if size <= 0:
            continue
        names, place = [], 2
        for _ in range(struct.unpack_from(">H", entry)[0] + 1):
            end = place + 2 + struct.unpack_from(">H", entry, place)[0]
            names.append(entry[place + 2:end].decode())
            place = end
        _, _, kvno, enctype, size = struct.unpack_from(">IIBHH", entry, place)
        octets, rest = entry[place + 13:place + 13 + size], entry[place + 13 + size:]
        kvno = struct.unpack(">I", rest[:4])[0] if len(rest) >= 4 else kvno
        found.setdefault("/".join(names[1:]) + "@" + names[0], []).append(Key(enctype, octets, kvno))
    return found


# Tickets of our own

ANONYMOUS = 1 << (31 - 16)
INVALID = 1 << (31 - 7)
# forwardable, pre-authent
USUAL = 1 << (31 - 1) | 1 << (31 - 10)
HOUR = 3600

KERB_AP_OPTIONS_CBT = 0x4000


@dataclass
class Ticket:
    """A ticket, with what its client knows of it."""

    client: str
    service: str
    encoded: bytes = field(repr=False)
    session_key: Key
    times: tuple
    flags: int


@dataclass
class Forger:
    """Whoever has the key of a service, a principal with its realm."""

    service: str
    key: Key

    def ticket(self, client="alice@DEMO.TEST", start=-HOUR, end=HOUR, flags=USUAL, session=AES256, padding=0,
               key=None, kvno=None, service=None):
        """A ticket that is good from start to end, in seconds from now; padding is so much data about permissions."""
        key, now = key or self.key, int(time.time())
        session_key = Key.random(session)
        names, realm = components(client)
        unknown = der(0x30, sequence(integer(4711), octets(os.urandom(padding))))
        if_relevant = der(0x30, sequence(integer(1), octets(unknown)))
        times = (now + start, now + start, now + end, 0)
        part = sequence(
            bits(flags), sequence(integer(session_key.enctype), octets(session_key.octets)), text(realm),
            principal_name(names), sequence(integer(1), octets(b"")), moment(times[0]), moment(times[1]),
            moment(times[2]), None, None, if_relevant if padding else None)
        names, realm = components(service or self.service)
        encoded = der(0x61, sequence(
            integer(5), text(realm), principal_name(names),
            encrypted(key, 2, der(0x63, part), key.kvno if kvno is None else kvno)))
        return Ticket(client, service or self.service, encoded, session_key, times, flags)


def principal_name(names, kind=1):
    return sequence(integer(kind), der(0x30, *(text(name) for name in names)))


def gss_checksum(flags=0x3E, binding=bytes(16)):
    """RFC 4121 4.1.1: what a client sends instead of a checksum."""
    return sequence(integer(0x8003), octets(struct.pack("<I", 16) + binding + struct.pack("<I", flags)))


def ap_req(ticket, skew=0, client=None, mutual=True, checksum=gss_checksum(), session_key=None):
    """A token with this ticket, and an authenticator of now, or of another time or client."""
    key = session_key or ticket.session_key
    now = time.time() + skew
    names, realm = components(client or ticket.client)
    authenticator = der(0x62, sequence(
        integer(5), text(realm), principal_name(names), checksum, integer(int(now % 1 * 1000000)), moment(int(now)),
        None, integer(1)))
    message = der(0x6E, sequence(
        integer(5), integer(14), bits(1 << (31 - 2) if mutual else 0), ticket.encoded,
        encrypted(key, 11, authenticator)))
    return framed("krb5", b"\x01\x00" + message)


def write_cache(path, *tickets, offset=0):
    """A cache of credentials (file format 4) whose owner believes its clock to be so many seconds behind the KDC's."""
    def data(octets):
        return counted(4, octets)

    def principal(name):
        names, realm = components(name)
        return struct.pack(">II", 1, len(names)) + b"".join(data(one.encode()) for one in (realm, *names))

    header = struct.pack(">HHiI", 1, 8, offset, 0)
    content = b"\x05\x04" + counted(2, header) + principal(tickets[0].client)
    for ticket in tickets:
        key = ticket.session_key
        content += principal(ticket.client) + principal(ticket.service)
        content += struct.pack(">H", key.enctype) + data(key.octets) + struct.pack(">4I", *ticket.times)
        content += struct.pack(">BIII", 0, ticket.flags, 0, 0) + data(ticket.encoded) + data(b"")
    path.write_bytes(content)
    return path


def read_cache(path):
    """The tickets of a cache."""
    data = path.read_bytes()
    at = 4 + int.from_bytes(data[2:4], "big")

    def number(size=4):
        nonlocal at
        at += size
        return int.from_bytes(data[at - size:at], "big")

    def string():
        nonlocal at
        size = number()
        at += size
        return data[at - size:at]

    def principal():
        number()
        realm, *names = [string().decode() for _ in range(number() + 1)]
        return "/".join(names) + "@" + realm

    principal()
    while at < len(data):
        client, service = principal(), principal()
        session_key, times, _, flags = Key(number(2), string()), tuple(number() for _ in range(4)), number(1), number()
        for _ in range(2):  # addresses and data about permissions
            for _ in range(number()):
                number(2), string()
        encoded, _ = string(), string()
        yield Ticket(client, service, encoded, session_key, times, flags)


def with_offset(path, target, offset):
    """The same cache for a client whose clock is wrong, or believed to be, by so many seconds."""
    data = path.read_bytes()
    size = int.from_bytes(data[2:4], "big")
    target.write_bytes(data[:2] + counted(2, struct.pack(">HHiI", 1, 8, offset, 0)) + data[4 + size:])
    return target


# HTTP

def shown(token):
    """The field that shows a token to the server."""
    return authorization(token, "Negotiate")


def last_token(answer):
    """The token beside an answer of any status, which has no other challenge."""
    (value,) = answer["challenges"] if isinstance(answer, dict) else answer.challenges
    scheme, token = value.split(" ", 1)
    assert scheme == "Negotiate"
    return base64.b64decode(token, validate=True)


def assert_complete(initiator, answer):
    """The client is sure of the server and has nothing more to say."""
    assert not initiator.complete
    assert not initiator.step(last_token(answer))
    assert initiator.complete


def assert_signed_in(answer, name=NAME):
    described = answer.json
    assert (answer.status, described["user"], described["negotiate"]["mechanism"]) == (200, name, "kerberos")
    # nginx has no variable for the scheme.
    assert described.get("auth_type", "Negotiate") == "Negotiate"


def flipped(data, at=-1):
    """With one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
