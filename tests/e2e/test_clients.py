"""Programs other than curl: requests-ntlm, pyspnego, Chromium."""

import hashlib

import pytest
import requests
import spnego
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from requests_ntlm import HttpNtlmAuth
from spnego.channel_bindings import GssChannelBindings

from chromium import Chromium
from raw_http import Connection, authorization
from world import ALICE, BOB


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
