"""Users of an Active Directory sign in: its domain controllers judge their responses, and are asked no more than once."""

import base64
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
import requests
import requests_ntlm
import spnego

import ad_world
import valgrind
from accounts import DOMAIN, LOCKOUT_THRESHOLD, PASSWORD, REALM, UMLAUT, WWW
from ad_world import AD_ALICE, AD_BOB, AD_UMLAUT
from conftest import make_server
from krb5_world import install
from ntlm_client import WRONG, Account, channel_binding, negotiate
from raw_http import Connection, authorization
from servers import DEADLINE, Httpd, Nginx, Site, until

KINDS = {"nginx": Nginx, "httpd": Httpd}
WORKER = "www-data"
# The reason, and what the domain controller says.
REFUSED = {
    "disabled": ("account-disabled", "ACCOUNT_DISABLED"),
    "expired": ("account-expired", "ACCOUNT_EXPIRED"),
    "mustchange": ("password-must-change", "PASSWORD_MUST_CHANGE"),
    "pwexpired": ("password-expired", "PASSWORD_EXPIRED"),
    "hours": ("logon-hours", "INVALID_LOGON_HOURS"),
    "elsewhere": ("logon-workstation", "INVALID_WORKSTATION"),
    "nobody": ("unknown-user", "NO_SUCH_USER"),
}


def member_server(kind, domain):
    """A server on the member, whose workers may have passwords checked."""

    class OnMember(kind):
        templates = "conf/winbind"

        def start(self, wrapper=()):
            (self.directory / "replays").mkdir()
            shutil.chown(self.directory / "replays", WORKER)
            keytab = (domain.keytabs / "http.keytab").read_bytes()
            self.values["KEYTAB"] = install(self.directory / "http.keytab", keytab)
            wrapper = valgrind.command(self.directory) if valgrind.UNDER_VALGRIND else []
            return super().start([*domain.member.prefix, *wrapper])

    return type(kind.__name__, (OnMember,), {})


@pytest.fixture(scope="module")
def running(domain, certificates):
    domain.member.allow(WORKER)
    with ExitStack() as stack:
        directory = stack.enter_context(ad_world.folder())
        with domain.member.network():
            yield {name: stack.enter_context(make_server(member_server(kind, domain), directory / name, certificates))
                   for name, kind in KINDS.items()}


@pytest.fixture(params=KINDS)
def server(request, running):
    return running[request.param]


@pytest.fixture(autouse=True)
def on_the_member(domain):
    """What a test connects to is there."""
    with domain.member.network():
        yield


def shape(answer):
    """All of an answer that a client sees, but the time."""
    return answer.status, [(name, value) for name, value in answer.headers.items() if name != "Date"], answer.body


# Who signs in

@pytest.mark.parametrize("account", [AD_ALICE, AD_UMLAUT], ids=["alice", "umlaut"])
@pytest.mark.parametrize("mic", [False, True], ids=["without MIC", "with MIC"])
def test_a_response_signs_in(site, account, mic):
    log = site.log()
    with Connection(site) as connection:
        assert connection.sign_in(account, mic=mic).user == account.name
        assert connection.request("/again").user == account.name
    assert log.refusals() == []


@pytest.mark.parametrize("typed", [
    Account("adtest", "ALICE", PASSWORD), Account("", "alice", PASSWORD), Account("ad.example.test", "alice", PASSWORD),
    Account("", "alice@ad.example.test", PASSWORD)], ids=lambda account: account.name)
def test_a_user_has_the_name_of_the_domain_whatever_was_typed(plain_site, typed):
    with Connection(plain_site) as connection:
        assert connection.sign_in(typed, mic=True).user == AD_ALICE.name


def test_curl_signs_in(site, domain):
    done = domain.member.run(["curl", "--silent", "--insecure", "--ntlm", "--user", AD_ALICE.credentials, site.url()])
    assert '"user": "ADTEST\\\\alice"' in done.stdout


@pytest.mark.parametrize("account", [AD_ALICE, AD_UMLAUT], ids=["alice", "umlaut"])
@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
def test_pyspnego_signs_in_raw_and_in_spnego(plain_site, account, protocol):
    """Inside SPNEGO both sides sign the list of mechanisms: with the key that winbindd told."""
    options = {"ntlm": spnego.NegotiateOptions.use_ntlm, "negotiate": spnego.NegotiateOptions.use_negotiate}[protocol]
    client = spnego.client(account.name, account.password, hostname=WWW, protocol=protocol, options=options)
    with Connection(plain_site) as connection:
        answer, token = None, client.step()
        while token:
            answer = connection.request("/", authorization(token, "Negotiate"))
            token = None if client.complete else client.step(last_token(answer))
        assert answer.user == account.name
    assert client.complete


def last_token(answer):
    """The token of the Negotiate challenge, on a 401 and on what follows."""
    tokens = [value.split(" ", 1)[1] for value in answer.challenges if value.startswith("Negotiate ")]
    return base64.b64decode(tokens[0]) if tokens else None


@pytest.mark.parametrize("account", [AD_ALICE, AD_UMLAUT], ids=["alice", "umlaut"])
def test_requests_ntlm_signs_in(plain_site, account):
    authentication = requests_ntlm.HttpNtlmAuth(account.name, account.password)
    answer = requests.get(plain_site.url(), auth=authentication, timeout=DEADLINE)
    assert answer.json()["user"] == account.name


@pytest.mark.parametrize("user", ["alice", UMLAUT])
def test_a_ticket_and_a_password_make_the_same_user(plain_site, domain, user, tmp_path):
    cache = tmp_path / "cache"
    domain.member.kinit(user, cache=cache)
    script = ("import gssapi, base64, sys\n"
              f"name = gssapi.Name('HTTP/{WWW}@{REALM}', gssapi.NameType.kerberos_principal)\n"
              "print(base64.b64encode(gssapi.SecurityContext(name=name, usage='initiate').step()).decode())\n")
    token = domain.member.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KRB5CCNAME": f"FILE:{cache}",
             "KRB5_CONFIG": str(domain.member.krb5_conf)}).stdout
    with Connection(plain_site) as connection:
        answer = connection.request("/both/", authorization(base64.b64decode(token), "Negotiate"))
        assert (answer.user, answer.json["negotiate"]["mechanism"]) == (f"{DOMAIN}\\{user}", "kerberos")
    with Connection(plain_site) as connection:
        answer = connection.sign_in(Account(DOMAIN, user, PASSWORD), "/both/")
        assert (answer.user, answer.json["negotiate"]["mechanism"]) == (f"{DOMAIN}\\{user}", "ntlm")


# Who does not

@pytest.fixture
def wrong_password(plain_site, domain):
    """What a client sees who has the wrong password."""
    with Connection(plain_site) as connection:
        answer = connection.sign_in(AD_BOB.with_password("wrong"), mic=True)
    domain.unlock("bob")
    assert answer.status == 401
    return shape(answer)


@pytest.mark.parametrize("user, why", REFUSED.items(), ids=REFUSED)
def test_who_may_not_sign_in_looks_like_a_wrong_password(plain_site, wrong_password, user, why):
    reason, status = why
    log = plain_site.log()
    with Connection(plain_site) as connection:
        assert shape(connection.sign_in(Account(DOMAIN, user, PASSWORD), mic=True)) == wrong_password
        assert connection.request().status == 401
    (line,) = log.lines(f": {reason}:|{reason}: user")
    # httpd escapes the backslash once more.
    assert re.search(rf'user "{DOMAIN}\\+{user}" \(NT_STATUS_{status}\): ', line), line


def test_three_wrong_passwords_count_three_and_lock(plain_site, domain):
    log = plain_site.log()
    locked = Account(DOMAIN, "locked", PASSWORD)
    for count in range(LOCKOUT_THRESHOLD):
        assert domain.bad_pwd_count("locked") == count
        with Connection(plain_site) as connection:
            assert connection.sign_in(locked.with_password("wrong")).status == 401
    assert domain.is_locked("locked")
    with Connection(plain_site) as connection:
        assert connection.sign_in(locked).status == 401
    assert log.refusals() == ["wrong-response"] * LOCKOUT_THRESHOLD + ["account-locked-out"]
    domain.unlock("locked")
    with Connection(plain_site) as connection:
        assert connection.sign_in(locked).user == locked.name


def ntlmv1(challenge):
    """An AUTHENTICATE whose NT response has 24 octets."""
    message = AD_BOB.with_password("wrong").authenticate(challenge)
    length, offset = int.from_bytes(message[20:22], "little"), int.from_bytes(message[24:28], "little")
    assert length > 24
    return message[:20] + (24).to_bytes(2, "little") * 2 + offset.to_bytes(4, "little") + message[28:]


HOPELESS = {
    "ntlmv1-refused": ("http", "/", lambda challenge: ntlmv1(challenge)),
    "av-mismatch": ("http", "/", lambda challenge: AD_BOB.with_password("wrong").authenticate(
        challenge, drop_av=(2,))),
    "wrong-channel-binding": ("https", "/", lambda challenge: AD_BOB.with_password("wrong").authenticate(
        challenge, binding=WRONG)),
    "missing-channel-binding": ("https", "/bound/", lambda challenge: AD_BOB.with_password("wrong").authenticate(
        challenge)),
}


@pytest.mark.parametrize("reason, case", HOPELESS.items(), ids=HOPELESS)
def test_the_domain_is_not_asked_about_what_cannot_be_good(server, domain, reason, case):
    scheme, path, make = case
    site = Site(server, scheme)
    log = site.log()
    with Connection(site) as connection:
        token = make(connection.challenge(path))
        assert connection.request(path, authorization(token)).status == 401
    assert log.refusals() == [reason]
    assert domain.bad_pwd_count("bob") == 0


@pytest.mark.parametrize("scheme, path", [("http", "/"), ("https", "/"), ("https", "/bound/")])
def test_an_lm_response_proves_nothing(server, domain, certificates, scheme, path):
    """Domain controllers take LMv2 where NTLMv2 is wrong: then nobody has signed the AV pairs, bindings among them."""
    site = Site(server, scheme)
    log = site.log()
    with Connection(site) as connection:
        challenge = connection.challenge(path)
        token = AD_BOB.authenticate(challenge, binding=channel_binding(certificates.leaf), proof=os.urandom(16),
                                    lm_response=AD_BOB.lmv2_response(challenge))
        assert connection.request(path, authorization(token)).status == 401
        assert connection.request(path).status == 401
    assert log.refusals() == ["wrong-response"]
    assert domain.bad_pwd_count("bob") == 1
    domain.unlock("bob")


@pytest.mark.parametrize("lm_response", [b"", bytes(24), b"nonsense"], ids=["none", "zeros", "nonsense"])
def test_no_lm_response_is_needed(plain_site, lm_response):
    with Connection(plain_site) as connection:
        token = AD_ALICE.authenticate(connection.challenge(), mic=True, lm_response=lm_response)
        assert connection.request("/", authorization(token)).user == AD_ALICE.name


@pytest.mark.parametrize("of_all", ["BUILTIN", "NT Authority"])
def test_nobody_is_of_a_domain_that_every_computer_has(plain_site, of_all):
    """winbindd would say that it has no domain controllers, which is not for strangers to say."""
    log = plain_site.log()
    with Connection(plain_site) as connection:
        assert connection.sign_in(Account(of_all, "alice", PASSWORD), mic=True).status == 401
    assert log.refusals() == ["unknown-user"]


def test_a_right_binding_signs_in(server, certificates):
    site = Site(server, "https")
    with Connection(site) as connection:
        answer = connection.sign_in(AD_ALICE, "/bound/", binding=channel_binding(certificates.leaf), mic=True)
        assert answer.user == AD_ALICE.name


def test_a_changed_message_is_refused_although_the_password_is_right(plain_site):
    log = plain_site.log()
    with Connection(plain_site) as connection:
        token = bytearray(AD_ALICE.authenticate(connection.challenge(), mic=True))
        token[72] ^= 1
        assert connection.request("/", authorization(bytes(token))).status == 401
    assert log.refusals() == ["wrong-mic"]


def test_a_response_is_good_on_its_own_connection_only(plain_site):
    log = plain_site.log()
    with Connection(plain_site) as one, Connection(plain_site) as other:
        token = AD_ALICE.authenticate(one.challenge())
        other.challenge()
        assert other.request("/", authorization(token)).status == 401
        assert one.request("/", authorization(token)).user == AD_ALICE.name
        assert one.request("/", authorization(token)).status == 401
    assert log.refusals() == ["av-mismatch", "out-of-sequence"]


# The member's own state

def test_who_is_signed_in_stays_so_without_winbindd(plain_site, domain):
    with Connection(plain_site) as known, Connection(plain_site) as unknown:
        assert known.sign_in(AD_ALICE).user == AD_ALICE.name
        log = plain_site.log()
        with domain.fault("winbindd stopped"):
            assert known.request("/still").user == AD_ALICE.name
            assert unknown.sign_in(AD_BOB).status == 401
            assert log.refusals() == ["winbind-unavailable"]
        assert unknown.sign_in(AD_BOB).user == AD_BOB.name


@pytest.mark.parametrize("fault", ["account deleted", "password wrong", "clock off"])
def test_what_is_wrong_with_the_member_is_no_wrong_password(domain, certificates, fault):
    """In a server that has not asked yet: it asks no more than once a minute."""
    with domain.fault(fault), ad_world.folder() as directory:
        kind = member_server(Nginx, domain)
        with make_server(kind, directory / "nginx", certificates) as server:
            site = Site(server, "http")
            log = site.log()

            def refused():
                with Connection(site) as connection:
                    # A 503, as long as winbindd takes to find out.
                    return connection.sign_in(AD_ALICE).status == 401
            until(refused, "winbindd to know")
            assert log.refusals()[-1] == "broken-trust"


def test_a_server_without_the_right_to_ask_says_how_to_give_it(domain, certificates):
    domain.member.deny(WORKER)
    try:
        with ad_world.folder() as directory:
            with make_server(member_server(Nginx, domain), directory / "nginx", certificates) as server:
                site = Site(server, "http")
                log = site.log()
                with Connection(site) as connection:
                    assert connection.sign_in(AD_ALICE).status == 401
                (line,) = log.lines("not-privileged")
                assert "usermod -aG winbindd_priv" in line
    finally:
        domain.member.allow(WORKER)


def test_a_server_that_starts_before_winbindd_needs_no_reload(domain, certificates):
    with ad_world.folder() as directory, ExitStack() as stack:
        with domain.fault("winbindd stopped"):
            kind = member_server(Nginx, domain)
            server = stack.enter_context(make_server(kind, directory / "nginx", certificates))
            site = Site(server, "http")
            log = site.log()
            with Connection(site) as connection:
                assert connection.request("/", authorization(negotiate())).status == 401
            assert log.refusals() == ["winbind-unavailable"]
        with Connection(site) as connection:
            assert connection.sign_in(AD_ALICE).user == AD_ALICE.name


def test_a_reload_loses_nobody(server):
    site = Site(server, "http")
    log = site.log()
    with Connection(site) as early:
        challenge = early.challenge()
        server.reload(wait_for_old=False)
        with Connection(site) as late:
            assert late.sign_in(AD_BOB).user == AD_BOB.name
        # httpd closes connections between two requests.
        if server.name == "nginx":
            answer = early.request("/", authorization(AD_ALICE.authenticate(challenge)))
            assert answer.user == AD_ALICE.name
    assert log.refusals() == []


# Configuration

@pytest.mark.parametrize("name", KINDS)
def test_a_domain_beside_winbind_is_an_error_with_its_place(running, name):
    server = running[name]
    directive = {"nginx": "    auth_negotiate_domain MINE;\n    auth_negotiate on;", "httpd":
                 "    NegotiateDomain MINE\n    NegotiateAccounts winbind"}[name]
    plain = {"nginx": "    auth_negotiate on;", "httpd": "    NegotiateAccounts winbind"}[name]
    status, said = server.test(server.configuration.read_text().replace(plain, directive, 1))
    assert status != 0
    assert re.search(r'option "domain": with "accounts winbind"', said), said
    assert f"tested-{name}.conf:" in said


def loaded(library):
    """The file that a program gets."""
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print(open('/proc/self/maps').read())"
    maps = subprocess.run([sys.executable, "-c", script, library], capture_output=True, text=True, check=True).stdout
    return re.search(rf"/\S*/{re.escape(library)}\S*$", maps, re.MULTILINE)[0]


@pytest.mark.parametrize("name", KINDS)
def test_without_libwbclient_only_winbind_is_an_error(running, name, tmp_path):
    """The library is covered by an empty file, for this program alone."""
    server = running[name]
    text = server.configuration.read_text()
    with_file = text.replace("winbind;", f"file:{server.directory}/accounts;").replace(
        "Accounts winbind", f"Accounts file:{server.directory}/accounts")
    empty = tmp_path / "empty"
    empty.touch()
    library = loaded("libwbclient.so.0")
    hidden = ["unshare", "--mount", "sh", "-c", f'mount --bind {empty} {library} && exec "$@"', "sh"]
    for configuration, works in ((text, False), (with_file, True)):
        path = server.directory / f"hidden-{name}.conf"
        path.write_text(configuration)
        done = subprocess.run([*hidden, *server.command(path), "-t"], capture_output=True, text=True, timeout=DEADLINE,
                              env=server.environment(for_test=True))
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == works, said
        if not works:
            assert "libwbclient0" in said and f"hidden-{name}.conf:" in said, said
