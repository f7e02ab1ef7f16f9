"""Only the PAC that is signed with the service's key, and is the client's own, puts anybody into a group."""

import json

import pytest
from impacket.dcerpc.v5.rpcrt import TypeSerialization1
from impacket.krb5.crypto import Key
from impacket.krb5.pac import KERB_VALIDATION_INFO

import ad_world
from accounts import FORMER_SID, PASSWORD, REALM, WWW
from krb5_client import environment
from pac_forge import LOGON_INFO, Forged, buffer, with_former_sid, with_group
from test_groups import on_the_member, running, server


class Forge:
    def __init__(self, domain, folder):
        self.domain = domain
        self.folder = folder
        self.number = 0

    def open(self, user):
        """A ticket of the user's for the service."""
        cache = self.folder / f"{user}-{self.number}"
        self.domain.member.kinit(user, cache=cache)
        with environment(KRB5CCNAME=f"FILE:{cache}", KRB5_CONFIG=str(self.domain.member.krb5_conf)):
            self.domain.member.run(["kvno", f"HTTP/{WWW}"])
        return Forged(cache, self.domain.keytabs / "http.keytab", f"HTTP/{WWW}@{REALM}")

    def rid(self, account):
        return int(self.domain.sid(account).rpartition("-")[2])

    def show(self, site, forged, place):
        """The status for who shows this ticket there."""
        self.number += 1
        cache = forged.write(self.folder / f"forged-{self.number}")
        with environment(KRB5CCNAME=f"FILE:{cache}", KRB5_CONFIG=str(self.domain.member.krb5_conf)):
            done = self.domain.member.run(["curl", "--silent", "--negotiate", "--user", ":", "--output", "/dev/null",
                                           "--write-out", "%{http_code}", f"http://{WWW}:{site.port}/{place}/x"])
        return int(done.stdout)


@pytest.fixture
def forge(domain):
    with ad_world.folder() as folder:
        yield Forge(domain, folder)


def test_what_was_not_touched_is_as_good_as_before(plain_site, forge):
    alice, bob = forge.open("alice"), forge.open("bob")
    alice.put(alice.pac)
    bob.put(bob.sign(bob.pac))
    assert forge.show(plain_site, alice, "web-admins") == 200
    assert forge.show(plain_site, bob, "all-staff") == 200
    assert forge.show(plain_site, bob, "web-admins") == 403


def as_admin(forge, bob):
    return with_group(bob.pac, forge.rid("web-users"), forge.rid("web-admins"))


def other_key(bob):
    return Key(bob.key.enctype, bytes(len(bob.key.contents)))


FORGERIES = {
    "tampered": lambda forge, bob: [as_admin(forge, bob)],
    "signed with another key": lambda forge, bob: [bob.sign(as_admin(forge, bob), other_key(bob))],
    "somebody else's": lambda forge, bob: [forge.open("alice").pac],
    "two": lambda forge, bob: [bob.pac, bob.sign(as_admin(forge, bob))],
    "two alike": lambda forge, bob: [bob.pac, bob.pac],
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_puts_nobody_into_a_group(plain_site, forge, kind):
    bob = forge.open("bob")
    bob.put(*FORGERIES[kind](forge, bob))
    log = plain_site.log()
    places = ("web-admins", "all-staff", "sid", "own-sid", "not-admins", "none-of", "not-not")
    for place in places:
        assert forge.show(plain_site, bob, place) == 403
    log.wait("260 wrong-pac", len(places))
    # The ticket is bob's all the same.
    assert forge.show(plain_site, bob, "open") == 200
    assert forge.show(plain_site, bob, "names") == 200


@pytest.mark.parametrize("end", [0, 7, -1])
def test_what_is_no_pac_spoils_its_ticket(plain_site, forge, end):
    bob = forge.open("bob")
    bob.put(bob.pac[:end])
    log = plain_site.log()
    assert forge.show(plain_site, bob, "all-staff") == 401
    log.wait("240 kerberos-refused")


def test_a_ticket_without_one_is_in_no_group(plain_site, forge):
    bob = forge.open("bob")
    bob.put()
    log = plain_site.log()
    for place in ("all-staff", "not-admins", "none-of", "not-not"):
        assert forge.show(plain_site, bob, place) == 403
    log.wait("259 missing-pac", 4)
    assert forge.show(plain_site, bob, "open") == 200


def test_who_has_the_services_key_chooses_the_groups(plain_site, forge):
    """As the documentation says: that is what the signature of the service shows, and no more."""
    bob = forge.open("bob")
    bob.put(bob.sign(as_admin(forge, bob)))
    assert forge.show(plain_site, bob, "web-admins") == 200
    assert forge.show(plain_site, bob, "all-staff") == 200


def test_who_came_from_another_domain_is_still_in_its_groups(plain_site, forge):
    """sIDHistory, as Windows's controllers tell it; Samba's have the attribute and do not tell it."""
    bob = forge.open("bob")
    former = with_former_sid(bob.pac, FORMER_SID)
    bob.put(former)
    assert forge.show(plain_site, bob, "former") == 403
    bob.put(bob.sign(former))
    assert forge.show(plain_site, bob, "former") == 200
    assert forge.show(plain_site, bob, "all-staff") == 200


@pytest.mark.parametrize("wish", [["ALICE"], ["-E", f"alice@{REALM.lower()}"], ["-C", "-E", f"ALICE@{REALM.lower()}"]],
                         ids=" ".join)
def test_a_name_is_the_tickets_however_it_was_typed(domain, plain_site, forge, wish):
    """The PAC has the client as the ticket does, be it in other letters than the directory's, or as an enterprise
    name."""
    cache = forge.folder / "typed"
    with environment(KRB5CCNAME=f"FILE:{cache}", KRB5_CONFIG=str(domain.member.krb5_conf)):
        domain.member.run(["kinit", *wish], input=PASSWORD + "\n")
        domain.member.run(["kvno", f"HTTP/{WWW}"])
    ticket = Forged(cache, domain.keytabs / "http.keytab", f"HTTP/{WWW}@{REALM}")
    assert forge.show(plain_site, ticket, "web-admins") == 200
    assert forge.show(plain_site, ticket, "own-sid") == 403


def groups_by_impacket(pac):
    """The SIDs that count for access, as another decoder reads them."""
    start, size = buffer(pac, LOGON_INFO)
    data = pac[start:start + size]
    info = KERB_VALIDATION_INFO()
    body = data[len(TypeSerialization1(data)) + 4:]
    info.fromString(body)
    info.fromStringReferents(body[len(info.getData()):])
    domain = info["LogonDomainId"].formatCanonical()
    sids = {f"{domain}-{group['RelativeId']}" for group in info["GroupIds"]} | {f"{domain}-{info['PrimaryGroupId']}"}
    sids |= {extra["Sid"].formatCanonical() for extra in info["ExtraSids"]} if info["SidCount"] else set()
    if info["ResourceGroupCount"]:
        resources = info["ResourceGroupDomainSid"].formatCanonical()
        sids |= {f"{resources}-{group['RelativeId']}" for group in info["ResourceGroupIds"]}
    return sids


@pytest.mark.parametrize("user", ["alice", "bob", "groupie"])
def test_it_is_read_as_others_read_it(domain, plain_site, forge, user):
    ticket = forge.open(user)
    with environment(KRB5CCNAME=f"FILE:{ticket.write(forge.folder / 'same')}",
                     KRB5_CONFIG=str(domain.member.krb5_conf)):
        done = domain.member.run(["curl", "--silent", "--negotiate", "--user", ":",
                                  f"http://{WWW}:{plain_site.port}/many-sids/x"])
    told = json.loads(done.stdout)["headers"]["x-groups"].split(",")
    assert set(told) == groups_by_impacket(ticket.pac)
    assert len(told) == len(set(told)) > 3
