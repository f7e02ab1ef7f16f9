"""Programs other than curl: requests-ntlm, pyspnego, impacket, Java, Chromium."""

import hashlib
import struct
import uuid

import pytest
import requests
import spnego
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from impacket import ntlm
from requests_ntlm import HttpNtlmAuth
from spnego.channel_bindings import GssChannelBindings

from chromium import Chromium
from java_client import PROGRAMS, Ask, java
from ntlm_client import WRONG, channel_binding
from raw_http import Connection, authorization
from world import ALICE, BOB, UNKNOWN, ZOE


@pytest.fixture
def session(site):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(site.server.ca)
        session.auth = HttpNtlmAuth(ALICE.name, ALICE.password)
        yield session


def test_requests_ntlm_signs_in(site, session):
    answer = session.get(site.url(), timeout=20)
    assert answer.status_code == 200
    assert answer.json()["user"] == ALICE.name


@pytest.mark.parametrize("size", [0, 10_000])
def test_requests_ntlm_posts(site, session, size):
    body = bytes(size)
    answer = session.post(site.url(), data=body, timeout=20)
    assert answer.status_code == 200
    assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()


def test_requests_ntlm_with_a_wrong_password_gets_a_401(site, session):
    session.auth = HttpNtlmAuth(ALICE.name, "wrong")
    assert session.get(site.url(), timeout=20).status_code == 401


def test_requests_ntlm_sends_the_right_binding(secure_site):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(secure_site.server.ca)
        session.auth = HttpNtlmAuth(ALICE.name, ALICE.password)
        answer = session.get(secure_site.url("/binding/require/"), timeout=20)
        assert answer.status_code == 200
        assert answer.json()["user"] == ALICE.name


def spnego_client(account, site, certificates):
    binding = None
    if site.tls:
        digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
        binding = GssChannelBindings(application_data=b"tls-server-end-point:" + digest)
    return spnego.client(account.name, account.password, hostname=site.host, service="HTTP",
                         channel_bindings=binding, protocol="ntlm")


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_pyspnego_signs_in_with_raw_ntlm(site, certificates, scheme):
    client = spnego_client(ALICE, site, certificates)
    with Connection(site) as connection:
        leg = connection.request("/negotiate/", authorization(client.step(), scheme))
        assert leg.status == 401
        assert leg.challenges[0].startswith(scheme + " ")
        answer = connection.request("/negotiate/", authorization(client.step(leg.token), scheme))
        assert answer.user == ALICE.name
        assert connection.request("/negotiate/").user == ALICE.name


def test_httpd_tells_which_scheme_signed_in(httpd_site, certificates):
    for scheme in ("NTLM", "Negotiate"):
        with Connection(httpd_site) as connection:
            answer = connection.sign_in(ALICE, "/negotiate/", scheme=scheme)
            assert answer.json["auth_type"] == scheme


def test_raw_ntlm_in_negotiate_is_refused_where_it_is_not_offered(site, certificates):
    client = spnego_client(ALICE, site, certificates)
    log = site.log()
    with Connection(site) as connection:
        leg = connection.request("/", authorization(client.step(), "Negotiate"))
        assert (leg.status, leg.challenges) == (401, ["NTLM"])
    assert log.refusals() == ["scheme-not-offered"]


class Impacket:
    """A handshake of impacket's. It makes no MIC by itself, but finds the key that one is made with."""

    VERSION = struct.pack("<BBHxxxB", 10, 0, 19041, 15)

    def __init__(self, account, ntlmv2=True, seal=False, binding=b"", mic=False):
        self.account, self.binding, self.mic = account, binding, mic
        self.ntlmv2 = ntlmv2
        self.version = self.VERSION if mic else None
        self.negotiate = ntlm.getNTLMSSPType1(signingRequired=seal, use_ntlmv2=ntlmv2, version=self.version)
        self.type_1 = self.negotiate.getData()

    def answer(self, type_2, spoil=lambda mic: mic):
        message, key = ntlm.getNTLMSSPType3(
            self.negotiate, self.with_av_flags(type_2) if self.mic else type_2, self.account.user,
            self.account.password, self.account.domain, use_ntlmv2=self.ntlmv2, channel_binding_value=self.binding,
            version=self.version)
        if self.mic:
            message["MIC"] = bytes(16)
            message["MIC"] = spoil(ntlm.hmac_md5(key, self.type_1 + type_2 + message.getData()))
        return message.getData()

    def with_av_flags(self, type_2):
        """The challenge as impacket shall see it: what it copies from there promises a MIC."""
        challenge = ntlm.NTLMAuthChallenge(type_2)
        pairs = ntlm.AV_PAIRS(challenge["TargetInfoFields"])
        pairs[ntlm.NTLMSSP_AV_FLAGS] = struct.pack("<I", 2)
        challenge["TargetInfoFields"] = pairs.getData()
        challenge["TargetInfoFields_len"] = challenge["TargetInfoFields_max_len"] = len(pairs.getData())
        return challenge.getData()

    def sign_in(self, connection, path="/", scheme="NTLM", **how):
        leg = connection.request(path, authorization(self.type_1, scheme))
        assert leg.status == 401
        return connection.request(path, authorization(self.answer(leg.token, **how), scheme))


@pytest.mark.parametrize("account", [ALICE, ZOE], ids=["ascii", "not ascii"])
def test_impacket_signs_in(site, account):
    with Connection(site) as connection:
        assert Impacket(account).sign_in(connection).user == account.name
        assert connection.request().user == account.name


def test_impacket_signs_in_with_raw_ntlm_in_negotiate(site):
    with Connection(site) as connection:
        assert Impacket(ALICE).sign_in(connection, "/negotiate/", "Negotiate").user == ALICE.name


@pytest.mark.parametrize("account", [ALICE.with_password("wrong"), UNKNOWN], ids=["wrong password", "unknown user"])
def test_impacket_is_refused_who_cannot_sign_in(site, account):
    with Connection(site) as connection:
        assert Impacket(account).sign_in(connection).status == 401
        assert Impacket(ALICE).sign_in(connection).user == ALICE.name


@pytest.mark.parametrize("seal", [False, True], ids=["no key exchange", "key exchange"])
def test_impacket_finds_the_same_session_key(site, seal):
    with Connection(site) as connection:
        assert Impacket(ALICE, seal=seal, mic=True).sign_in(connection).user == ALICE.name
        log = site.log()
        client = Impacket(ALICE, seal=seal, mic=True)
        assert client.sign_in(connection, spoil=lambda mic: mic[:15] + bytes([mic[15] ^ 1])).status == 401
        assert log.refusals() == ["wrong-mic"]


def test_impacket_with_ntlmv1_is_refused(site):
    log = site.log()
    with Connection(site) as connection:
        assert Impacket(ALICE, ntlmv2=False).sign_in(connection).status == 401
    assert log.refusals() == ["ntlmv1-refused"]


@pytest.mark.parametrize("mic", [False, True], ids=["no MIC", "MIC"])
def test_impacket_sends_a_binding(secure_site, certificates, mic):
    path = "/binding/require/"
    log = secure_site.log()
    with Connection(secure_site) as connection:
        right = Impacket(ALICE, binding=channel_binding(certificates.leaf), mic=mic)
        assert right.sign_in(connection, path).user == ALICE.name
        assert Impacket(ALICE, binding=WRONG, mic=mic).sign_in(connection, path).status == 401
        assert Impacket(ALICE, mic=mic).sign_in(connection, path).status == 401
    assert log.refusals() == ["wrong-channel-binding", "missing-channel-binding"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_java_signs_in_once_for_its_connection(site, program):
    log = site.access_log()
    answers = java(program, site, ALICE, Ask("/first"), Ask("/second"))
    assert [answer.user for answer in answers] == [ALICE.name] * 2
    log.wait("GET /second")
    assert (len(log.lines("GET /first")), len(log.lines("GET /second"))) == (3, 1)


@pytest.mark.parametrize("program", PROGRAMS)
def test_java_signs_in_with_a_name_outside_ascii(plain_site, program):
    (answer,) = java(program, plain_site, ZOE, Ask("/"))
    assert answer.user == ZOE.name


@pytest.mark.parametrize("program", PROGRAMS)
def test_java_posts(plain_site, program, tmp_path):
    body = bytes(index * 7 % 256 for index in range(10_000))
    (tmp_path / "body").write_bytes(body)
    test_id = str(uuid.uuid4())
    (answer,) = java(program, plain_site, ALICE, Ask("/", tmp_path / "body", "buffered", test_id))
    assert answer.user == ALICE.name
    (seen,) = plain_site.server.journal.runs(test_id)
    assert (seen["method"], seen["sha256"]) == ("POST", hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("program", PROGRAMS)
def test_java_with_a_wrong_password_gets_a_401_and_does_not_storm(plain_site, program):
    log = plain_site.access_log()
    answers = java(program, plain_site, ALICE.with_password("wrong"), Ask("/wrong"), Ask("/wrong"))
    assert [answer.status for answer in answers] == [401, 401]
    assert len(log.wait("GET /wrong", 4)) <= 6


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.mark.parametrize("path", ["/", "/negotiate/"])
def test_chromium_signs_in(site, chromium, path):
    with chromium.page() as page:
        page.credentials = (ALICE.name, ALICE.password)
        status, answer = page.open(site.url(path))
        assert status == 200
        assert answer["user"] == ALICE.name


def test_chromium_sends_the_right_binding(secure_site, chromium):
    with chromium.page() as page:
        page.credentials = (BOB.name, BOB.password)
        status, answer = page.open(secure_site.url("/binding/require/"))
        assert (status, answer["user"]) == (200, BOB.name)


def test_chromium_asks_again_after_a_wrong_password(site, chromium):
    with chromium.page() as page:
        page.credentials = (ALICE.name, "wrong")
        status, _ = page.open(site.url("/any"))
        assert status == 401
        assert page.asked == 2


def test_chromium_posts_a_form(site, chromium):
    with chromium.page() as page:
        page.credentials = (ALICE.name, ALICE.password)
        page.open(site.url("/form"))
        answer = page.evaluate("fetch('/posted', {method: 'POST', body: 'x'.repeat(10000)}).then(r => r.json())")
        assert (answer["user"], answer["length"]) == (ALICE.name, 10_000)
        assert answer["sha256"] == hashlib.sha256(b"x" * 10_000).hexdigest()
