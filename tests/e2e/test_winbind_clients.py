"""Programs that sign in to a member of an Active Directory: on nginx, old and new, and httpd, by Kerberos and by NTLM.

They run on the member itself, where www.ad.example.test is the server's name.
"""

import json
import sys
from contextlib import ExitStack

import pytest
from impacket.krb5.ccache import CCache

import ad_world
from accounts import DOMAIN, PASSWORD, REALM, UMLAUT, WWW
from ad_world import AD_ALICE, AD_UMLAUT
from chromium import Chromium
from conftest import SERVERS, make_server
from krb5_client import environment, shown
from ntlm_client import ABSENT, WRONG, ZERO, Account, channel_binding
from raw_http import Connection, authorization
from servers import Site, until
from test_clients import Impacket
from test_kerberos_clients import impacket_token
from test_winbind import WORKER, member_server

USERS = [AD_ALICE, AD_UMLAUT]
NAMES = ["alice", "umlaut"]


@pytest.fixture(scope="module")
def running(domain, certificates):
    domain.member.allow(WORKER)
    with ExitStack() as stack:
        directory = stack.enter_context(ad_world.folder())
        with domain.member.network():
            yield {name: stack.enter_context(make_server(member_server(kind, domain), directory / name, certificates))
                   for name, kind in SERVERS.items()}


@pytest.fixture(autouse=True)
def on_the_member(domain):
    with domain.member.network():
        yield


@pytest.fixture(scope="module")
def tickets(domain):
    """What makes libkrb5 find the ticket of a user, for each of them."""
    with ad_world.folder() as folder:
        variables = {}
        for account in USERS:
            cache = folder / account.user.encode().hex()
            domain.member.kinit(account.user, cache=cache)
            variables[account.user] = {"KRB5CCNAME": f"FILE:{cache}", "KRB5_CONFIG": str(domain.member.krb5_conf)}
            with environment(**variables[account.user]):
                domain.member.run(["kvno", f"HTTP/{WWW}"])
        yield variables


def address(site, path):
    return f"{site.scheme}://{WWW}:{site.port}{path}"


def who(described):
    return described["user"], described["negotiate"]["mechanism"]


def run(domain, command, variables=None):
    """The JSON that a program on the member gets."""
    with environment(**variables or {}):
        done = domain.member.run(list(map(str, command)), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def python(domain, script, *arguments, variables=None):
    return run(domain, [sys.executable, "-W", "ignore", "-c", script, *arguments], variables)


# curl

def test_curl_signs_in_by_ntlm(site, domain):
    """It knows names in ASCII only."""
    described = run(domain, ["curl", "--silent", "--insecure", "--ntlm", "--user", AD_ALICE.credentials,
                             address(site, "/both/")])
    assert who(described) == (AD_ALICE.name, "ntlm")


@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_curl_with_gss_ntlmssp_signs_in_by_ntlm(site, domain, account, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text(f"{account.domain}:{account.user}:{account.password}\n")
    variables = {"NTLM_USER_FILE": passwords, "KRB5CCNAME": f"FILE:{tmp_path}/none"}
    described = run(domain, ["curl", "--silent", "--insecure", "--negotiate", "--user", f"{account.name}:",
                             address(site, "/both/")], variables)
    assert who(described) == (account.name, "ntlm")


@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_curl_signs_in_by_a_ticket(site, domain, tickets, account):
    described = run(domain, ["curl", "--silent", "--insecure", "--negotiate", "--user", ":", address(site, "/both/")],
                    tickets[account.user])
    assert who(described) == (account.name, "kerberos")


# requests

BY_NTLM = """import requests, requests_ntlm, sys
url, user, password = sys.argv[1:]
answer = requests.get(url, auth=requests_ntlm.HttpNtlmAuth(user, password), verify=False, timeout=20)
assert answer.status_code == 200, answer
print(answer.text)
"""
BY_TICKET = """import requests, sys
from {module} import {name}
answer = requests.get(sys.argv[1], auth={name}(), verify=False, timeout=20)
assert answer.status_code == 200, answer
print(answer.text)
"""
BY_TICKETS = {
    "requests-gssapi": BY_TICKET.format(module="requests_gssapi", name="HTTPSPNEGOAuth"),
    "requests-kerberos": BY_TICKET.format(module="requests_kerberos", name="HTTPKerberosAuth"),
}


@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_requests_ntlm_signs_in(site, domain, account):
    """Over TLS where its binding is required, too."""
    for path in ["/both/"] + ["/bound/"] * site.tls:
        described = python(domain, BY_NTLM, address(site, path), account.name, account.password)
        assert who(described) == (account.name, "ntlm")


@pytest.mark.parametrize("program", BY_TICKETS)
@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_requests_signs_in_by_a_ticket(site, domain, tickets, program, account):
    described = python(domain, BY_TICKETS[program], address(site, "/both/"), variables=tickets[account.user])
    assert who(described) == (account.name, "kerberos")


# pyspnego and impacket, which make tokens

TOKEN = """import base64, json, spnego, sys
client = spnego.client(hostname=sys.argv[1], service="HTTP", protocol=sys.argv[2],
                       options=getattr(spnego.NegotiateOptions, sys.argv[3]))
print(json.dumps(base64.b64encode(client.step()).decode()))
"""


@pytest.mark.parametrize("protocol, options", [("kerberos", "use_gssapi"), ("negotiate", "use_negotiate")])
@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_pyspnego_signs_in_by_a_ticket(plain_site, domain, tickets, protocol, options, account):
    token = python(domain, TOKEN, WWW, protocol, options, variables=tickets[account.user])
    with Connection(plain_site) as connection:
        answer = connection.request("/both/", ("Authorization", f"Negotiate {token}"))
        assert who(answer.json) == (account.name, "kerberos")


@pytest.mark.parametrize("mic", [False, True], ids=["no MIC", "MIC"])
@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_impacket_signs_in_by_ntlm(site, account, mic):
    with Connection(site) as connection:
        assert Impacket(account, mic=mic).sign_in(connection).user == account.name


def test_impacket_signs_in_by_a_ticket(plain_site, tickets):
    cache = tickets[AD_ALICE.user]["KRB5CCNAME"].removeprefix("FILE:")
    ticket = CCache.loadFile(cache).getCredential(f"HTTP/{WWW}@{REALM}", anySPN=False).toTGS()
    with Connection(plain_site) as connection:
        answer = connection.request("/both/", shown(impacket_token(ticket, realm=REALM)))
        assert who(answer.json) == (AD_ALICE.name, "kerberos")


# Chromium

@pytest.fixture(scope="module")
def chromium(domain, tickets, tmp_path_factory):
    """Starts a browser on the member, which may show a ticket there if it has one."""
    with ExitStack() as stack, domain.member.network():
        def start(variables):
            with environment(**variables):
                return stack.enter_context(Chromium(
                    tmp_path_factory.mktemp("chromium"), f"--auth-server-allowlist={WWW}",
                    prefix=domain.member.prefix))

        yield start


@pytest.fixture(scope="module")
def chromium_with_ticket(chromium, tickets, running):
    """It loads the library of Kerberos when it is first asked for a ticket, and meanwhile knows none."""
    browser = chromium(tickets[AD_ALICE.user])

    def signs_in():
        with browser.page() as page:
            return page.open(address(Site(running["nginx"], "http"), "/both/"))[0] == 200

    until(signs_in, "Chromium to load the library")
    return browser


@pytest.fixture(scope="module")
def chromium_without_ticket(chromium):
    return chromium({"KRB5CCNAME": "FILE:/nonexistent"})


def test_chromium_signs_in_by_a_ticket_without_asking(site, chromium_with_ticket):
    with chromium_with_ticket.page() as page:
        status, described = page.open(address(site, "/both/"))
        assert (status, who(described), page.asked) == (200, (AD_ALICE.name, "kerberos"), 0)


@pytest.mark.parametrize("account", USERS, ids=NAMES)
def test_chromium_signs_in_by_ntlm(site, chromium_without_ticket, account):
    with chromium_without_ticket.page() as page:
        page.credentials = (account.name, account.password)
        status, described = page.open(address(site, "/both/"))
        assert (status, who(described), page.asked) == (200, (account.name, "ntlm"), 1)


# Bindings

BINDINGS = {"right": None, "absent": ABSENT, "zero": ZERO, "wrong": WRONG}
WRONG_ONES = dict.fromkeys(["zero", "wrong"], ["wrong-channel-binding"])
VERDICTS = {
    "/both/": {"right": [], "absent": [], **WRONG_ONES},
    "/bound/": {"right": [], "absent": ["missing-channel-binding"], **WRONG_ONES},
    "/unbound/": dict.fromkeys(BINDINGS, []),
}


@pytest.mark.parametrize("sent", BINDINGS)
@pytest.mark.parametrize("path", VERDICTS, ids=["allow", "require", "off"])
def test_bindings_count_for_a_domain_as_for_a_file(secure_site, certificates, path, sent):
    binding = channel_binding(certificates.leaf) if sent == "right" else BINDINGS[sent]
    log = secure_site.log()
    with Connection(secure_site) as connection:
        answer = connection.sign_in(AD_ALICE, path, binding=binding, mic=True)
        assert answer.status == (401 if VERDICTS[path][sent] else 200)
    assert log.refusals() == VERDICTS[path][sent]


# What the domain is not asked, or does not say

REFUSED = {
    "anonymous-refused": lambda challenge: AD_ALICE.anonymous(),
    "wrong-response": lambda challenge: Account(DOMAIN, "Guest", "").authenticate(challenge, mic=True),
    "missing-mic": lambda challenge: AD_ALICE.authenticate(challenge, promise=True),
}


@pytest.mark.parametrize("reason, make", REFUSED.items(), ids=["nobody", "guest", "a MIC that is not there"])
def test_who_is_refused_looks_like_a_wrong_password(plain_site, domain, reason, make):
    log = plain_site.log()
    with Connection(plain_site) as connection:
        answer = connection.request("/", authorization(make(connection.challenge())))
        wrong = connection.sign_in(Account(DOMAIN, "carol", "wrong"))
    domain.unlock("carol")
    shape = [(one.status, one.challenges, one.body) for one in (answer, wrong)]
    assert shape[0] == shape[1] and shape[0][0] == 401
    assert log.refusals() == [reason, "wrong-response"]


def test_a_right_password_counts_nothing(plain_site, domain):
    with Connection(plain_site) as connection:
        assert connection.sign_in(Account(DOMAIN, "carol", "wrong")).status == 401
    assert domain.bad_pwd_count("carol") == 1
    for _ in range(2):
        with Connection(plain_site) as connection:
            assert connection.sign_in(Account(DOMAIN, "carol", PASSWORD)).user == f"{DOMAIN}\\carol"
        assert domain.bad_pwd_count("carol") == 0


def test_sign_ins_go_on_while_the_server_reads_its_configuration_anew(plain_site):
    log = plain_site.log()
    for _ in range(3):
        plain_site.server.reload(wait_for_old=False)
        for account in USERS * 2:
            with Connection(plain_site) as connection:
                assert connection.sign_in(account, mic=True).user == account.name
    assert log.refusals() == []
