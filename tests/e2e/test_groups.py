"""Who may come in by the groups of an Active Directory: the same by Kerberos, from the ticket, and by NTLM."""

import json
import re
import shutil
from contextlib import ExitStack

import pytest

import ad_world
import valgrind
from accounts import DOMAIN, FORMER_SID, GROUPS_OF_GROUPIE, WWW
from ad_world import AD_ALICE, AD_BOB, AD_GROUPIE
from conftest import make_server
from krb5_client import environment
from krb5_world import install
from raw_http import Connection
from servers import Httpd, Nginx, until

KINDS = {"nginx": Nginx, "httpd": Httpd}
WORKER = "www-data"
MECHANISMS = ["ntlm", "kerberos"]
ACCOUNTS = {"alice": AD_ALICE, "bob": AD_BOB, "groupie": AD_GROUPIE}
# The places, and whom they let in.
PLACES = {
    "web-admins": {"alice"}, "qualified": {"alice"}, "all-staff": {"alice", "bob"}, "web-local": {"alice"},
    "spaced": set(ACCOUNTS), "crowd": {"groupie"}, "former": set(), "sid": {"alice"}, "own-sid": {"bob"}, "unknown": set(), "a-user-is-no-group": set(),
    "any": {"alice", "bob"}, "both": {"alice"}, "all": {"alice"}, "user": {"alice"}, "moved": {"alice"},
    "not-admins": {"bob", "groupie"}, "none-of": {"groupie"}, "not-unknown": set(), "not-not": {"alice"},
}


def member_server(kind, domain):
    """A server on the member, with rules."""

    class OnMember(kind):
        templates = "conf/groups"

        def start(self, wrapper=()):
            (self.directory / "replays").mkdir()
            shutil.chown(self.directory / "replays", WORKER)
            keytab = (domain.keytabs / "http.keytab").read_bytes()
            self.values["KEYTAB"] = install(self.directory / "http.keytab", keytab)
            self.values["ADMINS"] = domain.sid("web-admins")
            self.values["BOB"] = domain.sid("bob")
            self.values["FORMER"] = FORMER_SID
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
    with domain.member.network():
        yield


class Tickets:
    """Of users, as they are when a ticket is got."""

    def __init__(self, domain, folder):
        self.domain = domain
        self.folder = folder

    def fresh(self, user):
        cache = self.folder / user
        cache.unlink(missing_ok=True)
        self.domain.member.kinit(user, cache=cache)
        return {"KRB5CCNAME": f"FILE:{cache}", "KRB5_CONFIG": str(self.domain.member.krb5_conf)}


@pytest.fixture(scope="module")
def tickets(domain):
    with ad_world.folder() as folder:
        got = Tickets(domain, folder)
        yield {user: got.fresh(user) for user in ACCOUNTS}


class Visit:
    """An answer, and what the application saw."""

    def __init__(self, status, body):
        self.status = status
        self.body = body if isinstance(body, str) else body.decode()
        self.described = json.loads(body) if status == 200 else None

    @property
    def user(self):
        return self.described["user"]

    @property
    def groups(self):
        return self.described["headers"].get("x-groups", "")

    @property
    def sid(self):
        return self.described["headers"].get("x-sid", "")


def visit(domain, site, path, user, mechanism, variables):
    if mechanism == "ntlm":
        with Connection(site) as connection:
            answer = connection.sign_in(ACCOUNTS[user], path)
            return Visit(answer.status, answer.body)
    with environment(**variables):
        done = domain.member.run(["curl", "--silent", "--insecure", "--negotiate", "--user", ":", "--write-out",
                                  "\n%{http_code}", f"{site.scheme}://{WWW}:{site.port}{path}"])
    body, status = done.stdout.rsplit("\n", 1)
    return Visit(int(status), body)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("user", ACCOUNTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_rule_lets_in_whom_it_names_by_either_mechanism(domain, plain_site, tickets, place, user, mechanism):
    log = plain_site.log()
    answer = visit(domain, plain_site, f"/{place}/x", user, mechanism, tickets[user])
    if user in PLACES[place]:
        assert (answer.status, answer.user) == (200, f"{DOMAIN}\\{user}")
        assert log.refusals() == []
        return
    assert answer.status == 403
    if place in ("user", "all") and plain_site.server.name == "httpd":
        # By rules that are httpd's own.
        return
    # httpd escapes backslashes in its log.
    assert re.search(rf'user "{DOMAIN}\\+{user}": no rule lets the user in: ', log.wait("258 not-allowed")[-1])
    (more,) = log.wait(" is in ")
    assert re.search(rf'"{DOMAIN}\\+(web-users|crowd-[0-9]+)"|"S-1-5-', more)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_access_log_tells_who_was_kept_out(domain, plain_site, tickets, mechanism):
    access = plain_site.access_log()
    assert visit(domain, plain_site, "/web-admins/x", "bob", mechanism, tickets["bob"]).status == 403
    access.wait(r'^403 GET /web-admins/x user="ADTEST(\\x5C|\\+)bob" not-allowed')


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_who_is_kept_out_sees_the_error_page_that_they_may_see(domain, plain_site, tickets, mechanism):
    log, access = plain_site.log(), plain_site.access_log()
    page = visit(domain, plain_site, "/page/x", "bob", mechanism, tickets["bob"])
    assert page.status == 403
    assert json.loads(page.body)["user"] == f"{DOMAIN}\\bob"
    assert len(log.wait("258 not-allowed")) == 1
    access.wait(r'^403 GET /page/x user="ADTEST(\\x5C|\\+)bob" not-allowed')
    assert not log.lines("signed-in: .*no rule")
    # One that only others may see, and one where everybody would have to sign in once more.
    for count, place in enumerate(["closed-page", "foreign-page"], start=2):
        answer = visit(domain, plain_site, f"/{place}/x", "bob", mechanism, tickets["bob"])
        assert answer.status == 403
        assert '"user"' not in answer.body
        assert len(log.wait("258 not-allowed", count)) == count


def test_nobody_is_asked_to_sign_in_for_the_page_of_a_refusal(plain_site):
    with Connection(plain_site) as connection:
        for place in ("page", "closed-page", "foreign-page"):
            answer = connection.sign_in(AD_BOB, f"/{place}/x")
            assert (answer.status, answer.challenges) == (403, [])
        # He is signed in here still, or can be again.
        assert connection.sign_in(AD_BOB, "/all-staff/x").status == 200


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_groups_are_told_the_same_by_either_mechanism(domain, plain_site, tickets, user):
    names, sids = {}, {}
    for mechanism in MECHANISMS:
        told = visit(domain, plain_site, "/names/x", user, mechanism, tickets[user])
        assert told.sid == domain.sid(user)
        # winbindd may have names in lower case.
        names[mechanism] = set(told.groups.lower().split(","))
        sids[mechanism] = set(json.loads(visit(domain, plain_site, "/sids/x", user, mechanism, tickets[user]).groups))
        assert visit(domain, plain_site, "/x", user, mechanism, tickets[user]).groups == ""
    own = {"web-users", "all-staff", "domain users"} | ({"web-admins", "web-local"} if user == "alice" else set())
    for mechanism in MECHANISMS:
        assert {name.partition("\\")[2] for name in names[mechanism] if name.startswith("adtest\\")} == own
        assert domain.sid("web-users") in sids[mechanism]
    prefix = domain.sid("web-users").rpartition("-")[0]
    assert len({frozenset(sid for sid in of if sid.startswith(prefix)) for of in sids.values()}) == 1


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_thousand_groups_are_told_whole_or_not_at_all(domain, plain_site, tickets, mechanism):
    def told(place):
        return visit(domain, plain_site, f"/{place}/x", "groupie", mechanism, tickets["groupie"]).groups

    crowd = domain.sids("crowd-*")
    assert len(crowd) == len(GROUPS_OF_GROUPIE)
    assert set(crowd.values()) <= set(told("many-sids").split(","))
    names = {name.lower() for name in told("many-names").split(",")}
    assert {f"{DOMAIN}\\{name}".lower() for name in crowd} <= names
    log = plain_site.log()
    assert told("sids") == ""
    (line,) = log.wait("more than groups_limit")
    assert re.search(rf'groups of user "{DOMAIN}\\+groupie" are not told: the list of \d{{4}} takes \d+ bytes', line)


@pytest.mark.parametrize("name", KINDS)
def test_a_group_that_nobody_knows_is_told_at_start(domain, running, name):
    server = running[name]
    path = server.directory / f"tested-{name}.conf"
    path.write_text(server.configuration.read_text())
    with environment(**server.environment(for_test=True) or {}):
        said = domain.member.run([*server.command(path), "-t"]).stderr
    lines = [line for line in said.splitlines() if "web-admnis" in line]
    assert len(set(lines)) == len(lines) == 2
    for line in lines:
        assert 'no group is called "web-admnis": nobody comes in by this rule' in line
        assert f"tested-{name}.conf:" in line
    assert "web-local" not in said


def test_a_rule_that_may_be_negated_elsewhere_is_no_rule(running):
    """An alias could stand after "not", which its provider is not told."""
    server = running["httpd"]
    alias = "<AuthzProviderAlias negotiate-group staff all-staff>\n</AuthzProviderAlias>\n"
    with environment(**server.environment(for_test=True) or {}):
        status, said = server.test(server.configuration.read_text() + alias)
    assert status != 0
    assert 'negotiate-group has no alias: whether "not" stands before it must be known' in said
    assert re.search(r"line \d+ of .*tested-httpd.conf", said)


def test_a_change_counts_with_the_next_sign_in_and_the_next_ticket(domain, plain_site, tickets):
    with ad_world.folder() as folder:
        later = Tickets(domain, folder)
        domain.set_member("web-admins", "bob", True)
        try:
            until(lambda: visit(domain, plain_site, "/web-admins/x", "bob", "ntlm", None).status == 200, "the change")
            assert visit(domain, plain_site, "/web-admins/x", "bob", "kerberos", tickets["bob"]).status == 403
            assert visit(domain, plain_site, "/web-admins/x", "bob", "kerberos", later.fresh("bob")).status == 200
        finally:
            domain.set_member("web-admins", "bob", False)
        until(lambda: visit(domain, plain_site, "/web-admins/x", "bob", "ntlm", None).status == 403, "the change")
        assert visit(domain, plain_site, "/web-admins/x", "bob", "kerberos", later.fresh("bob")).status == 403
