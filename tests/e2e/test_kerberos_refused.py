"""Tickets that sign nobody in: each with its own reason in the log, and with an answer that its client understands."""

import base64
import contextlib
import re
import shutil
from dataclasses import dataclass
from typing import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from http2_client import Http2
from krb5_client import (
    AES256, ANONYMOUS, BAD_INTEGRITY, BADKEYVER, BADMATCH, DES, DES3, ETYPE_NOSUPP, GENERIC, HOUR, INTEGRITY, INVALID,
    MUTUAL, NOT_US, RC4, REJECT, REPEAT, SKEW, TKT_EXPIRED, TKT_NYV, USUAL, Key, NegTokenResp, User, ap_req,
    assert_signed_in, bits, der, flipped, framed, integer, krb_error_code, last_token, neg_token_init, neg_token_resp,
    octets, read, read_cache, shown, text, tls_binding, with_offset)
from krb5_world import OTHER_REALM, RC4_SERVICE, REALM, ROTATED, SERVICE, processes
from raw_http import Connection
from servers import IS_ROOT, Site, until


@pytest.fixture(scope="module")
def running(running_with_kerberos):
    return running_with_kerberos


class Forged:
    """A client that shows what a test made, and cannot read an answer."""

    def __init__(self, token):
        self.token = token

    def step(self):
        return self.token


class Cast:
    """Everybody whose ticket is not good."""

    def __init__(self, realms, alice, directory):
        self.realms, self.alice, self.directory = realms, alice, directory
        self.other = realms.user("alice", "elsewhere", realms.other)
        # With a ticket from when its clock was right.
        alice.token()
        self.ahead = User(alice.krb5_conf, with_offset(alice.cache, directory / "ahead", 600))
        early = realms.user("alice", "early", options=("-s", "2h", "-S", SERVICE))
        self.postdated = next(ticket for ticket in read_cache(early.cache) if ticket.service == f"{SERVICE}@{REALM}")

    def by(self, user, service=SERVICE):
        return lambda mutual: user.initiator(service, flags=MUTUAL | INTEGRITY if mutual else INTEGRITY)

    def forged(self, request=None, **ticket):
        return lambda mutual: Forged(ap_req(self.realms.forger().ticket(**ticket), mutual=mutual, **(request or {})))

    def taken_from_the_library(self, ticket):
        """Which would not use it itself."""
        return lambda mutual: Forged(ap_req(ticket, mutual=mutual))


@pytest.fixture(scope="module")
def cast(realms, alice, tmp_path_factory):
    return Cast(realms, alice, tmp_path_factory.mktemp("cast"))


@dataclass
class Case:
    reason: str
    code: int
    # Gives a function that makes a client, which wants to be sure of the server or does not.
    client: Callable
    path: str = "/"
    # What the log says of the ticket.
    ticket: str = f"ticket for {SERVICE}@{REALM}, kvno 1, aes256-cts-hmac-sha1-96"
    # What the client's library says, if it is a library.
    words: str = None


def of(service, kvno=1, enctype="aes256-cts-hmac-sha1-96", realm=REALM):
    return f"ticket for {service}@{realm}, kvno {kvno}, {enctype}"


CASES = {
    "another service": Case(
        "wrong-service-name", NOT_US, lambda cast: cast.by(cast.alice, "HTTP/elsewhere.demo.test"),
        ticket=of("HTTP/elsewhere.demo.test"), words="The ticket isn't for us"),
    "a service that is not HTTP": Case(
        "wrong-service-name", NOT_US, lambda cast: cast.by(cast.alice, "host/127.0.0.1"), ticket=of("host/127.0.0.1")),
    "another realm": Case(
        "wrong-service-name", NOT_US, lambda cast: cast.by(cast.other), ticket=of(SERVICE, realm=OTHER_REALM)),
    "not the service that counts here": Case(
        "wrong-service-name", NOT_US, lambda cast: cast.by(cast.alice, "HTTP/localhost"), "/service/name/",
        of("HTTP/localhost")),
    "not the host of the request": Case(
        "wrong-service-name", NOT_US, lambda cast: cast.by(cast.alice, "HTTP/localhost"), "/service/host/",
        of("HTTP/localhost")),
    "a key of before, which was thrown away": Case(
        "wrong-kvno", BADKEYVER, lambda cast: cast.by(cast.realms.outdated, ROTATED), "/keys/rotated/", of(ROTATED)),
    "a new key, which has not come": Case(
        "wrong-kvno", BADKEYVER, lambda cast: cast.by(cast.alice, ROTATED), "/keys/outdated/", of(ROTATED, 2),
        "Key version is not available"),
    "another key of that version": Case(
        "wrong-key", BAD_INTEGRITY, lambda cast: cast.by(cast.alice), "/keys/wrong/",
        words="Decrypt integrity check failed"),
    "no key of that enctype": Case(
        "wrong-enctype", None, lambda cast: cast.by(cast.alice), "/keys/partial/"),
    "RC4": Case(
        "weak-enctype", ETYPE_NOSUPP, lambda cast: cast.by(cast.alice, RC4_SERVICE), "/rc4/off/",
        of(RC4_SERVICE, enctype="arcfour-hmac")),
    "RC4 between client and server": Case(
        "weak-enctype", ETYPE_NOSUPP, lambda cast: cast.forged(session=RC4)),
    "DES": Case(
        "weak-enctype", ETYPE_NOSUPP, lambda cast: cast.forged(key=Key.random(DES)), ticket=of(SERVICE, enctype=".*")),
    "DES where RC4 is allowed": Case(
        "weak-enctype", ETYPE_NOSUPP, lambda cast: cast.forged(key=Key.random(DES)), "/rc4/on/",
        of(SERVICE, enctype=".*")),
    "triple DES": Case(
        "weak-enctype", ETYPE_NOSUPP, lambda cast: cast.forged(key=Key.random(DES3)),
        ticket=of(SERVICE, enctype="des3-cbc-sha1")),
    "expired": Case("ticket-expired", TKT_EXPIRED, lambda cast: cast.forged(start=-2 * HOUR, end=-HOUR)),
    "of tomorrow": Case("ticket-not-yet-valid", TKT_NYV, lambda cast: cast.forged(start=HOUR, end=2 * HOUR)),
    "postdated": Case(
        "ticket-not-yet-valid", TKT_NYV, lambda cast: cast.taken_from_the_library(cast.postdated)),
    "a clock 10 minutes ahead": Case(
        "clock-skew", SKEW, lambda cast: cast.by(cast.ahead), words="Clock skew too great"),
    "a clock 10 minutes behind": Case("clock-skew", SKEW, lambda cast: cast.forged({"skew": -600})),
    "nobody": Case(
        "anonymous-refused", GENERIC,
        lambda cast: cast.forged(client="WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", flags=USUAL | ANONYMOUS)),
    "nobody of this realm": Case(
        "anonymous-refused", GENERIC, lambda cast: cast.forged(client=f"WELLKNOWN/ANONYMOUS@{REALM}")),
    "a name that would break lines": Case(
        "bad-name", GENERIC, lambda cast: cast.forged(client=f"al\rice@{REALM}")),
    "a name that turns around": Case(
        "bad-name", GENERIC, lambda cast: cast.forged(client=f"al\u202eice@{REALM}")),
    "a name without end": Case("bad-name", GENERIC, lambda cast: cast.forged(client=f"{'a' * 5000}@{REALM}")),
    "the ticket of somebody else": Case(
        "kerberos-refused", BADMATCH, lambda cast: cast.forged({"client": f"bob@{REALM}"})),
    "a ticket that was not validated": Case(
        "kerberos-refused", None, lambda cast: cast.forged(flags=USUAL | INVALID)),
}
REFUSED = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def refuse(site, case, token):
    """Sends a token and checks what the log says of it. Returns the answer."""
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request(case.path, shown(token))
        assert answer.status == 401
        assert connection.request(case.path).status == 401
    assert log.refusals() == [case.reason]
    (line,) = log.lines(f" {case.reason}: ")
    assert re.search(rf"{re.escape(case.ticket)}(\b|$)".replace(r"\.\*", ".*"), line), line
    return answer


@REFUSED
def test_a_client_by_itself_learns_why(site, cast, case):
    client = case.client(cast)(True)
    answer = refuse(site, case, client.step())
    token = last_token(answer)
    assert krb_error_code(token) == (case.code or krb_error_code(token))
    if case.words:
        assert case.words in client.error_of(token)


@REFUSED
def test_a_client_in_spnego_learns_why(plain_site, cast, case):
    answer = refuse(plain_site, case, neg_token_init(["krb5", "ntlm"], case.client(cast)(True).step()))
    response = NegTokenResp.of(last_token(answer))
    assert (response.state, response.mech, response.mic) == (REJECT, "krb5", None)
    assert krb_error_code(response.token) == (case.code or krb_error_code(response.token))


@REFUSED
def test_a_client_that_does_not_ask_learns_nothing(plain_site, cast, case):
    answer = refuse(plain_site, case, case.client(cast)(False).step())
    assert answer.challenges == ["Negotiate"]


@pytest.mark.parametrize("name", ["another service", "a clock 10 minutes ahead", "expired"])
def test_a_client_on_a_stream_learns_why(secure_site, cast, name):
    case = CASES[name]
    log = secure_site.log()
    with Http2(secure_site) as connection:
        answer = connection.request(case.path, shown(case.client(cast)(True).step()))
        assert answer["status"] == 401
        assert krb_error_code(last_token(answer)) == case.code
        assert connection.request(case.path, shown(cast.alice.token()))["status"] == 200
    assert log.refusals() == [case.reason]


@pytest.mark.parametrize("name", ["a clock 10 minutes ahead", "another service"])
def test_libgssapi_reads_the_error_in_spnego_too(site, cast, name):
    case = CASES[name]
    service = SERVICE if name != "another service" else "HTTP/elsewhere.demo.test"
    user = cast.alice if name == "another service" else cast.ahead
    initiator = user.initiator(service, mech="spnego")
    with Connection(site) as connection:
        answer = connection.request("/", shown(initiator.step()))
        assert answer.status == 401
        assert case.words in initiator.error_of(last_token(answer))


def test_the_error_has_ntlm_beside_it_where_that_is_offered(site, cast):
    with Connection(site) as connection:
        answer = connection.request("/both/", shown(cast.ahead.token()))
        assert answer.status == 401
        kerberos, ntlm = answer.challenges
        assert krb_error_code(base64.b64decode(kerberos.removeprefix("Negotiate "))) == SKEW
        assert ntlm == "NTLM"


def test_what_is_refused_is_no_name_for_the_application_or_the_log(site, cast):
    log = site.access_log()
    with Connection(site) as connection:
        assert connection.request("/named/", shown(cast.forged(start=-2 * HOUR, end=-HOUR)(True).step())).status == 401
    (line,) = log.wait("/named/")
    assert REALM not in line


def test_a_ticket_may_be_late_by_as_much_as_clocks_differ(plain_site, cast):
    with Connection(plain_site) as connection:
        for ticket in ({"start": -2 * HOUR, "end": -200}, {"start": 200, "end": HOUR}):
            assert_signed_in(connection.request("/", shown(cast.forged(**ticket)(True).step())))
        for seconds in (-200, 200):
            token = cast.forged({"skew": seconds})(True).step()
            assert_signed_in(connection.request("/", shown(token)))


def test_rc4_may_be_allowed(site, cast):
    with Connection(site) as connection:
        assert_signed_in(connection.request("/rc4/on/", shown(cast.alice.token(RC4_SERVICE))))
        assert_signed_in(connection.request("/rc4/on/", shown(cast.forged(session=RC4)(True).step())))


def test_the_key_of_the_session_has_to_be_known(site, cast):
    log = site.log()
    token = ap_req(cast.realms.forger().ticket(), session_key=Key.random())
    with Connection(site) as connection:
        answer = connection.request("/", shown(token))
        assert answer.status == 401
        assert krb_error_code(last_token(answer)) == BAD_INTEGRITY
    (refusal,) = log.refusals()
    assert refusal in ("wrong-key", "kerberos-refused")


def test_a_client_that_says_nothing_of_bindings_is_not_bound(secure_site, cast):
    """No checksum, as old clients of file servers send none."""
    log = secure_site.log()
    token = ap_req(cast.realms.forger().ticket(), checksum=None)
    with Connection(secure_site) as connection:
        assert connection.request("/binding/require/", shown(token)).status == 401
    (refusal,) = log.refusals()
    assert refusal in ("missing-channel-binding", "kerberos-refused")


# Shown before

def assert_replayed(answer):
    assert answer.status == 401
    assert krb_error_code(last_token(answer)) == REPEAT


def test_a_token_is_good_once(site, alice):
    log = site.log()
    token = alice.token()
    with Connection(site) as connection, Connection(site) as other:
        assert_signed_in(connection.request("/", shown(token)))
        assert_replayed(connection.request("/", shown(token)))
        assert_replayed(other.request("/", shown(token)))
        assert_replayed(other.request("/persist/", shown(token)))
        answer = other.request("/", shown(neg_token_init(["krb5"], token)))
        assert answer.status == 401
        assert krb_error_code(NegTokenResp.of(last_token(answer)).token) == REPEAT
        assert_signed_in(other.request("/", shown(alice.token())))
    assert log.refusals() == ["replayed"] * 4


def test_a_token_is_good_on_one_listener(server, alice):
    token = alice.token()
    with Connection(Site(server, "http")) as plain, Connection(Site(server, "https")) as secure:
        assert_signed_in(plain.request("/", shown(token)))
        assert_replayed(secure.request("/", shown(token)))
        token = alice.token()
        assert_signed_in(secure.request("/", shown(token)))
        assert_replayed(plain.request("/", shown(token)))


def test_a_token_is_good_on_one_stream(secure_site, alice):
    token = alice.token()
    with Http2(secure_site) as connection:
        assert connection.request("/", shown(token))["status"] == 200
        assert connection.request("/", shown(token))["status"] == 401


@pytest.mark.parametrize("path", ["/", "/replay/folder/"])
def test_a_token_is_good_for_one_worker(plain_site, alice, path):
    def by_two_workers():
        log = plain_site.log()
        token = alice.token()
        with contextlib.ExitStack() as stack:
            # All at once: one worker alone might take them as they come.
            first, *others = [stack.enter_context(Connection(plain_site)) for _ in range(8)]
            assert_signed_in(first.request(path, shown(token)))
            for other in others:
                assert_replayed(other.request(path, shown(token)))
        return len(processes(log.lines(r"auth_negotiate: \d"))) == 2

    until(by_two_workers, "two workers to have a connection each")


def test_the_folder_of_the_cache_is_used(server, alice):
    folder = server.directory / "replays"
    shutil.rmtree(folder)
    folder.mkdir()
    if IS_ROOT:
        shutil.chown(folder, "www-data")
    with Connection(Site(server, "http")) as connection:
        assert_signed_in(connection.request("/replay/folder/", shown(alice.token())))
    assert [path.stat().st_size > 0 for path in folder.iterdir()] == [True]


def test_a_cache_that_cannot_be_written_lets_nobody_in(site, alice):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/replay/broken/", shown(alice.token()))
        assert answer.status == 500
        assert answer.challenges == []
    assert log.refusals() == ["replay-cache-failed"]


def test_without_a_cache_a_token_is_good_again(plain_site, alice):
    token = alice.token()
    with Connection(plain_site) as connection:
        for _ in range(2):
            assert_signed_in(connection.request("/replay/forced/", shown(token)))


def test_without_a_cache_it_has_to_be_bound(secure_site, certificates, alice):
    digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
    log = secure_site.log()
    token = alice.token(binding=tls_binding(digest))
    with Connection(secure_site) as connection:
        for _ in range(2):
            assert_signed_in(connection.request("/replay/bound/", shown(token)))
        assert connection.request("/replay/bound/", shown(alice.token())).status == 401
    assert log.refusals() == ["missing-channel-binding"]


# Changed on the way

def in_the_clear(token):
    """Where the options are, and what the ticket says of the key that it needs: no key protects these."""
    number = integer(1)
    parts = [(bits(1 << (31 - 2)), 2), (text(REALM), 2), (text("HTTP"), 2), (text("127.0.0.1"), 2),
             (b"\xa0\x03" + number + b"\xa1", 4), (b"\xa1\x03" + number + b"\xa2", 4)]
    places = set()
    for part, start in parts:
        at = token.index(part)
        places.update(range(at + start, at + start + part[start - 1]))
    return places


@pytest.mark.parametrize("in_spnego", [False, True], ids=["by itself", "in SPNEGO"])
def test_a_token_that_was_changed_signs_nobody_in(server, alice, in_spnego):
    """At any place, without a replay cache that could refuse it for another reason."""
    path, before = "/replay/forced/", server.workers()
    token = alice.token()
    token = neg_token_init(["krb5"], token) if in_spnego else token
    clear = in_the_clear(token)
    with Connection(Site(server, "http")) as connection:
        for place in range(len(token)):
            answer = connection.request(path, shown(flipped(token, place)))
            if answer.status == 200 and place in clear:
                assert_signed_in(answer)
            else:
                assert answer.status == 401, (place, token.hex())
        assert_signed_in(connection.request(path, shown(token)))
    assert server.workers() == before


def test_a_token_that_was_changed_is_not_used_up(site, alice):
    token = alice.token()
    with Connection(site) as connection:
        for place in range(len(token) // 2, len(token), 10):
            assert connection.request("/", shown(flipped(token, place))).status == 401
        assert_signed_in(connection.request("/", shown(token)))


@pytest.mark.parametrize("wrap", [lambda token: token, lambda token: neg_token_init(["krb5"], token)],
                         ids=["by itself", "in SPNEGO"])
def test_what_follows_a_token_is_not_looked_at(site, alice, wrap):
    with Connection(site) as connection:
        assert_signed_in(connection.request("/", shown(wrap(alice.token()) + b"what follows")))


def test_a_token_that_was_cut_signs_nobody_in(server, alice):
    token = alice.token()
    with Connection(Site(server, "http")) as connection:
        for size in (1, 2, 5, 11, 15, 17, 25, 40, 100, len(token) // 2, len(token) - 1):
            assert connection.request("/static/file", shown(token[:size])).status == 401, size
        assert connection.request("/static/file", shown(token)).status == 200


def inner(token):
    """What stands behind the mechanism of an InitialContextToken."""
    _, content, _ = read(token)
    return content[read(content)[2]:]


OTHERS = {
    "an unknown mechanism": lambda token: framed("unknown", inner(token)),
    "user to user": lambda token: framed("krb5-u2u", b"\x04\x00" + inner(token)[2:]),
    "IAKERB": lambda token: framed("iakerb", inner(token)),
    "IAKERB's proxy": lambda token: framed("iakerb", b"\x05\x01" + inner(token)[2:]),
    "IAKERB in SPNEGO": lambda token: neg_token_init(["iakerb"], framed("iakerb", inner(token))),
    "IAKERB as Kerberos in SPNEGO": lambda token: neg_token_init(["krb5"], framed("iakerb", inner(token))),
    "NEGOEX": lambda token: b"NEGOEXTS" + bytes(104),
    "NEGOEX in SPNEGO": lambda token: neg_token_init(["negoex"], b"NEGOEXTS" + bytes(104)),
    "NEGOEX as Kerberos in SPNEGO": lambda token: neg_token_init(["krb5"], b"NEGOEXTS" + bytes(104)),
    "SPNEGO in SPNEGO": lambda token: neg_token_init(["spnego"], neg_token_init(["krb5"], token)),
    "SPNEGO as Kerberos in SPNEGO": lambda token: neg_token_init(["krb5"], neg_token_init(["krb5"], token)),
    "no mechanism in SPNEGO": lambda token: neg_token_init([], token),
    "a later token of SPNEGO": lambda token: neg_token_resp(token=token),
    "without a frame": lambda token: inner(token)[2:],
    "an answer": lambda token: framed("krb5", b"\x02\x00" + inner(token)[2:]),
    "an error": lambda token: framed("krb5", b"\x03\x00" + inner(token)[2:]),
    "nothing in a frame": lambda token: framed("krb5", b""),
    "too little in a frame": lambda token: framed("krb5", b"\x01"),
    "an empty message": lambda token: framed("krb5", b"\x01\x00" + der(0x6E)),
    "a string": lambda token: octets(token),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_ticket_is_refused(server, alice, other):
    before = server.workers()
    for path in ("/", "/both/"):
        log = Site(server, "http").log()
        with Connection(Site(server, "http")) as connection:
            token = OTHERS[other](alice.token())
            answer = connection.request(path, shown(token))
            assert answer.status == 401
            assert answer.challenges[0].split(" ")[0] == "Negotiate"
            assert connection.request(path).status == 401
        (refusal,) = log.refusals()
        assert refusal in ("malformed-token", "mechanism-not-offered", "out-of-sequence")
    assert server.workers() == before


def test_a_ticket_that_ends_before_it_begins_is_refused(site, cast):
    token = cast.forged(start=2 * HOUR, end=-2 * HOUR)(True).step()
    with Connection(site) as connection:
        assert connection.request("/", shown(token)).status == 401


def test_a_key_of_another_principal_does_not_help(site, cast):
    """Whoever has the key of one service cannot make tickets for another."""
    log = site.log()
    forger = cast.realms.forger("HTTP/elsewhere.demo.test")
    with Connection(site) as connection:
        token = ap_req(forger.ticket(service=f"{SERVICE}@{REALM}"))
        assert connection.request("/", shown(token)).status == 401
        assert connection.request("/", shown(ap_req(forger.ticket()))).status == 401
    assert log.refusals() == ["wrong-key", "wrong-service-name"]


def test_the_key_that_is_not_for_http_signs_nobody_in(site, cast):
    """It is in the keytab, and whoever has it, such as the computer's administrator, is not the web server."""
    key = next(key for key in cast.realms.keys["host/127.0.0.1"] if key.enctype == AES256)
    log = site.log()
    with Connection(site) as connection:
        for service in (SERVICE, "host/127.0.0.1"):
            ticket = cast.realms.forger().ticket(key=key, service=f"{service}@{REALM}")
            assert connection.request("/", shown(ap_req(ticket))).status == 401
    assert log.refusals() == ["wrong-key", "wrong-service-name"]
