"""Signing in through winbindd, with libwbclient: what a server of NTLM does, and nothing else.

    python wbclient.py [USER]

Runs in the namespaces of the member, as USER from where it is ready on, and is called by domain.py (see remote.py).
"""

import ctypes
import grp
import hmac
import os
import pwd
import struct
import sys
import time
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int32, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p

import remote
from spnego._ntlm_raw.crypto import ntowfv1

LEVEL_RESPONSE = 3
# MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT | MSV1_0_ALLOW_WORKSTATION_TRUST_ACCOUNT
ALLOW_TRUST_ACCOUNTS = 0x20 | 0x800
AV_NB_COMPUTER_NAME, AV_NB_DOMAIN_NAME, AV_EOL = 1, 2, 0

LIBRARY = ctypes.CDLL("libwbclient.so.0")


class Sid(ctypes.Structure):
    _fields_ = [("revision", c_uint8), ("count", c_uint8), ("authority", c_uint8 * 6), ("parts", c_uint32 * 15),
                ("attributes", c_uint32)]

    def __str__(self):
        authority = int.from_bytes(bytes(self.authority), "big")
        return "-".join(map(str, ["S", self.revision, authority, *self.parts[:self.count]]))


class Response(ctypes.Structure):
    _fields_ = [("challenge", c_uint8 * 8), ("nt_length", c_uint32), ("nt_data", c_char_p), ("lm_length", c_uint32),
                ("lm_data", c_char_p)]


class Parameters(ctypes.Structure):
    _fields_ = [("account", c_char_p), ("domain", c_char_p), ("workstation", c_char_p), ("flags", c_uint32),
                ("parameter_control", c_uint32), ("level", c_int), ("response", Response)]


class Info(ctypes.Structure):
    _fields_ = [("user_flags", c_uint32), ("account", c_char_p), ("user_principal", c_char_p), ("full_name", c_char_p),
                ("domain", c_char_p), ("dns_domain", c_char_p), ("account_flags", c_uint32),
                ("user_session_key", c_uint8 * 16), ("lm_session_key", c_uint8 * 8), ("logon_count", c_uint16),
                ("bad_password_count", c_uint16), ("times", c_uint64 * 6), ("strings", c_char_p * 5),
                ("sid_count", c_uint32), ("sids", POINTER(Sid))]


class Error(ctypes.Structure):
    _fields_ = [("status", c_uint32), ("text", c_char_p), ("pam_error", c_int32), ("display", c_char_p),
                ("authoritative", c_uint8)]


class Interface(ctypes.Structure):
    _fields_ = [("version", c_uint32), ("winbind_version", c_char_p), ("separator", c_char),
                ("netbios_name", c_char_p), ("netbios_domain", c_char_p), ("dns_domain", c_char_p)]


LIBRARY.wbcCtxCreate.restype = c_void_p
LIBRARY.wbcErrorString.restype = c_char_p
LIBRARY.wbcFreeMemory.argtypes = [c_void_p]
LIBRARY.wbcCtxInterfaceDetails.argtypes = [c_void_p, POINTER(POINTER(Interface))]
LIBRARY.wbcCtxAuthenticateUserEx.argtypes = [c_void_p, POINTER(Parameters), POINTER(POINTER(Info)),
                                             POINTER(POINTER(Error))]


class Winbind:
    def __init__(self):
        self.context = LIBRARY.wbcCtxCreate()

    def interface(self):
        """The names that a CHALLENGE_MESSAGE has to carry."""
        details = POINTER(Interface)()
        result = LIBRARY.wbcCtxInterfaceDetails(self.context, byref(details))
        if result:
            raise OSError(LIBRARY.wbcErrorString(result).decode())
        found = {name: getattr(details[0], name).decode() for name in ("netbios_name", "netbios_domain", "dns_domain")}
        LIBRARY.wbcFreeMemory(details)
        return found

    def authenticate(self, domain, user, password, workstation="CLIENT", computer=None, av_domain=None):
        """One NTLMv2 response to one challenge. Returns what winbindd said of it.

        computer, av_domain: the names of the challenge; by default those that winbindd wants to see.
        """
        started = time.monotonic()
        if computer is None or av_domain is None:
            try:
                interface = self.interface()
            except OSError as error:
                return answer(str(error), time.monotonic() - started)
            computer, av_domain = computer or interface["netbios_name"], av_domain or interface["netbios_domain"]
        challenge = os.urandom(8)
        response, key = ntlmv2(domain, user, password, challenge, computer, av_domain)
        parameters = Parameters(user.encode(), domain.encode(), workstation.encode(), 0, ALLOW_TRUST_ACCOUNTS,
                                LEVEL_RESPONSE, Response((c_uint8 * 8)(*challenge), len(response), response, 0, None))
        info, error = POINTER(Info)(), POINTER(Error)()
        result = LIBRARY.wbcCtxAuthenticateUserEx(self.context, byref(parameters), byref(info), byref(error))
        found = answer(LIBRARY.wbcErrorString(result).decode(), time.monotonic() - started, session_key=key)
        if error:
            found |= {"status": error[0].text.decode(), "code": error[0].status,
                      "authoritative": bool(error[0].authoritative)}
        if info:
            found |= {"account": info[0].account.decode(), "domain": info[0].domain.decode(),
                      "user_session_key": bytes(info[0].user_session_key),
                      "sids": [str(sid) for sid in info[0].sids[:info[0].sid_count]]}
        for memory in (info, error):
            if memory:
                LIBRARY.wbcFreeMemory(memory)
        return found

    def wait(self, domain, user, password, seconds):
        """Asks one after another, until somebody can sign in. Returns how long that took and the last answer."""
        started = time.monotonic()
        while True:
            found = self.authenticate(domain, user, password)
            elapsed = time.monotonic() - started
            if found["result"] == "WBC_ERR_SUCCESS" or elapsed > seconds:
                return {"elapsed": elapsed, **found}
            time.sleep(0.02)


def answer(result, seconds, **more):
    """status: the name of the NTSTATUS, if winbindd had one."""
    return {"result": result, "status": None, "seconds": seconds, **more}


def ntlmv2(domain, user, password, challenge, computer, av_domain):
    """MS-NLMP 3.3.2: the response, and the SessionBaseKey."""
    key = hmac.digest(ntowfv1(password), (user.upper() + domain).encode("utf-16-le"), "md5")
    pairs = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in (
        (AV_NB_DOMAIN_NAME, av_domain.encode("utf-16-le")), (AV_NB_COMPUTER_NAME, computer.encode("utf-16-le")),
        (AV_EOL, b"")))
    now = int((time.time() + 11644473600) * 10**7)
    temp = struct.pack("<BB6xQ", 1, 1, now) + os.urandom(8) + bytes(4) + pairs + bytes(4)
    proof = hmac.digest(key, challenge + temp, "md5")
    return proof + temp, hmac.digest(key, proof, "md5")


def become(user):
    """With the groups that /etc/group says here."""
    entry = pwd.getpwnam(user)
    os.setgroups([group.gr_gid for group in grp.getgrall() if user in group.gr_mem] + [entry.pw_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        become(name)
    winbind = Winbind()
    remote.serve({"interface": winbind.interface, "authenticate": winbind.authenticate, "wait": winbind.wait})
