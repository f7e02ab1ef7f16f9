"""Each malformed header or token is a 401 and one line in the log that says why."""

import base64
import struct

import pytest

from ntlm_client import negotiate, nt_hash
from raw_http import Connection, authorization
from world import ALICE

GOOD = base64.b64encode(negotiate()).decode()

HEADERS = {
    "no token": ("NTLM", "malformed-header"),
    "two tokens": (f"NTLM {GOOD} {GOOD}", "bad-base64"),
    "a parameter": (f'NTLM {GOOD}, realm="x"', "malformed-header"),
    "a comma": (f"NTLM {GOOD},", "malformed-header"),
    "a quoted token": (f'NTLM "{GOOD}"', "bad-base64"),
    "no padding": ("NTLM " + GOOD.rstrip("="), "bad-base64"),
    "too much padding": (f"NTLM {GOOD}=", "bad-base64"),
    "padding inside": ("NTLM TlRM=VNTUAAB", "bad-base64"),
    "one letter": ("NTLM T", "bad-base64"),
    "trailing bits": ("NTLM TlRMTVNTUAB=", "bad-base64"),
    "the URL alphabet": ("NTLM TlRM-_NT", "bad-base64"),
    "not NTLM": ("NTLM " + base64.b64encode(b"hello, world").decode(), "malformed-token"),
    "SPNEGO in NTLM": ("NTLM YGgGBisGAQUFAg==", "malformed-token"),
    "another scheme": ("Bearer abc", "other-scheme"),
    "Basic": ("Basic bWFsbG9yeTp4", "other-scheme"),
    "a scheme that is not offered": (f"Negotiate {GOOD}", "scheme-not-offered"),
    "NTLM glued to its token": (f"NTLM{GOOD}", "other-scheme"),
    "Nego2": (f"Nego2 {GOOD}", "other-scheme"),
}


def message(kind, rest=b""):
    return b"NTLMSSP\0" + struct.pack("<I", kind) + rest


TOKENS = {
    "empty message": (b"NTLMSSP\0", "malformed-token"),
    "another signature": (b"NTLMSSQ\0" + negotiate()[8:], "malformed-token"),
    "message type 0": (message(0, negotiate()[12:]), "malformed-token"),
    "message type 2 from a client": (message(2, bytes(48)), "malformed-token"),
    "message type 4": (message(4, bytes(52)), "malformed-token"),
    "a Type 1 cut short": (negotiate()[:15], "malformed-token"),
    "a Type 3 out of the blue": (message(3, bytes(20)), "out-of-sequence"),
}


@pytest.mark.parametrize("value, reason", HEADERS.values(), ids=HEADERS.keys())
def test_a_malformed_header_is_a_401_and_one_line(site, value, reason):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/", ("Authorization", value))
        assert answer.status == 401
        assert answer.challenges == ["NTLM"]
        assert log.decisions() == [reason]
        assert connection.sign_in(ALICE).user == ALICE.name


@pytest.mark.parametrize("token, reason", TOKENS.values(), ids=TOKENS.keys())
def test_a_malformed_token_is_a_401_and_one_line(site, token, reason):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/", authorization(token))
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert log.decisions() == [reason]
        assert connection.request("/").status == 401
        assert connection.sign_in(ALICE).user == ALICE.name


RESPONSE, DOMAIN, USER = 20, 28, 36


def outside(field):
    return lambda type_3: type_3[:field + 4] + struct.pack("<I", 0xFFFFFFF0) + type_3[field + 8:]


def of_length(field, length):
    return lambda type_3: type_3[:field] + struct.pack("<HH", length, length) + type_3[field + 4:]


def with_a_bit_flipped(type_3):
    at = struct.unpack_from("<I", type_3, RESPONSE + 4)[0]
    return type_3[:at] + bytes([type_3[at] ^ 1]) + type_3[at + 1:]


SPOILED = {
    "cut short": (lambda type_3: type_3[:-1], "malformed-token"),
    "a header only": (lambda type_3: type_3[:64], "malformed-token"),
    "its user outside": (outside(USER), "malformed-token"),
    "its domain outside": (outside(DOMAIN), "malformed-token"),
    "its response outside": (outside(RESPONSE), "malformed-token"),
    "a user of odd length": (of_length(USER, 7), "malformed-token"),
    "a domain of odd length": (of_length(DOMAIN, 7), "malformed-token"),
    "a response of 7 bytes": (of_length(RESPONSE, 7), "malformed-token"),
    "a response of 24 bytes": (of_length(RESPONSE, 24), "ntlmv1-refused"),
    "no response": (of_length(RESPONSE, 0), "lm-refused"),
    "no user": (of_length(USER, 0), "bad-name"),
    "one bit of the response flipped": (with_a_bit_flipped, "wrong-response"),
    "too large": (lambda type_3: type_3 + bytes(3000), "too-large"),
}


@pytest.mark.parametrize("spoil, reason", SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_type_3_signs_nobody_in_and_says_why(site, spoil, reason):
    with Connection(site) as connection:
        token = spoil(ALICE.authenticate(connection.challenge()))
        log = site.log()
        answer = connection.request("/", authorization(token))
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert log.decisions() == [reason]
        assert connection.request("/").status == 401


def test_a_header_of_60_kb_is_refused_and_the_server_goes_on(site):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/", authorization(message(1, bytes(45_000))))
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert log.decisions() == ["too-large"]
        assert connection.sign_in(ALICE).user == ALICE.name


@pytest.mark.parametrize("secret", ["challenge", "response", "hash", "password"])
def test_no_log_line_has_a_secret(site, secret):
    log = site.log()
    with Connection(site) as connection:
        challenge = connection.challenge()
        type_3 = ALICE.authenticate(challenge)
        connection.request("/", authorization(type_3))
        connection.sign_in(ALICE.with_password("Not-The-Password"))
        connection.request("/", ("Authorization", "NTLM " + base64.b64encode(type_3).decode() + "!"))
    text = "\n".join(log.lines()).lower()
    hidden = {"challenge": challenge[24:32].hex(), "response": base64.b64encode(type_3).decode()[8:40].lower(),
              "hash": nt_hash(ALICE.password).hex(), "password": "not-the-password"}
    assert hidden[secret] not in text
    assert "auth_negotiate" in text
