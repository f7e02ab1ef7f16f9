"""An NTLMv2 client (MS-NLMP) that can also do what no real client does."""

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from spnego._ntlm_raw.crypto import ntowfv1

UNICODE, REQUEST_TARGET, SIGN = 0x1, 0x4, 0x10
NTLM, ALWAYS_SIGN, ESS = 0x200, 0x8000, 0x80000
TARGET_INFO, BITS_128, BITS_56 = 0x800000, 0x20000000, 0x80000000
FLAGS = UNICODE | REQUEST_TARGET | NTLM | ALWAYS_SIGN | ESS | TARGET_INFO | BITS_128 | BITS_56

AV_EOL, AV_FLAGS, AV_TARGET_NAME, AV_CHANNEL_BINDINGS = 0, 6, 9, 10
AV_FLAG_MIC = 2

ABSENT = None
ZERO = bytes(16)
WRONG = bytes(range(16))

# A CHALLENGE_MESSAGE without AV pairs, for those who send an AUTHENTICATE_MESSAGE unasked.
ANY_CHALLENGE = b"NTLMSSP\0\x02\0\0\0" + bytes(28) + b"\x04\0\x04\0\x30\0\0\0" + bytes(4)


def end_point(certificate_pem):
    """The application data of tls-server-end-point (RFC 5929 4.1) for this certificate.

    For Ed25519 and Ed448, for which none is defined: what clients make up that know no better.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    signed = certificate.signature_hash_algorithm
    weak = signed is None or isinstance(signed, (hashes.MD5, hashes.SHA1))
    return b"tls-server-end-point:" + certificate.fingerprint(hashes.SHA256() if weak else signed)


def channel_binding(certificate_pem):
    """MD5 of the gss_channel_bindings_struct for the end point of this certificate."""
    data = end_point(certificate_pem)
    return hashlib.md5(bytes(16) + struct.pack("<I", len(data)) + data).digest()


def nt_hash(password):
    """NTOWFv1: the MD4 digest of the password in UTF-16LE."""
    return ntowfv1(password)


def negotiate():
    """A NEGOTIATE_MESSAGE of 32 bytes, as curl and the browsers send it."""
    return b"NTLMSSP\0" + struct.pack("<II", 1, FLAGS) + bytes(16)


def parse_challenge(message):
    """The server challenge and the AV pairs, in order, of a CHALLENGE_MESSAGE."""
    assert message[:12] == b"NTLMSSP\0\x02\0\0\0", message
    length, offset = struct.unpack_from("<H2xI", message, 40)
    pairs, info = [], message[offset:offset + length]
    while info:
        av_id, size = struct.unpack_from("<HH", info)
        if av_id == AV_EOL:
            break
        pairs.append((av_id, info[4:4 + size]))
        info = info[4 + size:]
    return message[24:32], pairs


@dataclass
class Account:
    domain: str
    user: str
    password: str = field(repr=False)

    @property
    def name(self):
        return f"{self.domain}\\{self.user}"

    @property
    def credentials(self):
        return f"{self.name}:{self.password}"

    def with_password(self, password):
        return Account(self.domain, self.user, password)

    def authenticate(self, challenge, binding=ABSENT, spn=None, mic=False, drop_av=(), lm_response=bytes(24),
                     proof=None, promise=False):
        """The AUTHENTICATE_MESSAGE that answers this CHALLENGE_MESSAGE.

        proof: another NTProofStr, which proves nothing. promise: the AV pairs tell of a MIC also when there is none.
        """
        server_challenge, pairs = parse_challenge(challenge)
        pairs = [(av_id, value) for av_id, value in pairs if av_id not in drop_av]
        if mic or promise:
            pairs.append((AV_FLAGS, struct.pack("<I", AV_FLAG_MIC)))
        if spn is not None:
            pairs.append((AV_TARGET_NAME, spn.encode("utf-16-le")))
        if binding is not ABSENT:
            pairs.append((AV_CHANNEL_BINDINGS, binding))
        info = b"".join(struct.pack("<HH", i, len(v)) + v for i, v in pairs) + bytes(4)

        temp = struct.pack("<BB6xQ", 1, 1, 0x01DD000000000000) + os.urandom(8) + bytes(4) + info + bytes(4)
        key = self.key()
        proof = proof or hmac.digest(key, server_challenge + temp, "md5")
        message = self._message(lm_response, proof + temp, mic)
        if not mic:
            return message
        session_key = hmac.digest(key, proof, "md5")
        tag = hmac.digest(session_key, negotiate() + challenge + message, "md5")
        return message[:72] + tag + message[88:]

    def key(self):
        """NTOWFv2."""
        return hmac.digest(nt_hash(self.password), (self.user.upper() + self.domain).encode("utf-16-le"), "md5")

    def lmv2_response(self, challenge):
        """The LMv2 response (MS-NLMP 3.3.2), which has no AV pairs."""
        server_challenge, _ = parse_challenge(challenge)
        client_challenge = os.urandom(8)
        return hmac.digest(self.key(), server_challenge + client_challenge, "md5") + client_challenge

    def anonymous(self):
        """The AUTHENTICATE_MESSAGE of nobody (MS-NLMP 3.2.5.1.2)."""
        return Account("", "", "")._message(b"\0", b"", False)

    def _message(self, lm_response, nt_response, mic):
        fields = [
            lm_response,
            nt_response,
            self.domain.encode("utf-16-le"),
            self.user.encode("utf-16-le"),
            "CLIENT".encode("utf-16-le"),
            b"",
        ]
        start = 88 if mic else 64
        head, offset = b"NTLMSSP\0" + struct.pack("<I", 3), start
        for value in fields:
            head += struct.pack("<HHI", len(value), len(value), offset)
            offset += len(value)
        head += struct.pack("<I", FLAGS)
        return head.ljust(start, b"\0") + b"".join(fields)
