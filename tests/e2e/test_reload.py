"""What changes while the servers run: the accounts file, the configuration."""


import pytest

from raw_http import Connection, authorization
from servers import IS_ROOT, Site, until
from world import ALICE, BOB, ZOE, line, write_accounts


@pytest.fixture
def accounts(server):
    """The file that /reread/ uses. Before each test it holds Alice alone."""
    path = server.directory / "accounts-reread"
    write_accounts(path, line(ALICE))
    with Connection(Site(server, "http")) as connection:
        for account, status in ((ALICE, 200), (BOB, 401), (ZOE, 401)):
            until(lambda: connection.sign_in(account, "/reread/").status == status, "Alice alone")
    return path


def until_signed_in(site, account):
    with Connection(site) as connection:
        until(lambda: connection.sign_in(account, "/reread/").status == 200, f"{account.name} to get in")


def test_a_user_who_is_added_can_sign_in_and_one_who_is_removed_cannot(plain_site, accounts):
    until_signed_in(plain_site, ALICE)
    write_accounts(accounts, line(BOB))
    until_signed_in(plain_site, BOB)
    with Connection(plain_site) as connection:
        assert connection.sign_in(ALICE, "/reread/").status == 401
    write_accounts(accounts, line(BOB) + line(ZOE))
    until_signed_in(plain_site, ZOE)


def test_a_connection_of_a_removed_user_is_signed_out(plain_site, accounts):
    with Connection(plain_site) as connection:
        assert connection.sign_in(ALICE, "/reread/").user == ALICE.name
        assert connection.request("/reread/").user == ALICE.name
        log = plain_site.log()
        write_accounts(accounts, line(BOB))
        until_signed_in(plain_site, BOB)
        assert connection.request("/reread/").status == 401
        assert log.refusals()[-1] == "account-changed"


BROKEN = {
    "no account": ("this is no account\n", 0o640),
    "a bad hash": (line(ALICE) + "EXAMPLE\\x:short\n", 0o640),
    "readable by all": (line(BOB), 0o644),
}
if IS_ROOT:
    BROKEN["for root alone"] = (line(BOB), 0o600)


@pytest.mark.parametrize("text, mode", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_keeps_the_accounts_of_before_and_warns_once(plain_site, accounts, text, mode):
    until_signed_in(plain_site, ALICE)
    log = plain_site.log()
    write_accounts(accounts, text, mode)
    with Connection(plain_site) as connection:
        until(lambda: connection.sign_in(ALICE, "/reread/").status == 200 and log.lines("accounts-reread"),
              "the warning")
        for _ in range(5):
            assert connection.sign_in(ALICE, "/reread/").user == ALICE.name
            assert connection.sign_in(BOB, "/reread/").status == 401
    (warning,) = log.lines("accounts-reread")
    # What each server shows when nothing is said about levels.
    assert {"nginx": "[error]", "httpd": ":warn]"}[plain_site.server.name] in warning
    write_accounts(accounts, line(ALICE) + line(BOB))
    until_signed_in(plain_site, BOB)


def test_a_reload_three_times_serves_on(server, site):
    for round_ in range(3):
        server.reload()
        with Connection(site) as connection:
            assert connection.sign_in(ALICE).user == ALICE.name, round_
            assert connection.request().user == ALICE.name


def test_a_type_3_after_a_reload_is_challenged_anew_and_no_error(plain_site):
    connection = Connection(plain_site)
    with connection:
        token = authorization(ALICE.authenticate(connection.challenge()))
        plain_site.server.reload()
        try:
            answer = connection.request("/", token)
        except OSError:  # the old worker has closed the idle connection
            answer = None
        assert answer is None or answer.status in (200, 401)
    with Connection(plain_site) as connection:
        answer = connection.request("/", token)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])


def test_a_request_in_flight_at_a_reload_is_answered(plain_site):
    with Connection(plain_site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        connection.send("/", [("Expect", "100-continue"), ("Content-Length", "10")])
        assert connection.answers.readline().startswith(b"HTTP/1.1 100 ")
        assert connection.answers.readline() == b"\r\n"
        plain_site.server.reload(wait_for_old=False)
        connection.socket.sendall(b"x" * 10)
        answer = connection.receive()
        assert answer.user == ALICE.name
        assert answer.json["length"] == 10
    plain_site.server.reload()


def test_the_access_log_names_the_user(site):
    log = site.access_log()
    with Connection(site) as connection:
        connection.sign_in(ALICE, "/logged")
        connection.request("/logged")
    lines = log.wait("GET /logged", 3)
    assert [line.split(" ", 1)[0] for line in lines] == ["401", "200", "200"]
    # Each server escapes the backslash in its own way.
    users = [line.split('user="')[1].split('"')[0] for line in lines]
    assert users[0] in ("", "-")
    assert {user.replace("\\x5C", "\\").replace("\\\\", "\\") for user in users[1:]} == {ALICE.name}
    assert ['mechanism="ntlm"' in line for line in lines] == [False, True, True]


def test_fastcgi_gets_the_user(nginx_site):
    with Connection(nginx_site) as connection:
        answer = connection.sign_in(ALICE, "/fastcgi/", method="POST", body=b"abc")
        assert answer.user == ALICE.name
        assert answer.json["length"] == 3
        assert answer.json["negotiate"] == {"user": "alice", "domain": "EXAMPLE", "mechanism": "ntlm"}
        assert connection.request("/fastcgi/", ("Remote-User", "mallory")).user == ALICE.name
