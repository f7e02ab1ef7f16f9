"""What users are called: by each format, by both mechanisms, and that nobody is called as somebody else is."""

import json

import pytest

from http2_client import Http2
from krb5_client import ap_req, assert_complete, shown
from krb5_world import DEMO_ALICE, DEMO_ZOE, OTHER_BOB, STRANGER
from raw_http import Connection


@pytest.fixture(scope="module")
def running(running_with_kerberos):
    return running_with_kerberos


@pytest.fixture(scope="module")
def forger(realms):
    return realms.forger()


def by_kerberos(site, forger, path, principal):
    with Connection(site) as connection:
        return connection.request(path, shown(ap_req(forger.ticket(client=principal))))


def by_ntlm(site, path, account):
    with Connection(site) as connection:
        return connection.sign_in(account, path)


# One user

FORMATS = {
    "/names/full/": "alice@DEMO.TEST",
    "/names/short/": "alice",
    "/names/shorts/": "alice",
    "/names/domain/": "DEMO\\alice",
    "/names/local/": "alice",
    "/names/lower/full/": "alice@demo.test",
    "/names/lower/domain/": "demo\\alice",
    "/names/lower/local/": "alice",
}


@pytest.mark.parametrize("path, name", FORMATS.items())
def test_a_user_has_one_name_whichever_mechanism_proved_it(plain_site, forger, path, name):
    kerberos, ntlm = by_kerberos(plain_site, forger, path, "alice@DEMO.TEST"), by_ntlm(plain_site, path, DEMO_ALICE)
    assert (kerberos.user, ntlm.user) == (name, name)
    parts = [(answer.json["negotiate"]["mechanism"], answer.json["negotiate"]["user"],
              answer.json["negotiate"]["domain"]) for answer in (kerberos, ntlm)]
    assert parts == [("kerberos", "alice", "DEMO.TEST"), ("ntlm", "alice", "DEMO")]


@pytest.mark.parametrize("path, kerberos, ntlm", [
    ("/names/unmapped/", "alice@DEMO.TEST", "DEMO\\alice"),
    ("/names/unmapped/domain/", "alice@DEMO.TEST", "DEMO\\alice"),
])
def test_without_a_map_the_names_are_what_the_mechanisms_say(plain_site, forger, path, kerberos, ntlm):
    assert by_kerberos(plain_site, forger, path, "alice@DEMO.TEST").user == kerberos
    assert by_ntlm(plain_site, path, DEMO_ALICE).user == ntlm


def test_letters_outside_ascii_are_the_same_in_both(plain_site, forger):
    for path, name in (("/names/full/", "Zoë@DEMO.TEST"), ("/names/short/", "Zoë"), ("/names/domain/", "DEMO\\Zoë"),
                       ("/names/lower/full/", "zoë@demo.test"), ("/names/lower/domain/", "demo\\zoë")):
        assert by_kerberos(plain_site, forger, path, "Zoë@DEMO.TEST").user == name
        assert by_ntlm(plain_site, path, DEMO_ZOE).user == name


def test_case_is_kept_where_it_is_not_to_be_lowered(plain_site, forger):
    assert by_kerberos(plain_site, forger, "/names/short/", "Alice@DEMO.TEST").user == "Alice"
    assert by_kerberos(plain_site, forger, "/names/lower/full/", "ÉCOLE@DEMO.TEST").user == "école@demo.test"


# Another realm

@pytest.mark.parametrize("path, kerberos, ntlm", [
    ("/names/full/", "bob@OTHER.TEST", "bob@OTHER.TEST"),
    ("/names/short/", "bob@OTHER.TEST", "bob@OTHER.TEST"),
    ("/names/shorts/", "bob", "bob"),
    ("/names/domain/", "OTHER\\bob", "OTHER\\bob"),
])
def test_a_user_of_a_realm_that_the_map_knows(plain_site, forger, path, kerberos, ntlm):
    assert by_kerberos(plain_site, forger, path, "bob@OTHER.TEST").user == kerberos
    assert by_ntlm(plain_site, path, OTHER_BOB).user == ntlm


@pytest.mark.parametrize("path", ["/names/full/", "/names/short/", "/names/shorts/", "/names/domain/"])
@pytest.mark.parametrize("realm", [
    "DEMO.TEST.EVIL.TEST", "EVIL.DEMO.TEST", "EVILDEMO.TEST", "DEMO.TES", "EMO.TEST", "demo.test", "DEMO.TEST.",
    ".DEMO.TEST", "DEMO", "TEST", "*", "DEMO.TEST OTHER.TEST"])
def test_a_realm_that_is_not_listed_stays(plain_site, forger, path, realm):
    assert by_kerberos(plain_site, forger, path, f"alice@{realm}").user == f"alice@{realm}"


@pytest.mark.parametrize("path", ["/names/full/", "/names/short/", "/names/shorts/", "/names/domain/"])
def test_a_domain_that_the_map_does_not_know_stays(plain_site, path):
    assert by_ntlm(plain_site, path, STRANGER).user == "STRANGE\\alice"


# Principals that look like others

ODD = {
    "an instance": "alice/admin@DEMO.TEST",
    "two instances": "alice/admin/more@DEMO.TEST",
    "a service": "HTTP/www.demo.test@DEMO.TEST",
    "a realm in the name": "alice\\@OTHER.TEST@DEMO.TEST",
    "its own realm in the name": "alice\\@DEMO.TEST@DEMO.TEST",
    "a domain in the name": "OTHER\\\\alice@DEMO.TEST",
    "its own domain in the name": "DEMO\\\\alice@DEMO.TEST",
    "a slash in the name": "alice\\/admin@DEMO.TEST",
    "a backslash at the end": "alice\\\\@DEMO.TEST",
    "an empty instance": "alice/@DEMO.TEST",
}


@pytest.mark.parametrize("path", ["/names/full/", "/names/short/", "/names/shorts/", "/names/domain/"])
@pytest.mark.parametrize("principal", ODD.values(), ids=ODD.keys())
def test_what_could_be_read_as_another_name_stays_whole(plain_site, forger, path, principal):
    assert by_kerberos(plain_site, forger, path, principal).user == principal


PLAIN = {
    "blanks": "alice of wonderland",
    "a blank in front": " alice",
    "a blank behind": "alice ",
    "a quote": "o'hara",
    "quotes": 'al"ice',
    "a dollar": "ALICE$",
    "a percent sign": "100%25",
    "a comma and a colon": "alice,bob:admin",
    "cyrillic": "алиса",
    "chinese": "爱丽丝",
    "beyond the first plane": "alice\U0001f407",
    "combined": "zoe\u0308",
    "long": "a" * 250,
}


@pytest.mark.parametrize("user", PLAIN.values(), ids=PLAIN.keys())
def test_other_letters_arrive_as_they_are(plain_site, forger, user):
    for path, name in (("/names/full/", f"{user}@DEMO.TEST"), ("/names/short/", user),
                       ("/names/domain/", f"DEMO\\{user}")):
        seen = by_kerberos(plain_site, forger, path, f"{user}@DEMO.TEST").user
        # Fields of HTTP begin with no blank.
        assert seen == (name.lstrip() if plain_site.server.name == "nginx" else name)


@pytest.mark.parametrize("letter, written", [("\n", "\\n"), ("\t", "\\t"), ("\b", "\\b"), ("\0", "\\0")])
def test_libkrb5_writes_some_letters_in_its_own_way(plain_site, forger, letter, written):
    """Or they are no names at all: what counts is that none arrives as it is."""
    log = plain_site.log()
    answer = by_kerberos(plain_site, forger, "/names/short/", f"al{letter}ice@DEMO.TEST")
    if answer.status == 200:
        assert answer.user == f"al{written}ice@DEMO.TEST"
    else:
        assert (answer.status, log.refusals()) == (401, ["bad-name"])


BAD = {
    "nobody": "@DEMO.TEST",
    "no realm": "alice@",
    "an escape": "al\x1bice@DEMO.TEST",
    "a bell": "al\aice@DEMO.TEST",
    "a return": "al\rice@DEMO.TEST",
    "deleted": "al\x7fice@DEMO.TEST",
    "a control of C1": "al\x85ice@DEMO.TEST",
    "turned around": "al\u202eice@DEMO.TEST",
    "isolated": "al\u2066ice@DEMO.TEST",
    "turned around in the realm": "alice@DEMO\u202e.TEST",
    "without end": f"{'a' * 5000}@DEMO.TEST",
}


@pytest.mark.parametrize("principal", BAD.values(), ids=BAD.keys())
def test_what_is_no_name_signs_nobody_in(plain_site, forger, principal):
    log = plain_site.log()
    answer = by_kerberos(plain_site, forger, "/names/full/", principal)
    assert answer.status == 401
    assert log.refusals() == ["bad-name"]
    for line in log.lines("bad-name"):
        assert not any(letter in line for letter in "\x1b\a\r\x7f\x85\u202e\u2066")


def test_names_are_texts(plain_site, realms, forger):
    """Bytes that are no UTF-8."""
    log = plain_site.log()
    principal = "al\udce4ice@DEMO.TEST"
    with Connection(plain_site) as connection:
        token = ap_req(forger.ticket(client=principal))
        assert connection.request("/names/full/", shown(token)).status == 401
    assert log.refusals() == ["bad-name"]


# Local names

@pytest.mark.parametrize("path, principal, name", [
    ("/names/local/", "alice@DEMO.TEST", "alice"),
    ("/names/local/", "renamed@DEMO.TEST", "local-name"),
    ("/names/local/", "capital@DEMO.TEST", "Capital"),
    ("/names/lower/local/", "capital@DEMO.TEST", "capital"),
    ("/names/local/", "bob/admin@DEMO.TEST", "bob-admin"),
])
def test_a_local_name_is_what_krb5_conf_says(site, forger, path, principal, name):
    assert by_kerberos(site, forger, path, principal).user == name


@pytest.mark.parametrize("principal", [
    "alice@OTHER.TEST", "alice@DEMO.TEST.EVIL.TEST", "alice@EVIL.DEMO.TEST", "alice/other@DEMO.TEST",
    "alice/admin/more@DEMO.TEST"])
def test_who_has_no_local_name_is_known_and_not_let_in(site, forger, principal):
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request("/names/local/", shown(ap_req(forger.ticket(client=principal))))
        assert (answer.status, answer.all("WWW-Authenticate")[1:]) == (403, [])
        assert connection.request("/names/local/").status == 401
    assert log.refusals() == ["no-local-name"]


def test_a_domain_without_a_realm_has_no_local_names(site):
    log = site.log()
    with Connection(site) as connection:
        assert connection.sign_in(STRANGER, "/names/local/").status == 403
        assert connection.request("/names/local/").status != 200
    assert set(log.refusals()) == {"no-local-name"}


def test_streams_have_local_names_too(secure_site, realms, alice):
    log = secure_site.log()
    initiators = [alice.initiator() for _ in range(5)]
    with Http2(secure_site) as connection:
        streams = [connection.send("/names/local/", shown(initiator.step())) for initiator in initiators]
        for initiator, stream in zip(initiators, streams):
            answer = connection.receive(stream)
            assert (answer["status"], json.loads(answer["body"])["user"]) == (200, "alice")
            assert_complete(initiator, answer)
    assert log.refusals() == []


# Elsewhere

def test_the_access_log_has_the_name(site, forger):
    log = site.access_log()
    by_kerberos(site, forger, "/names/short/logged", "alice@DEMO.TEST")
    by_kerberos(site, forger, "/names/full/logged", "alice/admin@DEMO.TEST")
    short, full = log.wait("/logged", 2)
    assert 'user="alice" mechanism="kerberos"' in short
    assert 'user="alice/admin@DEMO.TEST" mechanism="kerberos"' in full


def test_htaccess_may_say_how_names_are_written(httpd_site, alice):
    log = httpd_site.access_log()
    with Connection(httpd_site) as connection:
        assert connection.request("/htaccess/names/file", shown(alice.token())).status == 200
    (line,) = log.wait("/htaccess/names/file")
    assert 'user="alice" ' in line


def test_who_stays_signed_in_is_called_as_each_place_says(plain_site, forger):
    """The proof lasts, and the name follows from the rules of the request."""
    with Connection(plain_site) as connection:
        assert connection.sign_in(DEMO_ALICE, "/names/full/").user == "alice@DEMO.TEST"
        for path, name in FORMATS.items():
            assert connection.request(path).user == name
