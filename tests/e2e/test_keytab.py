"""Keytabs: what is wrong with one, several of them, and what happens when one changes while the servers run."""

import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from endurance import TROUBLE, rounds
from krb5_client import AES256, RC4, Key, assert_signed_in, keys_of, keytab, shown
from krb5_world import BREAKABLE, OTHER_REALM, REALM, ROTATED, SERVICE, install, processes
from raw_http import Connection
from servers import IS_ROOT, Site, until
from test_configuration import assert_error, check, directive


@pytest.fixture(scope="module")
def running(running_with_kerberos):
    return running_with_kerberos


# What makes a configuration wrong, beyond what test_configuration.py says of single options

def path_of(server, name, data=b""):
    return install(server.directory / f"tested-{name}", data)


def a_key(service="HTTP/127.0.0.1", enctype=AES256):
    return keytab([(f"{service}@{REALM}", Key.random(enctype))])


def test_an_unreadable_keytab_is_an_error_with_its_place(server):
    """Root reads everything, but no file can be reached in a circle."""
    path = server.directory / "circle.keytab"
    path.unlink(missing_ok=True)
    path.symlink_to(path)
    assert_error(server, [directive(server, "keytab", path)], str(path), "cannot be read", accounts=None)


WRONG = {
    "noise": bytes(range(256)) * 4,
    "of another version": b"\x05\x09" + a_key()[2:],
    "for a user": a_key("HTTP"),
    "for a service of several parts": a_key("HTTP/127.0.0.1/more"),
    "for a service that begins alike": a_key("HTTPS/127.0.0.1"),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_a_keytab_without_a_key_for_http_is_an_error_with_its_place(server, data):
    path = path_of(server, "wrong-one.keytab", data)
    assert_error(server, [directive(server, "keytab", path)], str(path), accounts=None)


@pytest.mark.parametrize("value", [
    "=DEMO", "DEMO.TEST=", "DEMO.TEST=DE/MO", "DEMO.TEST=A=B", "DEMO.TEST=DEMO DEMO.TEST=OTHER", "alice@DEMO.TEST=DEMO",
    "DEMO.TEST=ABCDEFGHIJKLMNOP"])
def test_a_map_that_makes_no_sense_is_an_error_with_its_place(server, value):
    path = path_of(server, "fine.keytab", a_key())
    lines = [directive(server, "realm_map", value), directive(server, "keytab", path)]
    assert_error(server, lines, "realm_map", accounts=None)


def test_a_keytab_with_no_mechanism_for_it_is_no_error(server):
    path = path_of(server, "fine.keytab", a_key())
    status, said = check(server, [directive(server, "mechanisms", "ntlm"), directive(server, "keytab", path)])
    assert status == 0, said


def sections(server, *parts):
    """Directives, and then sections with some of their own."""
    first, *others = ([directive(server, key, value) for key, value in part] for part in parts)
    if server.name == "nginx":
        return [*first, *("location /%d/ { %s }" % (number, " ".join(part)) for number, part in enumerate(others))]
    lines = [*first, "</Location>"]
    for number, part in enumerate(others):
        lines += [f'<Location "/{number}/">', *part, "</Location>"]
    return [*lines, '<Location "/">']


UNRELATED = {
    "bindings": [[], [("channel_binding", "off")], [("channel_binding", "require"), ("replay_cache", "off")]],
    "service names": [
        [], [("channel_binding", "off")],
        [("keytab", "@DIR@/tested-second.keytab"), ("service_name", "second.demo.test")]],
    "enctypes": [[], [("channel_binding", "off")], [("keytab", "@DIR@/tested-weak.keytab"), ("allow_rc4", "on")]],
}


@pytest.mark.parametrize("parts", UNRELATED.values(), ids=UNRELATED.keys())
def test_what_one_section_says_is_not_held_against_another(server, parts):
    """Each of them makes sense, by itself and with what it inherits."""
    path_of(server, "second.keytab", a_key("HTTP/second.demo.test"))
    path_of(server, "weak.keytab", a_key(enctype=RC4))
    path = path_of(server, "fine.keytab", a_key())
    first, *others = parts
    status, said = check(server, sections(server, [("keytab", path), *first], *others), accounts=None)
    assert status == 0, said


def test_htaccess_may_not_name_a_keytab(httpd_site, alice):
    log = httpd_site.log()
    with Connection(httpd_site) as connection:
        assert connection.request("/htaccess/keytab/file", shown(alice.token())).status == 500
    assert log.lines("NegotiateKeytab not allowed")


# Several keytabs

def test_a_keytab_for_root_alone_will_do(site, alice):
    path = site.server.directory / "root.keytab"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.geteuid()
    with Connection(site) as connection:
        assert_signed_in(connection.request("/keys/root/", shown(alice.token())))


def test_a_keytab_of_many_entries_will_do(site, alice):
    """The last of them is the one."""
    entries = keys_of(site.server.directory / "many.keytab")
    assert sum(map(len, entries.values())) == 61
    with Connection(site) as connection:
        assert_signed_in(connection.request("/keys/many/", shown(alice.token())))


def ask(server, host, path, token):
    """One request to this virtual host."""
    with Connection(Site(server, "http")) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", ": ".join(shown(token)), "", ""]
        connection.socket.sendall("\r\n".join(lines).encode())
        return connection.receive()


@pytest.mark.parametrize("host, path", [("127.0.0.1", "/keys/other/"), ("other.test", "/")])
def test_each_place_has_its_own_realm(server, realms, alice, host, path):
    stranger = realms.user("alice", "each-place", realms.other)
    log = Site(server, "http").log()
    assert_signed_in(ask(server, host, path, stranger.token()), f"alice@{OTHER_REALM}")
    assert_signed_in(ask(server, "127.0.0.1", "/", alice.token()))
    assert log.refusals() == []
    assert ask(server, host, path, alice.token()).status == 401
    assert ask(server, "127.0.0.1", "/", stranger.token()).status == 401
    assert log.refusals() == ["wrong-service-name"] * 2


def test_old_keys_that_were_kept_are_good(site, realms, alice):
    with Connection(site) as connection:
        for user in (realms.outdated, alice):
            assert_signed_in(connection.request("/keys/kept/", shown(user.token(ROTATED))))


# A keytab that changes

REREAD = "/static/reread/file"


@pytest.fixture(params=["nginx", "httpd"])
def changing(request, running):
    """A server of each kind: what changes is read by the library alone."""
    return running[request.param]


def show(server, token, path=REREAD):
    with Connection(Site(server, "http")) as connection:
        return connection.request(path, shown(token)).status


def until_all(server, pattern, ask):
    """Asks until every worker has written a line like this."""
    log, count = Site(server, "http").log(), len(server.workers())

    def all_have():
        ask()
        return len(processes(log.lines(pattern))) == count

    until(all_have, f"all workers to say {pattern}")
    return log


def until_accepted(server, user, service, path=REREAD):
    until_all(server, "auth_negotiate: 0 signed-in", lambda: show(server, user.token(service), path))


def until_refused(server, user, service, reason, path=REREAD):
    until_all(server, f"auth_negotiate: [0-9]+ {reason}: ", lambda: show(server, user.token(service), path))


@pytest.fixture
def service(realms):
    """A service of its own, which nobody else needs."""
    name = f"HTTP/{secrets.token_hex(8)}.demo.test"
    realms.kdc.add_service(name)
    return name


def entries(realms, service):
    return [(f"{service}@{REALM}", key) for key in realms.export(realms.kdc, service)[service]]


def of_latest(entries):
    latest = max(key.kvno for _, key in entries)
    return [(name, key) for name, key in entries if key.kvno == latest]


def test_keys_come_and_go(changing, realms, service):
    path = changing.directory / "reread.keytab"
    old = realms.user("alice", "old")
    install(path, keytab(entries(realms, service)))
    until_accepted(changing, old, service)

    realms.kdc.rotate(service)
    new = realms.user("alice", "new")
    assert show(changing, new.token(service)) == 401
    install(path, keytab(entries(realms, service)))
    until_accepted(changing, new, service)
    assert [show(changing, user.token(service)) for user in (old, new, old)] == [200] * 3

    install(path, keytab(of_latest(entries(realms, service))))
    until_refused(changing, old, service, "wrong-kvno")
    assert show(changing, new.token(service)) == 200

    anew = [(name, Key.random(key.enctype, key.kvno)) for name, key in of_latest(entries(realms, service))]
    install(path, keytab(anew))
    until_refused(changing, new, service, "wrong-key")


def test_a_file_that_is_added_to_is_read_again_and_that_is_told(changing, realms, alice, service):
    """As ktadd does it."""
    path = changing.directory / "reread.keytab"
    install(path, keytab(realms.entries(SERVICE)))
    until_accepted(changing, alice, SERVICE)
    with open(path, "ab") as file:
        file.write(keytab(entries(realms, service))[2:])
    log = until_all(changing, f"{path}: read again", lambda: show(changing, alice.token(service)))
    assert show(changing, alice.token(service)) == show(changing, alice.token()) == 200
    assert all("6 keys" in line for line in log.lines("read again"))


def test_a_reload_reads_what_root_alone_can_read(changing, realms, alice, service):
    path = changing.directory / "root.keytab"
    try:
        install(path, keytab(entries(realms, service)), 0o600, "root")
        changing.reload()
        assert show(changing, alice.token(service), "/keys/root/") == 200
        assert show(changing, alice.token(), "/keys/root/") == 401
    finally:
        install(path, keytab(realms.entries(SERVICE)), 0o600, "root")
        changing.reload()
    assert show(changing, alice.token(), "/keys/root/") == 200


BROKEN = {
    "empty": (b"", 0o640),
    "garbage": (b"what nobody can read", 0o640),
    "cut": (a_key()[:9], 0o640),
    "foreign": (a_key("host/127.0.0.1"), 0o640),
    "open": (a_key(), 0o644),
    "private": (a_key(), 0o600 if IS_ROOT else 0o000),
}


@pytest.fixture(scope="module")
def broken(running, realms):
    """Breaks all keytabs of a server at once, since each is looked at once a second. In the end all are mended."""
    done = {}

    def break_all(server):
        if server.name not in done:
            done[server.name] = server
            (server.directory / "removed.keytab").unlink()
            for name, (data, mode) in BROKEN.items():
                install(server.directory / f"{name}.keytab", data, mode, "www-data" if mode & 0o060 else "root")
        return server

    yield break_all
    for server in done.values():
        for name in BREAKABLE:
            install(server.directory / f"{name}.keytab", keytab(realms.entries(SERVICE)))


@pytest.mark.parametrize("name", BREAKABLE)
def test_a_broken_keytab_leaves_the_last_good_one_and_warns_once(changing, realms, alice, broken, name):
    path, log = changing.directory / f"{name}.keytab", Site(changing, "http").log()
    log.start = 0
    broken(changing)

    def ask():
        assert show(changing, alice.token(), f"/static/{name}/file") == 200

    def all_have():
        ask()
        return len(processes(log.lines(str(path)))) == len(changing.workers())

    until(all_have, "all workers to warn")
    for _ in range(10):
        ask()
    warnings = log.lines(str(path))
    assert len(warnings) == len(changing.workers())
    # What each server shows when nothing is said about levels.
    level = {"nginx": "[error]", "httpd": ":warn]"}[changing.name]
    assert all(level in line and "stay in use" in line for line in warnings), warnings


def test_a_keytab_that_was_mended_is_read_again(changing, alice, realms, broken):
    path = broken(changing).directory / "garbage.keytab"
    install(path, keytab(realms.entries(SERVICE)))
    until_all(changing, f"{path}: read again", lambda: show(changing, alice.token(), "/static/garbage/file"))


# Rotation under load

CLIENTS = 4
ROTATIONS = rounds(2, 25)
REQUESTS = 10


class Load:
    """Clients that come again and again, each time with a ticket of somebody who has one."""

    def __init__(self, server, users, service):
        self.server, self.users, self.service = server, users, service
        self.stopped = threading.Event()
        self.answers = []

    def client(self, number):
        while not self.stopped.is_set():
            with Connection(Site(self.server, "http")) as connection:
                for _ in range(REQUESTS):
                    number += 1
                    user = self.users[number % len(self.users)]
                    answer = connection.request(REREAD, shown(user.token(self.service)))
                    self.answers.append(answer.status)

    def __enter__(self):
        self.pool = ThreadPoolExecutor(CLIENTS)
        self.clients = [self.pool.submit(self.client, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.pool.shutdown()

    def result(self):
        for client in self.clients:
            client.result()
        return self.answers


def test_keys_are_rotated_and_nobody_is_refused(changing, realms, service):
    """Tickets of every key that there was, while the servers learn of the next."""
    path = changing.directory / "reread.keytab"
    users = [realms.user("alice", "rotation-0")]
    install(path, keytab(entries(realms, service)))
    until_accepted(changing, users[0], service)
    log = Site(changing, "http").log()
    before = changing.workers()
    with Load(changing, users, service) as load:
        for number in range(1, ROTATIONS + 1):
            realms.kdc.rotate(service)
            install(path, keytab(entries(realms, service)))
            newcomer = realms.user("alice", f"rotation-{number}")
            # Who comes with a new ticket comes when every worker has the key.
            told = f"{path}: read again, {3 * (number + 1)} keys"
            until(lambda: len(processes(log.lines(told))) == len(before), "all workers to read the keytab again")
            users.append(newcomer)
            asked = len(load.answers)
            until(lambda: len(load.answers) > asked + 10 * len(users), "the load to use the new key")
    assert set(load.result()) == {200}
    assert len(load.answers) > 50 * ROTATIONS
    assert log.refusals() == []
    assert log.lines(TROUBLE) == []
    assert changing.workers() == before
    assert {key.kvno for _, key in entries(realms, service)} == set(range(1, ROTATIONS + 2))
