"""Programs with a ticket of the KDC: curl, Chromium, requests-gssapi, requests-kerberos, pyspnego, impacket, Java.

What a test says of bindings is what the program sends, over TLS, by itself.
"""

import hashlib
import json
import uuid
from contextlib import ExitStack, contextmanager

import gssapi
import pytest
import requests
import requests_gssapi
import spnego
from impacket.krb5 import kerberosv5
from impacket.krb5.ccache import CCache
from requests_gssapi import HTTPSPNEGOAuth
from requests_kerberos import HTTPKerberosAuth
from spnego.channel_bindings import GssChannelBindings

import curl as curl_program
from bindings import is_bound
from chromium import Chromium
from java_client import PROGRAMS, Ask, java
from krb5_client import ACCEPT_COMPLETED, NAME, NegTokenResp, User, assert_signed_in, environment, last_token, shown
from krb5_world import REALM
from ntlm_client import Account, end_point
from raw_http import Connection
from servers import DEADLINE, Site, until
from world import ALICE

PATHS, BESIDE = ["/", "/both/"], ["alone", "beside NTLM"]
KERBEROS = (NAME, "kerberos")
NTLM = (ALICE.name, "ntlm")
# Java's programs want a password, which nobody asks them for.
NOBODY = Account("NOWHERE", "nobody", "nothing")


@pytest.fixture(scope="module")
def running(running_with_kerberos):
    return running_with_kerberos


@pytest.fixture
def stranger(realms, tmp_path):
    """Somebody without a ticket."""
    return User(realms.kdc.krb5_conf, tmp_path / "no-cache")


def who(described):
    """Whom the application sees, and by which mechanism."""
    return described["user"], described["negotiate"]["mechanism"]


# curl

def curl(site, user, *arguments, scheme="--negotiate", version="--http1.1", **variables):
    with environment(**user.variables, **variables):
        return curl_program.curl(site, scheme, "--user", ":", *arguments, version=version)


@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
def test_curl_signs_in_with_anyauth(site, alice, path):
    log = site.log()
    body = "x" * 10000
    test_id = str(uuid.uuid4())
    transfers = curl(site, alice, site.url(path), "--next", "--anyauth", "--user", ":", "--data-binary", body,
                     "--header", f"X-Test-Id: {test_id}", site.url(path), scheme="--anyauth")
    assert [who(json.loads(transfer.body)) for transfer in transfers] == [KERBEROS] * 2
    assert [seen["length"] for seen in site.server.journal.runs(test_id)] == [len(body)]
    assert log.refusals() == []


def test_curl_signs_in_for_every_request_of_a_connection_of_http_2(secure_site, alice):
    log = secure_site.log()
    urls = [secure_site.url(f"/{number}") for number in range(3)]
    transfers = curl(secure_site, alice, *urls, version="--http2")
    assert [who(json.loads(transfer.body)) for transfer in transfers] == [KERBEROS] * 3
    assert [(transfer.http_version, transfer.connects) for transfer in transfers] == [("2", 1), ("2", 0), ("2", 0)]
    assert log.decisions().count("signed-in") == 3
    assert log.refusals() == []


def test_curl_puts_what_it_holds_back_until_it_is_told_to_go_on(site, alice, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 2_000_000)
    (transfer,) = curl(site, alice, "--upload-file", f"{tmp_path}/body", "--header", "Expect: 100-continue",
                       site.url("/put"))
    described = json.loads(transfer.body)
    assert (who(described), described["length"]) == (KERBEROS, 2_000_000)


def test_curl_may_delegate_its_ticket(nginx_site, alice):
    """Nothing is done with it; the token is larger by a ticket."""
    (plain,), (delegating,) = (curl(nginx_site, alice, *options, nginx_site.url())
                               for options in ([], ["--delegation", "always"]))
    sizes = [len(json.loads(transfer.body)["headers"]["authorization"]) for transfer in (plain, delegating)]
    assert [transfer.user for transfer in (plain, delegating)] == [NAME] * 2
    assert sizes[1] > sizes[0] + 500


def test_curl_with_a_ticket_for_another_service_is_refused_and_does_not_storm(site, alice):
    log, access_log = site.log(), site.access_log()
    (transfer,) = curl(site, alice, "--service-name", "host", site.url("/another-service"))
    assert transfer.status == 401
    assert log.refusals() == ["wrong-service-name"]
    assert len(access_log.wait("/another-service")) <= 2


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_sends_no_binding(secure_site, alice, version):
    log = secure_site.log()
    (transfer,) = curl(secure_site, alice, secure_site.url("/binding/require/"), version=version)
    assert transfer.status == 401
    assert log.refusals() == ["missing-channel-binding"]


# curl with gss-ntlmssp as a plug-in of its library

@pytest.fixture
def passwords(tmp_path):
    """What gss-ntlmssp finds the user's password in."""
    path = tmp_path / "passwords"
    path.write_text(f"{ALICE.domain}:{ALICE.user}:{ALICE.password}\n")
    return {"NTLM_USER_FILE": path}


@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
def test_with_a_ticket_and_a_password_it_is_the_ticket(site, alice, passwords, path):
    log = site.log()
    (transfer,) = curl(site, alice, site.url(path), **passwords)
    assert who(json.loads(transfer.body)) == KERBEROS
    assert log.refusals() == []


def test_without_a_ticket_it_is_ntlm_in_spnego(site, stranger, passwords):
    log = site.log()
    (transfer,) = curl(site, stranger, "--user", f"{ALICE.name}:", site.url("/both/"), **passwords)
    assert who(json.loads(transfer.body)) == NTLM
    assert log.refusals() == []


def test_without_a_ticket_it_is_nothing_where_kerberos_is_alone(site, stranger, passwords):
    log = site.log()
    (transfer,) = curl(site, stranger, "--user", f"{ALICE.name}:", site.url(), **passwords)
    assert transfer.status == 401
    assert log.refusals() == ["mechanism-not-offered"]


# Chromium

ALLOWED = "--auth-server-allowlist=127.0.0.1"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Starts a browser for a user."""
    with ExitStack() as stack:
        def start(user, *flags):
            with environment(**user.variables):
                return stack.enter_context(Chromium(tmp_path_factory.mktemp("chromium"), *flags))

        yield start


@pytest.fixture(scope="module")
def chromium(browser, alice, running):
    """One that may show its ticket here. It loads the library of Kerberos when it is first asked for one, and meanwhile
    knows none."""
    chromium = browser(alice, ALLOWED)
    url = Site(running["nginx"], "http").url()

    def signs_in():
        with chromium.page() as page:
            return page.open(url)[0] == 200

    until(signs_in, "Chromium to load the library")
    return chromium


@pytest.fixture(scope="module")
def chromium_without_ticket(browser, realms):
    return browser(User(realms.kdc.krb5_conf, realms.directory / "no-cache"), ALLOWED)


@pytest.fixture(scope="module")
def chromium_not_allowed(browser, alice):
    return browser(alice)


@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
def test_chromium_signs_in_without_asking(site, chromium, path):
    log = site.log()
    with chromium.page() as page:
        status, described = page.open(site.url(path))
        assert (status, who(described), page.asked) == (200, KERBEROS, 0)
    assert log.refusals() == []


def test_chromium_posts(site, chromium):
    with chromium.page() as page:
        page.open(site.url("/form"))
        described = page.evaluate("fetch('/posted', {method: 'POST', body: 'x'.repeat(10000)}).then(r => r.json())")
    assert who(described) == KERBEROS
    assert described["sha256"] == hashlib.sha256(b"x" * 10000).hexdigest()


def test_chromium_loads_many_things_at_once(site, chromium):
    log = site.log()
    with chromium.page() as page:
        page.open(site.url("/page"))
        text = page.evaluate("Promise.all([...Array(24).keys()].map(n => fetch(`/part/${n}`).then(r => r.json())))"
                             ".then(JSON.stringify)")
    described = json.loads(text)
    assert [(who(one), one["path"]) for one in described] == [(KERBEROS, f"/part/{n}") for n in range(24)]
    assert log.refusals() == []


def test_chromium_sends_no_binding(secure_site, chromium):
    log = secure_site.log()
    with chromium.page() as page:
        assert page.open(secure_site.url("/binding/require/"))[0] == 401
    assert log.refusals() == ["missing-channel-binding"]


@pytest.mark.parametrize("kind", ["chromium_without_ticket", "chromium_not_allowed"])
def test_chromium_that_shows_no_ticket_asks_for_a_password_where_that_will_do(site, request, kind):
    log = site.log()
    with request.getfixturevalue(kind).page() as page:
        page.credentials = (ALICE.name, ALICE.password)
        status, described = page.open(site.url("/both/"))
        assert (status, who(described), page.asked) == (200, NTLM, 1)
        assert page.open(site.url("/"))[0] == 401
    assert log.refusals() == []


# requests

@contextmanager
def asking(site, user):
    """Asks with requests, whose libraries find the ticket by the environment."""
    with requests.Session() as session, environment(**user.variables):
        session.trust_env = False
        session.verify = str(site.server.ca)

        def request(path, auth, method="GET", **how):
            return session.request(method, site.url(path), auth=auth, timeout=DEADLINE, **how)

        yield request


@pytest.fixture
def ask(site, alice):
    with asking(site, alice) as asked:
        yield asked


@pytest.fixture
def ask_securely(secure_site, alice):
    with asking(secure_site, alice) as asked:
        yield asked


GSSAPI_MECHS = {"SPNEGO": None, "Kerberos": gssapi.MechType.kerberos}


def gssapi_auth(**how):
    """It is sure of the server, or raises an error."""
    return HTTPSPNEGOAuth(mutual_authentication=requests_gssapi.REQUIRED, **how)


@pytest.mark.parametrize("mech", GSSAPI_MECHS.values(), ids=GSSAPI_MECHS)
@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
def test_requests_gssapi_signs_in(site, ask, path, mech):
    log = site.log()
    answer = ask(path, gssapi_auth(mech=mech))
    assert who(answer.json()) == KERBEROS
    assert log.decisions() == ["no-credentials", "signed-in"]


def test_requests_gssapi_signs_in_unasked(site, ask):
    log = site.log()
    for _ in range(2):
        assert who(ask("/", gssapi_auth(opportunistic_auth=True)).json()) == KERBEROS
    assert log.decisions() == ["signed-in"] * 2


@pytest.mark.parametrize("auth", [gssapi_auth, HTTPKerberosAuth], ids=["requests-gssapi", "requests-kerberos"])
@pytest.mark.parametrize("path, status", [("/static/none", 404), ("/forbidden/", 403)])
def test_requests_is_sure_of_the_server_that_has_nothing_for_it(site, ask, auth, path, status):
    """Else it would hide what the answer says."""
    answer = ask(path, auth())
    assert answer.status_code == status
    assert type(answer) is requests.Response
    assert answer.content


@pytest.mark.parametrize("auth", [gssapi_auth, HTTPKerberosAuth], ids=["requests-gssapi", "requests-kerberos"])
def test_requests_posts(ask, auth):
    body = bytes(10000)
    described = ask("/post", auth(), "POST", data=body).json()
    assert (who(described), described["sha256"]) == (KERBEROS, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("mech", GSSAPI_MECHS.values(), ids=GSSAPI_MECHS)
def test_requests_gssapi_sends_the_right_binding_if_it_shall(secure_site, ask_securely, mech):
    log = secure_site.log()
    for path in ("/", "/binding/require/"):
        answer = ask_securely(path, gssapi_auth(mech=mech, channel_bindings="tls-server-end-point"))
        assert who(answer.json()) == KERBEROS
    assert is_bound(log) is True
    assert ask_securely("/binding/require/", gssapi_auth(mech=mech)).status_code == 401
    # In SPNEGO it tries twice.
    assert set(log.refusals()) == {"missing-channel-binding"}


@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
def test_requests_kerberos_signs_in_and_sends_the_right_binding(site, ask, path):
    log = site.log()
    assert who(ask(path, HTTPKerberosAuth()).json()) == KERBEROS
    assert log.decisions() == ["no-credentials", "signed-in"]
    assert is_bound(log) == site.tls


def test_requests_kerberos_gets_in_where_a_binding_is_required(secure_site, ask_securely):
    assert who(ask_securely("/binding/require/", HTTPKerberosAuth()).json()) == KERBEROS
    assert ask_securely("/binding/require/", HTTPKerberosAuth(send_cbt=False)).status_code == 401


def test_requests_kerberos_signs_in_unasked(site, ask):
    log = site.log()
    assert who(ask("/", HTTPKerberosAuth(force_preemptive=True)).json()) == KERBEROS
    assert log.decisions() == ["signed-in"]


# pyspnego

OPTIONS = {
    "Kerberos": ("kerberos", spnego.NegotiateOptions.none),
    "SPNEGO of the library": ("negotiate", spnego.NegotiateOptions.none),
    "SPNEGO of its own": ("negotiate", spnego.NegotiateOptions.use_negotiate),
}


@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
@pytest.mark.parametrize("protocol, options", OPTIONS.values(), ids=OPTIONS)
def test_pyspnego_signs_in_and_is_sure_of_the_server(site, alice, protocol, options, path):
    log = site.log()
    with environment(**alice.variables), Connection(site) as connection:
        client = spnego.client(hostname=site.host, service="HTTP", protocol=protocol, options=options)
        answer = connection.request(path, shown(client.step()))
        assert_signed_in(answer)
        assert not client.complete
        assert not client.step(last_token(answer))
        assert client.complete
        assert client.negotiated_protocol == "kerberos"
    assert log.refusals() == []


@pytest.mark.parametrize("protocol, options", OPTIONS.values(), ids=OPTIONS)
def test_pyspnego_is_bound(secure_site, certificates, alice, protocol, options):
    log = secure_site.log()
    bindings = GssChannelBindings(application_data=end_point(certificates.leaf))
    with environment(**alice.variables), Connection(secure_site) as connection:
        client = spnego.client(hostname=secure_site.host, service="HTTP", protocol=protocol, options=options,
                               channel_bindings=bindings)
        answer = connection.request("/binding/require/", shown(client.step()))
        assert_signed_in(answer)
        client.step(last_token(answer))
        assert client.complete
    assert is_bound(log) is True


# impacket

@pytest.fixture(scope="module")
def impacket_ticket(alice):
    """As impacket finds it in a cache."""
    alice.token()
    return CCache.loadFile(str(alice.cache)).getCredential(f"HTTP/127.0.0.1@{REALM}", anySPN=False).toTGS()


def impacket_token(ticket, dce_style=False, realm=REALM):
    """NegTokenInit with Microsoft's number for Kerberos, and a token with Kerberos' own.

    impacket means it for DCOM, whose clients have a third token to send.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not dce_style:
            patch.setattr(kerberosv5, "GSS_C_DCE_STYLE", 0)
        _, _, token = kerberosv5.getKerberosType1("alice", "", realm, "", "", TGS=ticket, useCache=False)
    return token


@pytest.mark.parametrize("path", PATHS, ids=BESIDE)
def test_impacket_signs_in(site, impacket_ticket, path):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request(path, shown(impacket_token(impacket_ticket)))
        assert_signed_in(answer)
        response = NegTokenResp.of(last_token(answer))
        assert (response.state, response.mech) == (ACCEPT_COMPLETED, "ms-krb5")
    assert log.refusals() == []


def test_impacket_as_for_dcom_is_refused(site, impacket_ticket):
    log = site.log()
    with Connection(site) as connection:
        assert connection.request("/", shown(impacket_token(impacket_ticket, dce_style=True))).status == 401
        assert_signed_in(connection.request("/", shown(impacket_token(impacket_ticket))))
    assert log.refusals() == ["kerberos-refused"]


# Java

@pytest.fixture
def java_properties(alice, tmp_path):
    """What makes Java take the ticket from the user's cache."""
    (tmp_path / "login").write_text(f"""
        com.sun.security.jgss.krb5.initiate {{
            com.sun.security.auth.module.Krb5LoginModule required
                useTicketCache=true ticketCache="{alice.cache}" doNotPrompt=true;
        }};
    """)
    return {"java.security.krb5.conf": alice.krb5_conf, "java.security.auth.login.config": tmp_path / "login",
            "javax.security.auth.useSubjectCredsOnly": "false"}


def java_signs_in(program, site, properties, path, directory):
    """A GET and a POST."""
    log = site.log()
    body = bytes(index * 7 % 256 for index in range(10000))
    (directory / "body").write_bytes(body)
    got, posted = java(program, site, NOBODY, Ask(path), Ask(path, directory / "body", "buffered"),
                       properties=properties)
    assert (got.status, who(got.json)) == (200, KERBEROS)
    assert (posted.status, who(posted.json)) == (200, KERBEROS)
    assert posted.json["sha256"] == hashlib.sha256(body).hexdigest()
    assert log.refusals() == []
    assert is_bound(log) is False


def test_java_signs_in(site, java_properties, tmp_path):
    java_signs_in("UrlConnection", site, java_properties, "/", tmp_path)


@pytest.mark.parametrize("program", PROGRAMS)
def test_java_signs_in_beside_ntlm(plain_site, java_properties, tmp_path, program):
    java_signs_in(program, plain_site, java_properties, "/both/", tmp_path)
