"""NTLM inside SPNEGO, as programs send it under Negotiate: the list of mechanisms signed both ways."""

import base64
import os
import subprocess

import pytest
import spnego
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from spnego.channel_bindings import GssChannelBindings

from raw_http import Connection, authorization
from world import ALICE, UNKNOWN, ZOE

PATH = "/negotiate/"
SPNEGO_OID = bytes.fromhex("06062b0601050502")


def client(account, site, certificates):
    binding = None
    if site.tls:
        digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
        binding = GssChannelBindings(application_data=b"tls-server-end-point:" + digest)
    return spnego.client(account.name, account.password, hostname=site.host, service="HTTP",
                         channel_bindings=binding, protocol="negotiate", options=spnego.NegotiateOptions.use_negotiate)


def last_token(answer):
    """The token that ends the handshake, on whatever answer it comes."""
    (value,) = answer.challenges
    scheme, token = value.split(" ", 1)
    assert scheme == "Negotiate"
    return base64.b64decode(token, validate=True)


@pytest.mark.parametrize("account", [ALICE, ZOE], ids=["ascii", "not ascii"])
def test_pyspnego_signs_in_and_believes_our_signature(site, certificates, account):
    initiator = client(account, site, certificates)
    with Connection(site) as connection:
        first = initiator.step()
        assert SPNEGO_OID in first[:16]
        leg = connection.request(PATH, authorization(first, "Negotiate"))
        assert (leg.status, leg.token[:1]) == (401, b"\xa1")
        answer = connection.request(PATH, authorization(initiator.step(leg.token), "Negotiate"))
        assert answer.user == account.name
        assert not initiator.complete
        assert initiator.step(last_token(answer)) is None
        assert initiator.complete
        later = connection.request(PATH)
        assert (later.user, later.challenges) == (account.name, [])


def test_the_last_token_comes_on_every_answer(site, certificates):
    initiator = client(ALICE, site, certificates)
    with Connection(site) as connection:
        leg = connection.request(PATH, authorization(initiator.step(), "Negotiate"))
        token = initiator.step(leg.token)
        answer = connection.request(PATH + "missing", authorization(token, "Negotiate"))
        assert answer.status in (200, 404)
        initiator.step(last_token(answer))
        assert initiator.complete


@pytest.mark.parametrize("account", [ALICE.with_password("wrong"), UNKNOWN], ids=["wrong password", "unknown user"])
def test_a_failed_sign_in_leaves_bare_challenges(site, certificates, account):
    initiator = client(account, site, certificates)
    log = site.log()
    with Connection(site) as connection:
        leg = connection.request(PATH, authorization(initiator.step(), "Negotiate"))
        answer = connection.request(PATH, authorization(initiator.step(leg.token), "Negotiate"))
        assert (answer.status, answer.challenges) == (401, ["Negotiate", "NTLM"])
        assert connection.request(PATH).status == 401
    assert log.refusals() == ["unknown-user" if account is UNKNOWN else "wrong-response"]


def test_a_changed_list_signs_nobody_in(site, certificates):
    """Somebody on the way takes Kerberos from a list that had it."""
    initiator = client(ALICE, site, certificates)
    krb5 = bytes.fromhex("06092a864886f712010202")
    log = site.log()
    with Connection(site) as connection:
        first = bytearray(initiator.step())
        ntlm = first.index(bytes.fromhex("060a2b06010401823702020a"))
        first[ntlm:ntlm] = krb5
        for length in (ntlm - 1, ntlm - 3, ntlm - 5, ntlm - 7, 1):
            first[length] += len(krb5)
        leg = connection.request(PATH, authorization(bytes(first), "Negotiate"))
        assert leg.status == 401, leg.challenges
        # Our answer discards the token that was for Kerberos now: the client's next is its first.
        initiator = client(ALICE, site, certificates)
        ours = resp(negotiate_of(initiator.step()))
        leg = connection.request(PATH, authorization(ours, "Negotiate"))
        assert leg.status == 401
        answer = connection.request(PATH, authorization(initiator.step(leg.token), "Negotiate"))
        assert answer.status == 401
    assert log.refusals() == ["wrong-mech-list-mic"]


def negotiate_of(token):
    return token[token.index(b"NTLMSSP\0"):]


def resp(response_token):
    octets = b"\x04" + bytes([len(response_token)]) + response_token
    field = b"\xa2" + bytes([len(octets)]) + octets
    sequence = b"\x30" + bytes([len(field)]) + field
    return b"\xa1" + bytes([len(sequence)]) + sequence


@pytest.fixture
def gss_ntlmssp(tmp_path):
    """The environment of a client that has NTLM as a plug-in of its GSS library, and no Kerberos."""
    users = tmp_path / "users"
    users.write_text(f"{ALICE.domain}:{ALICE.user}:{ALICE.password}\n")
    (tmp_path / "krb5.conf").write_text("[libdefaults]\n")
    return {**os.environ, "NTLM_USER_FILE": str(users), "KRB5CCNAME": f"FILE:{tmp_path}/none",
            "KRB5_CONFIG": str(tmp_path / "krb5.conf")}


def curl(site, environment, *arguments):
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--cacert", site.server.ca, "--http1.1", "--max-time", "20",
         "--write-out", "\n%{http_code}", *arguments],
        env=environment, capture_output=True, text=True, check=True, timeout=30).stdout


def test_curl_with_gss_ntlmssp_signs_in(site, gss_ntlmssp):
    log = site.log()
    said = curl(site, gss_ntlmssp, "--negotiate", "--user", f"{ALICE.name}:", site.url(PATH))
    assert said.endswith("\n200"), (said, log.lines())
    assert ALICE.name.replace("\\", "\\\\") in said
    assert log.refusals() == []
