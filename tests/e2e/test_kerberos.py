"""Tickets sign in: by themselves and in SPNEGO, for one request, on every version of HTTP, beside NTLM."""

import base64
import json
import pathlib

import pytest
import spnego
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from gssapi.exceptions import GSSError
from spnego.channel_bindings import GssChannelBindings

from curl import curl, sign_in
from http2_client import Http2
from krb5_client import (
    ACCEPT_COMPLETED, ACCEPT_INCOMPLETE, DCE_STYLE, INTEGRITY, MUTUAL, NAME, REQUEST_MIC, NegTokenResp, User,
    assert_complete, assert_signed_in, der, environment, flipped, last_token, mech_list, neg_token_init, neg_token_resp,
    octets, sequence, shown, tls_binding, write_cache)
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import Site, until
from world import ALICE

BOB = "bob@DEMO.TEST"
MECHS = ["krb5", "spnego"]
PROXIED = [("X-Forwarded-For", "192.0.2.7"), ("Via", "1.1 proxy"), ("Forwarded", "for=192.0.2.7")]


@pytest.fixture(scope="module")
def running(running_with_kerberos):
    return running_with_kerberos


# With curl

VERSIONS = [("http", "--http1.0"), ("http", "--http1.1"), ("https", "--http1.1"), ("https", "--http2")]


@pytest.mark.parametrize("scheme, version", VERSIONS)
def test_curl_signs_in(server, alice, scheme, version):
    site = Site(server, scheme)
    log = site.log()
    with environment(**alice.variables):
        (transfer,) = curl(site, "--negotiate", "--user", ":", site.url("/curl"), version=version)
    assert (transfer.status, transfer.user) == (200, NAME)
    assert transfer.http_version == version.removeprefix("--http").removesuffix(".0") or version == "--http1.0"
    described = json.loads(transfer.body)
    assert described["negotiate"]["mechanism"] == "kerberos"
    assert described.get("auth_type", "Negotiate") == "Negotiate"
    assert log.decisions()[-1] == "signed-in"
    assert log.refusals() == []


@pytest.mark.parametrize("scheme, version", VERSIONS[1:])
def test_curl_uploads_and_comes_again_on_its_connection(server, alice, scheme, version):
    site = Site(server, scheme)
    log = site.log()
    upload = ["--negotiate", "--user", ":", "--data-binary", "x" * 50000]
    with environment(**alice.variables):
        transfers = curl(site, *upload, site.url("/one"), "--next", *upload, site.url("/two"), version=version)
    assert [transfer.user for transfer in transfers] == [NAME, NAME]
    assert [json.loads(transfer.body)["length"] for transfer in transfers] == [50000, 50000]
    assert log.refusals() == []


def test_curl_without_a_ticket_is_refused(site, realms):
    nobody = User(realms.kdc.krb5_conf, realms.directory / "no-cache")
    with environment(**nobody.variables):
        (transfer,) = curl(site, "--negotiate", "--user", ":", site.url())
    assert transfer.status == 401


# The final token

@pytest.mark.parametrize("mech", MECHS)
def test_a_client_is_sure_of_the_server(site, alice, mech):
    log = site.log()
    initiator = alice.initiator(mech=mech)
    with Connection(site) as connection:
        first = connection.request("/")
        assert (first.status, first.challenges) == (401, ["Negotiate"])
        answer = connection.request("/", shown(initiator.step()))
        assert_signed_in(answer)
        assert_complete(initiator, answer)
    assert log.decisions() == ["no-credentials", "signed-in"]


@pytest.mark.parametrize("mech", MECHS)
def test_a_client_that_does_not_ask_gets_no_token_of_kerberos(site, alice, mech):
    initiator = alice.initiator(mech=mech, flags=INTEGRITY)
    with Connection(site) as connection:
        answer = connection.request("/", shown(initiator.step()))
        assert_signed_in(answer)
        if mech == "krb5":
            assert answer.challenges == []
            assert initiator.complete
        else:
            response = NegTokenResp.of(last_token(answer))
            assert (response.state, response.mech, response.token) == (ACCEPT_COMPLETED, "krb5", None)
            initiator.step(last_token(answer))
            assert initiator.complete


ANSWERS = {
    "200": (200, "/", ()),
    "200 of a file": (200, "/static/file", ()),
    "206": (206, "/static/file", [("Range", "bytes=0-1")]),
    "304": (304, "/static/file", [("If-None-Match", "*")]),
    "403": (403, "/forbidden/", ()),
    "404": (404, "/static/none", ()),
    "proxied": (200, "/proxied/", ()),
    "an error page": (404, "/error/missing/none", ()),
}


@pytest.mark.parametrize("mech", MECHS)
@pytest.mark.parametrize("status, path, headers", ANSWERS.values(), ids=ANSWERS.keys())
def test_the_final_token_comes_on_every_answer(site, alice, mech, status, path, headers):
    log = site.log()
    initiator = alice.initiator(mech=mech)
    with Connection(site) as connection:
        answer = connection.request(path, shown(initiator.step()), *headers)
        assert answer.status == status
        assert_complete(initiator, answer)
    assert log.decisions() == ["signed-in"]


@pytest.mark.parametrize("path", ["/error/found/none", "/error/named/none"])
def test_the_final_token_comes_on_what_nginx_makes_of_an_error(nginx_site, alice, path):
    initiator = alice.initiator()
    with Connection(nginx_site) as connection:
        answer = connection.request(path, shown(initiator.step()))
        assert_signed_in(answer)
        assert_complete(initiator, answer)


@pytest.mark.parametrize("status, path, headers", ANSWERS.values(), ids=ANSWERS.keys())
def test_the_final_token_comes_on_every_answer_of_http_2(secure_site, alice, status, path, headers):
    initiator = alice.initiator(mech="spnego")
    with Http2(secure_site) as connection:
        answer = connection.request(path, shown(initiator.step()), *headers)
        assert answer["status"] == status
        assert_complete(initiator, answer)


def test_a_user_who_is_not_allowed_is_told_so(httpd_site, alice, bob):
    with Connection(httpd_site) as connection:
        assert connection.request("/forbidden/", shown(alice.token())).status == 403
        assert connection.request("/forbidden/", shown(bob.token())).status == 200


@pytest.mark.parametrize("path, challenges", [
    ("/forbidden/asked-again/", ["Negotiate"]), ("/forbidden/both/", ["Negotiate", "NTLM"])])
def test_where_a_user_who_is_not_allowed_is_asked_again_it_is_with_fresh_challenges(
        httpd_site, alice, bob, path, challenges):
    """A token there would tell the client that it has signed in."""
    with Connection(httpd_site) as connection:
        answer = connection.request(path, shown(alice.token()))
        assert (answer.status, answer.challenges) == (401, challenges)
        assert_signed_in(connection.request(path, shown(bob.token())), BOB)


# SPNEGO

@pytest.mark.parametrize("inner", ["krb5", "ms-krb5"])
def test_the_number_that_microsoft_gave_kerberos_is_answered_with_itself(site, alice, inner):
    initiator = alice.initiator()
    token = initiator.step()
    if inner == "ms-krb5":
        token = token.replace(bytes.fromhex("2a864886f7"), bytes.fromhex("2a864882f7"), 1)
    with Connection(site) as connection:
        answer = connection.request("/", shown(neg_token_init(["ms-krb5", "krb5", "negoex", "ntlm"], token)))
        assert_signed_in(answer)
        response = NegTokenResp.of(last_token(answer))
        assert (response.state, response.mech) == (ACCEPT_COMPLETED, "ms-krb5")
        initiator.step(response.token)
        assert initiator.complete


def test_kerberos_by_its_own_number_is_answered_with_that(site, alice):
    initiator = alice.initiator()
    with Connection(site) as connection:
        answer = connection.request("/", shown(neg_token_init(["krb5", "ms-krb5", "ntlm"], initiator.step())))
        response = NegTokenResp.of(last_token(answer))
        assert (response.state, response.mech) == (ACCEPT_COMPLETED, "krb5")
        initiator.step(response.token)
        assert initiator.complete


def test_a_list_signed_in_the_first_message_is_checked_and_signed_in_return(site, alice):
    """A client whose ticket alone completes may sign at once."""
    mechs = ["krb5", "ntlm"]
    initiator = alice.initiator(flags=INTEGRITY)
    token = initiator.step()
    with Connection(site) as connection:
        signed = neg_token_init(mechs, token, mic=initiator.sign(mech_list(*mechs)))
        answer = connection.request("/", shown(signed))
        assert_signed_in(answer)
        response = NegTokenResp.of(last_token(answer))
        assert response.state == ACCEPT_COMPLETED
        initiator.verify(mech_list(*mechs), response.mic)


class Negotiation:
    """A client whose first mechanism nobody else knows, on one connection."""

    def __init__(self, connection, initiator, path="/", first="unknown"):
        self.connection, self.initiator, self.path = connection, initiator, path
        self.mechs = [first, "krb5", "ntlm"]

    def send(self, token):
        return self.connection.request(self.path, shown(token))

    def begin(self):
        """Its optimistic token is not looked at; the list has to be signed."""
        leg = self.send(neg_token_init(self.mechs, b"what nobody can read"))
        response = NegTokenResp.of(last_token(leg))
        assert (leg.status, response) == (401, NegTokenResp(REQUEST_MIC, "krb5"))

    def show_ticket(self):
        """Both are sure of each other, but not of the list."""
        leg = self.send(neg_token_resp(token=self.initiator.step()))
        response = NegTokenResp.of(last_token(leg))
        assert (leg.status, response.state, response.mech) == (401, ACCEPT_INCOMPLETE, None)
        self.initiator.step(response.token)
        assert self.initiator.complete
        self.initiator.verify(mech_list(*self.mechs), response.mic)

    @property
    def signature(self):
        return self.initiator.sign(mech_list(*self.mechs))

    def sign(self, signature=None):
        return self.send(neg_token_resp(mic=signature or self.signature))


def test_a_changed_signature_in_the_first_message_signs_nobody_in(site, alice):
    mechs = ["krb5", "ntlm"]
    initiator = alice.initiator(flags=INTEGRITY)
    token = initiator.step()
    log = site.log()
    with Connection(site) as connection:
        signed = neg_token_init(mechs, token, mic=flipped(initiator.sign(mech_list(*mechs))))
        assert connection.request("/", shown(signed)).status == 401
    assert log.refusals() == ["wrong-mech-list-mic"]


@pytest.mark.parametrize("first", ["unknown", "negoex", "iakerb", "krb5-u2u"])
def test_a_list_with_another_mechanism_first_is_signed_both_ways(site, alice, first):
    log = site.log()
    with Connection(site) as connection:
        negotiation = Negotiation(connection, alice.initiator(), first=first)
        negotiation.begin()
        negotiation.show_ticket()
        answer = negotiation.sign()
        assert_signed_in(answer)
        # Nothing is left to be said.
        assert answer.challenges == []
        assert connection.request("/").status == 401
    assert log.refusals() == []
    assert log.decisions().count("signed-in") == 1


def test_a_client_whose_ticket_completes_it_signs_the_list_with_it(site, alice):
    log = site.log()
    with Connection(site) as connection:
        negotiation = Negotiation(connection, alice.initiator(flags=INTEGRITY))
        negotiation.begin()
        token = negotiation.initiator.step()
        answer = negotiation.send(neg_token_resp(token=token, mic=negotiation.signature))
        assert_signed_in(answer)
        response = NegTokenResp.of(last_token(answer))
        assert response.state == ACCEPT_COMPLETED
        negotiation.initiator.verify(mech_list(*negotiation.mechs), response.mic)
    assert log.refusals() == []


def test_a_changed_signature_of_the_list_signs_nobody_in(site, alice):
    log = site.log()
    with Connection(site) as connection:
        negotiation = Negotiation(connection, alice.initiator())
        negotiation.begin()
        negotiation.show_ticket()
        answer = negotiation.sign(flipped(negotiation.signature))
        assert answer.status == 401
        assert connection.request("/").status == 401
        # What began is over: the right one comes too late.
        assert negotiation.sign().status == 401
    assert log.refusals() == ["wrong-mech-list-mic", "out-of-sequence"]


def test_the_signature_of_another_list_signs_nobody_in(site, alice):
    """Somebody on the way has put a mechanism before Kerberos."""
    log = site.log()
    with Connection(site) as connection:
        negotiation = Negotiation(connection, alice.initiator())
        negotiation.begin()
        negotiation.show_ticket()
        answer = negotiation.sign(negotiation.initiator.sign(mech_list("krb5", "ntlm")))
        assert answer.status == 401
    assert log.refusals() == ["wrong-mech-list-mic"]


UNSIGNED = {
    "nothing": neg_token_resp(ACCEPT_COMPLETED),
    "a state alone": neg_token_resp(ACCEPT_INCOMPLETE),
    "an empty signature": der(0xA1, sequence(None, None, None, octets(b""))),
    "a token again": neg_token_resp(token=b"once more"),
}


@pytest.mark.parametrize("token", UNSIGNED.values(), ids=UNSIGNED.keys())
def test_an_unsigned_list_signs_nobody_in(site, alice, token):
    log = site.log()
    with Connection(site) as connection:
        negotiation = Negotiation(connection, alice.initiator())
        negotiation.begin()
        negotiation.show_ticket()
        assert negotiation.send(token).status == 401
        assert connection.request("/").status == 401
    (refusal,) = log.refusals()
    assert refusal in ("missing-mech-list-mic", "wrong-mech-list-mic", "out-of-sequence", "malformed-token")


def test_before_the_list_is_signed_nobody_is_signed_in(site, alice):
    with Connection(site) as connection:
        negotiation = Negotiation(connection, alice.initiator(), "/persist/")
        negotiation.begin()
        negotiation.show_ticket()
        assert connection.request("/persist/").status == 401
        assert connection.request("/").status == 401


def test_a_list_can_be_signed_on_its_own_connection_alone(site, alice):
    log = site.log()
    with Connection(site) as connection, Connection(site) as other:
        negotiation = Negotiation(connection, alice.initiator())
        negotiation.begin()
        negotiation.show_ticket()
        negotiation.connection = other
        assert negotiation.sign().status == 401
    assert log.refusals() == ["out-of-sequence"]


def test_a_list_without_a_token_asks_for_one(site, alice):
    initiator = alice.initiator()
    with Connection(site) as connection:
        leg = connection.request("/", shown(neg_token_init(["krb5", "ntlm"])))
        response = NegTokenResp.of(last_token(leg))
        assert (leg.status, response) == (401, NegTokenResp(ACCEPT_INCOMPLETE, "krb5"))
        answer = connection.request("/", shown(neg_token_resp(token=initiator.step())))
        assert_signed_in(answer)
        response = NegTokenResp.of(last_token(answer))
        assert response.state == ACCEPT_COMPLETED
        initiator.step(response.token)
        assert initiator.complete


@pytest.mark.parametrize("token", [neg_token_init(["krb5"]), neg_token_init(["unknown", "krb5"], b"optimistic")],
                         ids=["without a token", "another first"])
def test_several_tokens_need_a_connection_of_their_own(secure_site, alice, token):
    log = secure_site.log()
    with Http2(secure_site) as connection:
        answer = connection.request("/", shown(token))
        assert (answer["status"], answer["challenges"]) == (401, ["Negotiate"])
        ticket = shown(neg_token_resp(token=alice.token()))
        assert connection.request("/", ticket)["status"] == 401
    assert log.refusals()[0] == "multiplexed"


@pytest.mark.parametrize("token", [neg_token_init(["krb5"]), neg_token_init(["unknown", "krb5"], b"optimistic")],
                         ids=["without a token", "another first"])
def test_several_tokens_need_a_connection_that_stays(site, token):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/", shown(token), ("Connection", "close"))
        # With one token it could go on.
        assert (answer.status, answer.challenges) == (401, ["Negotiate"])
    assert log.refusals() == ["not-persistent"]


@pytest.mark.parametrize("header", PROXIED, ids=lambda header: header[0])
def test_several_tokens_do_not_come_through_a_proxy(site, header):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/", shown(neg_token_init(["unknown", "krb5"], b"optimistic")), header)
        assert answer.status == 401
        assert answer.challenges == ["Negotiate"]
    assert log.refusals() == ["forwarded"]


@pytest.mark.parametrize("more", [der(0xA7, octets(b"what nobody knows")), der(0xA4, octets(bytes(2000)))],
                         ids=["short", "long"])
def test_what_may_follow_in_a_later_version_of_spnego_is_skipped(plain_site, alice, more):
    with Connection(plain_site) as connection:
        assert_signed_in(connection.request("/", shown(neg_token_init(["krb5"], alice.token(), more=more))))


def test_a_client_that_wants_a_third_token_gets_it_or_is_refused(site, alice):
    """DCE style: no client of HTTP does it. Who has not proved itself with the third is nobody."""
    initiator = alice.initiator(flags=MUTUAL | DCE_STYLE)
    with Connection(site) as connection:
        leg = connection.request("/", shown(initiator.step()))
        assert leg.status == 401
        assert connection.request("/").status == 401


# One request

def test_a_ticket_is_good_for_one_request(site, alice):
    with Connection(site) as connection:
        answer = connection.request("/", shown(alice.token()))
        assert_signed_in(answer)
        assert answer.all("Persistent-Auth") == ["false"]
        later = connection.request("/")
        assert (later.status, later.challenges) == (401, ["Negotiate"])
        assert_signed_in(connection.request("/", shown(alice.token())))


def test_streams_sign_in_each_for_itself(secure_site, alice, bob):
    with Http2(secure_site) as connection:
        streams = [connection.send("/", shown(alice.token())), connection.send("/"),
                   connection.send("/", shown(bob.token())), connection.send("/persist/", shown(alice.token())),
                   connection.send("/persist/")]
        answers = [connection.receive(stream) for stream in streams]
        assert [answer["status"] for answer in answers] == [200, 401, 200, 200, 401]
        assert [json.loads(answer["body"])["user"] for answer in answers if answer["status"] == 200] \
            == [NAME, BOB, NAME]
        assert connection.request("/persist/")["status"] == 401


def test_a_ticket_lasts_as_long_as_the_connection_if_it_shall(site, alice):
    with Connection(site) as connection:
        answer = connection.request("/persist/", shown(alice.token()))
        assert_signed_in(answer)
        assert answer.all("Persistent-Auth") == ["true"]
        for _ in range(2):
            later = connection.request("/persist/")
            assert_signed_in(later)
            assert later.challenges == []
        # Who can sign in elsewhere is another question.
        assert connection.request("/service/host/").status == 401
    with Connection(site) as connection:
        assert connection.request("/persist/").status == 401


def test_a_user_takes_the_place_of_another(site, alice, bob):
    with Connection(site) as connection:
        assert_signed_in(connection.request("/persist/", shown(alice.token())))
        assert_signed_in(connection.request("/persist/", shown(bob.token())), BOB)
        assert_signed_in(connection.request("/persist/"), BOB)


@pytest.mark.parametrize("token", [b"\x60\x01\x00", "another service"], ids=["malformed", "another service"])
def test_a_ticket_that_fails_leaves_nobody(site, alice, token):
    if token == "another service":
        token = alice.token("HTTP/elsewhere.demo.test")
    with Connection(site) as connection:
        assert_signed_in(connection.request("/persist/", shown(alice.token())))
        assert connection.request("/persist/", shown(token)).status == 401
        assert connection.request("/persist/").status == 401


@pytest.mark.parametrize("header", PROXIED, ids=lambda header: header[0])
def test_through_a_proxy_a_ticket_signs_in_and_does_not_last(site, alice, header):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/persist/", shown(alice.token()), header)
        assert_signed_in(answer)
        assert answer.all("Persistent-Auth") == ["false"]
        assert connection.request("/persist/").status == 401
        # Nor does who signed in without a proxy last for somebody behind one.
        assert_signed_in(connection.request("/persist/", shown(alice.token())))
        assert connection.request("/persist/", header).status == 401
    assert log.refusals() == []


def test_a_lasting_sign_in_ends_with_its_ticket(running, realms, tmp_path):
    """Five minutes late, since clocks may differ by that: this ticket ended almost as long ago."""
    ticket = realms.forger().ticket(end=-296)
    fading = User(realms.kdc.krb5_conf, write_cache(tmp_path / "cache", ticket, offset=-299))
    site = Site(running["nginx"], "http")
    with Connection(site) as connection:
        assert_signed_in(connection.request("/persist/", shown(fading.token())))
        assert_signed_in(connection.request("/persist/"))
        until(lambda: connection.request("/persist/").status == 401, "the ticket to end")


# Beside NTLM

def test_both_are_offered_the_stronger_first(site):
    with Connection(site) as connection:
        answer = connection.request("/both/")
        assert (answer.status, answer.challenges) == (401, ["Negotiate", "NTLM"])


def test_curl_signs_in_by_either(site, alice):
    with environment(**alice.variables):
        (by_kerberos,) = curl(site, "--negotiate", "--user", ":", site.url("/both/"))
    (by_ntlm,) = curl(site, *sign_in(ALICE), site.url("/both/"), version="--http1.1")
    assert (by_kerberos.user, by_ntlm.user) == (NAME, ALICE.name)


def test_raw_ntlm_signs_in_beside_kerberos(site):
    for scheme in ("NTLM", "Negotiate"):
        with Connection(site) as connection:
            answer = connection.sign_in(ALICE, "/both/", scheme=scheme)
            assert answer.user == ALICE.name
            assert answer.json["negotiate"]["mechanism"] == "ntlm"
            assert connection.request("/both/").user == ALICE.name


def ntlm_in_spnego(site, certificates):
    binding = None
    if site.tls:
        digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
        binding = GssChannelBindings(application_data=b"tls-server-end-point:" + digest)
    return spnego.client(ALICE.name, ALICE.password, hostname=site.host, service="HTTP", channel_bindings=binding,
                         protocol="negotiate", options=spnego.NegotiateOptions.use_negotiate)


def test_who_has_no_ticket_signs_in_by_ntlm_in_spnego(site, certificates):
    initiator = ntlm_in_spnego(site, certificates)
    with Connection(site) as connection:
        leg = connection.request("/both/", shown(initiator.step()))
        assert leg.status == 401
        answer = connection.request("/both/", shown(initiator.step(last_token(leg))))
        assert answer.user == ALICE.name
        initiator.step(last_token(answer))
        assert initiator.complete
        assert connection.request("/both/").user == ALICE.name


def test_a_ticket_takes_the_place_of_who_signed_in_by_ntlm(site, alice):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, "/both/").user == ALICE.name
        assert_signed_in(connection.request("/both/", shown(alice.token())))
        assert connection.request("/both/").status == 401


def framings():
    """Every way to say NTLM: scheme and token."""
    raw = negotiate()
    return {
        "NTLM": ("NTLM", raw),
        "under Negotiate": ("Negotiate", raw),
        "in SPNEGO": ("Negotiate", neg_token_init(["ntlm"], raw)),
        "first in SPNEGO": ("Negotiate", neg_token_init(["ntlm", "negoex"], raw)),
        "in SPNEGO without a token": ("Negotiate", neg_token_init(["ntlm"])),
        "as Kerberos in SPNEGO": ("Negotiate", neg_token_init(["krb5", "ntlm"], raw)),
        "as Microsoft's Kerberos in SPNEGO": ("Negotiate", neg_token_init(["ms-krb5"], raw)),
        "in a frame of its own": ("Negotiate", der(0x60, bytes.fromhex("060a2b06010401823702020a"), raw)),
    }


@pytest.fixture(scope="module")
def a_plug_in_that_would_answer():
    """NTLM as a mechanism of libgssapi is there, and is for others."""
    found = [path.read_text() for path in pathlib.Path("/etc/gss/mech.d").glob("*.conf")]
    assert any("gssntlmssp" in text for text in found)


@pytest.mark.parametrize("path", ["/", "/only/"])
@pytest.mark.parametrize("framing", framings())
def test_where_kerberos_is_alone_ntlm_is_refused(site, path, framing, a_plug_in_that_would_answer):
    scheme, token = framings()[framing]
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request(path, authorization(token, scheme))
        assert answer.status == 401
        assert b"NTLMSSP" not in b"".join(base64.b64decode(value.partition(" ")[2]) for value in answer.challenges)
        assert answer.challenges[0].startswith("Negotiate")
    (refusal,) = log.refusals()
    assert refusal in ("mechanism-not-offered", "scheme-not-offered", "malformed-token")


@pytest.mark.parametrize("elsewhere, scheme", [("/ntlm/", "NTLM"), ("/ntlm/", "Negotiate"), ("/both/", "NTLM")])
@pytest.mark.parametrize("path", ["/", "/only/"])
def test_where_kerberos_is_alone_nobody_is_known_who_signed_in_by_ntlm(site, elsewhere, scheme, path):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, elsewhere, scheme=scheme).user == ALICE.name
        answer = connection.request(path)
        assert answer.status == 401
        assert connection.request(elsewhere).user == ALICE.name
        for scheme, token in framings().values():
            assert connection.request(path, authorization(token, scheme)).status == 401
        assert connection.request(path).status == 401


def test_the_plug_in_is_not_even_loaded(server, alice, a_plug_in_that_would_answer):
    with Connection(Site(server, "http")) as connection:
        assert_signed_in(connection.request("/", shown(alice.token())))
        for scheme, token in framings().values():
            assert connection.request("/both/", authorization(token, scheme)).status == 401
    for process in (server.process.pid, *server.workers()):
        loaded = pathlib.Path(f"/proc/{process}/maps").read_text()
        assert "gssapi_krb5" in loaded and "gssntlmssp" not in loaded


def test_a_handshake_of_ntlm_does_not_end_where_kerberos_is_alone(site):
    with Connection(site) as connection:
        token = ALICE.authenticate(connection.challenge("/both/", scheme="Negotiate"))
        assert connection.request("/", shown(token)).status == 401
        assert connection.request("/both/").status == 401


# Channel bindings

@pytest.mark.parametrize("mech", MECHS)
@pytest.mark.parametrize("path, sent, refused", [
    ("/binding/off/", "right", None), ("/binding/off/", "none", None), ("/binding/off/", "wrong", None),
    ("/", "right", None), ("/", "none", None), ("/", "wrong", "wrong-channel-binding"),
    ("/binding/require/", "right", None), ("/binding/require/", "none", "missing-channel-binding"),
    ("/binding/require/", "wrong", "wrong-channel-binding"),
])
def test_binding(secure_site, certificates, alice, mech, path, sent, refused):
    digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
    binding = {"right": tls_binding(digest), "none": None, "wrong": tls_binding(bytes(32))}[sent]
    log = secure_site.log()
    initiator = alice.initiator(mech=mech, binding=binding)
    with Connection(secure_site) as connection:
        answer = connection.request(path, shown(initiator.step()))
        assert answer.status == (401 if refused else 200)
        if refused:
            with pytest.raises(GSSError):
                initiator.step(last_token(answer))
        else:
            assert_complete(initiator, answer)
    assert log.refusals() == ([refused] if refused else [])


@pytest.mark.parametrize("sent", ["right", "none"])
def test_a_stream_is_bound_as_a_connection_is(secure_site, certificates, alice, sent):
    digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
    token = alice.token(binding=tls_binding(digest) if sent == "right" else None)
    with Http2(secure_site) as connection:
        answer = connection.request("/binding/require/", shown(token))
        assert answer["status"] == (200 if sent == "right" else 401)


def test_without_tls_nobody_gets_in_where_a_binding_is_required(plain_site, certificates, alice):
    digest = x509.load_pem_x509_certificate(certificates.leaf).fingerprint(hashes.SHA256())
    log = plain_site.log()
    with Connection(plain_site) as connection:
        answer = connection.request("/binding/require/", shown(alice.token(binding=tls_binding(digest))))
        assert answer.status in (401, 403)
    assert log.refusals() == ["missing-channel-binding"]


# Services

@pytest.mark.parametrize("service", ["HTTP/127.0.0.1", "HTTP/localhost", "HTTP/second.demo.test"])
def test_any_service_of_the_keytab_will_do(site, alice, service):
    with Connection(site) as connection:
        assert_signed_in(connection.request("/", shown(alice.token(service))))


@pytest.mark.parametrize("path, service, host, status", [
    ("/service/host/", "HTTP/127.0.0.1", "127.0.0.1", 200),
    ("/service/host/", "HTTP/127.0.0.1", "localhost", 401),
    ("/service/host/", "HTTP/localhost", "localhost", 200),
    ("/service/host/", "HTTP/localhost", "LocalHost:8080", 200),
    ("/service/host/", "HTTP/localhost", "127.0.0.1", 401),
    ("/service/host/", "HTTP/localhost", "elsewhere.demo.test", 401),
    ("/service/name/", "HTTP/127.0.0.1", "localhost", 200),
    ("/service/name/", "HTTP/second.demo.test", "127.0.0.1", 200),
    ("/service/name/", "HTTP/localhost", "localhost", 401),
])
def test_which_service_a_ticket_has_to_be_for(plain_site, alice, path, service, host, status):
    log = plain_site.log()
    with Connection(plain_site) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", ": ".join(shown(alice.token(service)))]
        connection.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.receive().status == status
    assert log.refusals() == ([] if status == 200 else ["wrong-service-name"])


# Connections and requests

def test_a_connection_that_closes_will_do(site, alice):
    initiator = alice.initiator()
    with Connection(site) as connection:
        answer = connection.request("/", shown(initiator.step()), ("Connection", "close"))
        assert_signed_in(answer)
        assert_complete(initiator, answer)
        assert answer.closes


def test_http_1_0_will_do(site, alice):
    with Connection(site) as connection:
        answer = connection.request("/", shown(alice.token()), version="HTTP/1.0")
        assert_signed_in(answer)


def test_requests_that_come_at_once_are_judged_each_for_itself(site, alice, bob):
    users = [alice, None, bob, alice, None]
    with Connection(site) as connection:
        for user in users:
            connection.send("/", [shown(user.token())] if user else [])
        answers = [connection.receive() for _ in users]
    assert [answer.status for answer in answers] == [200, 401, 200, 200, 401]
    assert [answer.user for answer in answers if answer.status == 200] == [NAME, BOB, NAME]


@pytest.mark.parametrize("mech", MECHS)
def test_a_head_gets_its_token(site, alice, mech):
    initiator = alice.initiator(mech=mech)
    with Connection(site) as connection:
        answer = connection.request("/static/file", shown(initiator.step()), method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert_complete(initiator, answer)
        assert_signed_in(connection.request("/", shown(alice.token())))


@pytest.mark.parametrize("size", [0, 10, 200000])
def test_a_body_arrives_with_its_user(site, alice, size):
    with Connection(site) as connection:
        refused = connection.request("/", method="POST", body=b"x" * size)
        assert refused.status == 401
        answer = connection.request("/", shown(alice.token()), method="POST", body=b"x" * size)
        assert_signed_in(answer)
        assert answer.json["length"] == size
        assert_signed_in(connection.request("/", shown(alice.token())))


def test_who_waits_for_100_is_signed_in_first(site, alice):
    with Connection(site) as connection:
        connection.send("/", [shown(alice.token()), ("Expect", "100-continue"), ("Content-Length", "10")])
        assert connection.answers.readline().startswith(b"HTTP/1.1 100 ")
        assert connection.answers.readline() == b"\r\n"
        connection.socket.sendall(b"x" * 10)
        answer = connection.receive()
        assert_signed_in(answer)
        assert answer.json["length"] == 10


def test_two_fields_are_one_too_many(site, alice):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/", shown(alice.token()), shown(alice.token()))
        assert answer.status == 400
    # nginx lets only one through.
    assert log.refusals() == (["duplicate-header"] if site.server.name == "httpd" else [])


# One request that is more than one inside

INSIDE = ["/index/", "/fallback/", "/rewritten/", "/included/page"]


def assert_stepped_once(site, alice, path):
    log = site.log()
    initiator = alice.initiator()
    with Connection(site) as connection:
        assert connection.request(path).status == 401
        answer = connection.request(path, shown(initiator.step()))
        assert_signed_in(answer)
        assert_complete(initiator, answer)
        assert connection.request(path).status == 401
    assert log.refusals() == []
    assert log.decisions().count("signed-in") == 1


@pytest.mark.parametrize("path", INSIDE)
def test_a_token_is_stepped_once(site, alice, path):
    assert_stepped_once(site, alice, path)


def test_a_token_is_stepped_once_where_nginx_asks_first(nginx_site, alice):
    assert_stepped_once(nginx_site, alice, "/asking/")


def test_a_token_is_stepped_once_where_nginx_adds_a_page(nginx_site, alice):
    log = nginx_site.log()
    initiator = alice.initiator()
    with Connection(nginx_site) as connection:
        answer = connection.request("/added/file", shown(initiator.step()))
        assert answer.status == 200
        assert answer.body.startswith(b"a file\n{") and f'"{NAME}"'.encode() in answer.body
        assert_complete(initiator, answer)
    assert log.decisions() == ["signed-in"]


@pytest.mark.parametrize("path", INSIDE)
def test_a_token_on_a_stream_is_stepped_once(secure_site, alice, path):
    log = secure_site.log()
    initiator = alice.initiator()
    with Http2(secure_site) as connection:
        answer = connection.request(path, shown(initiator.step()))
        assert (answer["status"], json.loads(answer["body"])["user"]) == (200, NAME)
        assert_complete(initiator, answer)
    assert log.decisions() == ["signed-in"]


@pytest.mark.parametrize("path", ["/error/refused/", "/error/public/"])
def test_an_error_page_of_a_refusal_names_nobody(site, alice, path):
    """The page may be protected, too: the token that was refused is not tried again for it."""
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request(path, shown(alice.token("HTTP/elsewhere.demo.test")))
        assert answer.status == 401
        assert len(answer.challenges) == 1 and answer.challenges[0].startswith("Negotiate ")
        assert NAME.encode() not in answer.body
    assert log.refusals() == ["wrong-service-name"]


# Large tickets

@pytest.fixture(scope="module")
def much(realms, tmp_path_factory):
    """Alice, with a token of almost 48,000 bytes: the most that Windows sends."""
    ticket = realms.forger().ticket(padding=47000)
    path = tmp_path_factory.mktemp("much") / "cache"
    return User(realms.kdc.krb5_conf, write_cache(path, ticket))


@pytest.mark.parametrize("mech", MECHS)
def test_a_large_ticket_signs_in(site, much, mech):
    initiator = much.initiator(mech=mech)
    token = initiator.step()
    assert 47000 < len(token) < 48000
    assert 62000 < len(shown(token)[1]) < 65536
    with Connection(site) as connection:
        answer = connection.request("/static/file", shown(token))
        assert answer.status == 200
        assert_complete(initiator, answer)


def test_a_large_ticket_signs_in_on_a_stream(secure_site, much):
    initiator = much.initiator(mech="spnego")
    with Http2(secure_site) as connection:
        answer = connection.request("/static/file", shown(initiator.step()))
        assert answer["status"] == 200
        assert_complete(initiator, answer)


def test_a_large_ticket_without_room_is_the_servers_to_refuse(server, much, alice):
    site = Site(server, "small")
    log = site.log()
    with Connection(site) as connection:
        assert connection.request("/", shown(alice.token())).status == 200
    with Connection(site) as connection:
        assert connection.request("/", shown(much.token())).status == 400
    assert log.decisions() == ["signed-in"]
