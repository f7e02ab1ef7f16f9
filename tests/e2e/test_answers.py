"""The exact form of what the server says."""

import pathlib
import tempfile

import pytest

import application
from conftest import SERVERS, make_server
from curl import curl
from http2_client import Http2
from krb5_client import INTEGRITY, environment, neg_token_init
from krb5_world import with_kerberos
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import Site
from world import ALICE, DISABLED, UNKNOWN


def test_the_first_answer_is_a_bare_challenge(site):
    with Connection(site) as connection:
        answer = connection.request()
        assert answer.status == 401
        assert answer.challenges == ["NTLM"]
        assert not answer.closes


def test_negotiate_comes_first_where_both_are_offered(site):
    with Connection(site) as connection:
        assert connection.request("/negotiate/").challenges == ["Negotiate", "NTLM"]


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_token_is_answered_in_its_own_scheme_and_alone(site, scheme):
    with Connection(site) as connection:
        answer = connection.request("/negotiate/", authorization(negotiate(), scheme))
        assert answer.status == 401
        (challenge,) = answer.challenges
        assert challenge.startswith(scheme + " ")
        assert answer.token.startswith(b"NTLMSSP\0\x02")
        assert answer.all("Cache-Control") == ["no-store"]
        assert answer.all("Persistent-Auth") == []
        assert not answer.closes


@pytest.mark.parametrize("scheme", ["ntlm", "NtLm", "NEGOTIATE"])
def test_scheme_names_are_read_in_any_case(site, scheme):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE, "/negotiate/", scheme=scheme).user == ALICE.name


def test_the_final_answer_says_that_the_connection_is_signed_in(site):
    with Connection(site) as connection:
        answer = connection.sign_in(ALICE)
        assert answer.user == ALICE.name
        assert answer.all("Persistent-Auth") == ["true"]
        assert answer.challenges == []
        later = connection.request()
        assert later.user == ALICE.name
        assert later.challenges == []


def test_a_final_answer_that_is_not_a_200_says_so_too(site):
    with Connection(site) as connection:
        answer = connection.sign_in(ALICE, "/missing/file")
        assert answer.status == 404
        assert answer.all("Persistent-Auth") == ["true"]
        assert answer.challenges == []


def test_unknown_user_disabled_account_and_wrong_password_get_one_answer(site):
    def answer(account):
        with Connection(site) as connection:
            refused = connection.sign_in(account)
            assert refused.challenges == ["NTLM"]
            assert not refused.closes
            headers = sorted((n, v) for n, v in refused.headers.items() if n != "Date")
            return refused.status, headers, refused.body

    wrong_password = answer(ALICE.with_password("wrong"))
    assert wrong_password[0] == 401
    assert answer(UNKNOWN) == wrong_password
    assert answer(DISABLED) == wrong_password


@pytest.mark.parametrize("account, reason", [
    (ALICE.with_password("wrong"), "wrong-response"), (UNKNOWN, "unknown-user"), (DISABLED, "account-disabled"),
], ids=["wrong password", "unknown user", "disabled"])
def test_the_log_tells_them_apart_in_one_line(site, account, reason):
    log = site.log()
    with Connection(site) as connection:
        connection.sign_in(account)
    assert log.refusals() == [reason]
    (line,) = log.lines("auth_negotiate: 2[0-9][0-9] ")
    assert account.user in line


@pytest.mark.parametrize("closing", [
    {"version": "HTTP/1.0"}, {"headers": [("Connection", "close")]},
    {"version": "HTTP/1.0", "headers": [("Connection", "close")]},
], ids=["HTTP/1.0", "Connection: close", "both"])
@pytest.mark.parametrize("token", [None, negotiate()], ids=["bare", "with a token"])
def test_a_connection_that_closes_cannot_sign_in_and_gets_a_403(site, closing, token):
    headers = list(closing.get("headers", []))
    if token:
        headers.append(authorization(token))
    with Connection(site) as connection:
        connection.send("/", headers, version=closing.get("version", "HTTP/1.1"))
        answer = connection.receive()
        assert answer.status == 403
        assert answer.challenges == []


def test_http_1_0_with_keep_alive_signs_in(site):
    keep_alive = ("Connection", "keep-alive")
    with Connection(site) as connection:
        first = connection.request("/", authorization(negotiate()), keep_alive, version="HTTP/1.0")
        assert first.status == 401
        type_3 = authorization(ALICE.authenticate(first.token))
        assert connection.request("/", type_3, keep_alive, version="HTTP/1.0").user == ALICE.name


def test_the_last_request_of_a_connection_may_say_that_it_closes(site):
    with Connection(site) as connection:
        assert connection.sign_in(ALICE).user == ALICE.name
        assert connection.request("/", ("Connection", "close")).user == ALICE.name


def test_a_server_that_closes_every_connection_answers_403(nginx_site):
    log = nginx_site.log()
    with Connection(nginx_site) as connection:
        answer = connection.request("/closing/")
        assert answer.status == 403
        assert answer.challenges == []
    assert log.refusals() == ["not-persistent"]


def test_a_handshake_gets_its_last_request_beyond_keepalive_requests(nginx_site):
    with Connection(nginx_site) as connection:
        answer = connection.sign_in(ALICE, "/one-request/")
        assert answer.user == ALICE.name
        assert answer.closes


@pytest.mark.parametrize("path, challenges", [("/", ["NTLM"]), ("/negotiate/", ["Negotiate", "NTLM"])])
def test_head_is_challenged_as_get_is(site, path, challenges):
    with Connection(site) as connection:
        answer = connection.request(path, method="HEAD")
        assert (answer.status, answer.challenges) == (401, challenges)
        assert connection.sign_in(ALICE, path).user == ALICE.name


# With a ticket, beside others who answer and refuse: conf/beside

TICKET_OF = "alice@DEMO.TEST"
MALFORMED = authorization(b"\x60\x01\x00", "Negotiate")
PASSWORD = authorization(b"basil:secret", "Basic")
THEIRS = 'Basic realm="theirs"'


class Answering(application.Proxied):
    """Has the status that the path says, and passwords of its own."""

    def send_response(self, status):
        root, *words = self.path[1:].split("/")
        status = int(words[0]) if root == "answer" else status
        super().send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", THEIRS)

    do_GET = application.Proxied.answer


@pytest.fixture(scope="module", params=SERVERS)
def neighbour(request, realms, certificates):
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        kind = with_kerberos(SERVERS[request.param], realms, templates="conf/beside")
        with make_server(kind, directory / "server", certificates, proxied=Answering) as server:
            (directory / "server/passwords").write_text("basil:{PLAIN}secret\n")
            yield server


only_nginx = pytest.mark.parametrize("neighbour", [name for name in SERVERS if name != "httpd"], indirect=True)
only_httpd = pytest.mark.parametrize("neighbour", ["httpd"], indirect=True)


def seen(neighbour, path, header):
    """Status, challenges and body of the answer on a connection of its own."""
    with Connection(Site(neighbour, "http")) as connection:
        answer = connection.request(path, *header)
        return answer.status, answer.challenges, answer.body


def assert_ends(neighbour, alice, path, status):
    """The answer has the token that ends the handshake, and nothing beside it asks for another."""
    initiator = alice.initiator()
    with Connection(Site(neighbour, "http")) as connection:
        answer = connection.request(path, authorization(initiator.step(), "Negotiate"))
    assert answer.status == status
    initiator.step(answer.token)
    assert initiator.complete
    assert answer.all("Persistent-Auth") == ["false"]
    return answer


def shown(alice):
    return [authorization(alice.token(), "Negotiate")]


@pytest.mark.parametrize("status", [200, 304, 404, 500])
def test_the_last_token_is_on_what_the_application_answers(neighbour, alice, status):
    answer = assert_ends(neighbour, alice, f"/answer/{status}", status)
    assert status == 304 or answer.json["user"] == TICKET_OF
    status, challenges, _ = seen(neighbour, "/answer/200", [])
    assert (status, challenges) == (401, ["Negotiate"])


def test_an_application_that_asks_for_a_sign_in_of_its_own_does_so_alone(neighbour, alice):
    """The last token in a 401 would tell a client that the handshake goes on (RFC 4559 5)."""
    status, challenges, body = seen(neighbour, "/answer/401", shown(alice))
    assert (status, challenges) == (401, [THEIRS])
    assert TICKET_OF.encode() in body
    with Connection(Site(neighbour, "http")) as connection:
        spnego = neg_token_init(["krb5"], alice.initiator(flags=INTEGRITY).step())
        answer = connection.request("/answer/401", authorization(spnego, "Negotiate"))
        assert (answer.status, answer.challenges, answer.all("Persistent-Auth")) == (401, [THEIRS], [])


def test_an_application_on_http_2_asks_alone_too(neighbour, alice):
    with Http2(Site(neighbour, "https")) as connection:
        answer = connection.request("/answer/401", *shown(alice))
        assert (answer["status"], answer["challenges"]) == (401, [THEIRS])
        answer = connection.request("/answer/404", *shown(alice))
        assert answer["status"] == 404 and answer["challenges"][0].startswith("Negotiate ")


def test_curl_does_not_ask_again_where_the_application_refuses(neighbour, alice):
    site = Site(neighbour, "http")
    log = site.log()
    with environment(**alice.variables):
        (transfer,) = curl(site, "--negotiate", "--user", ":", site.url("/answer/401"))
    assert transfer.status == 401
    assert log.decisions() == ["signed-in"]


@only_nginx
@pytest.mark.parametrize("path, challenges", [
    ("/satisfy/deny/", ["Negotiate"]), ("/satisfy/request/", ["Negotiate"]),
    ("/satisfy/basic/", ["Negotiate", 'Basic realm="passwords"']),
])
def test_where_anything_satisfies_a_ticket_does(neighbour, alice, path, challenges):
    assert assert_ends(neighbour, alice, path, 200).json["user"] == TICKET_OF
    for header in ([], [MALFORMED]):
        assert seen(neighbour, path, header)[:2] == (401, challenges)


@only_nginx
def test_where_something_else_satisfies_nobody_is_asked_for_a_ticket(neighbour, alice):
    for path, headers in (("/satisfy/allow/", [[], [MALFORMED], shown(alice)]), ("/satisfy/basic/", [[PASSWORD]])):
        for header in headers:
            status, challenges, body = seen(neighbour, path, header)
            assert (status, challenges) == (200, [])
            assert b'"user": ""' in body


@only_nginx
def test_a_subrequest_decides_behind_the_ticket(neighbour, alice):
    assert assert_ends(neighbour, alice, "/asking/200/", 200).json["user"] == TICKET_OF
    assert_ends(neighbour, alice, "/asking/403/", 403)
    assert seen(neighbour, "/asking/401/", shown(alice))[:2] == (401, [THEIRS])
    assert seen(neighbour, "/asking/401/", [])[:2] == (401, ["Negotiate"])


@only_nginx
@pytest.mark.parametrize("path, status", [("/replaced/404", 404), ("/replaced/500", 500), ("/replaced/403", 404)])
def test_the_last_token_is_on_the_page_that_takes_the_place_of_an_answer(neighbour, alice, path, status):
    assert_ends(neighbour, alice, path, status)


@only_nginx
def test_a_page_that_takes_the_place_of_the_applications_question_still_asks_alone(neighbour, alice):
    status, challenges, _ = seen(neighbour, "/replaced/401", shown(alice))
    assert (status, challenges) == (401, [THEIRS])


@only_httpd
def test_where_any_requirement_will_do_a_ticket_does(neighbour, alice):
    assert assert_ends(neighbour, alice, "/satisfy/deny/", 200).json["user"] == TICKET_OF
    for header in ([], [MALFORMED]):
        assert seen(neighbour, "/satisfy/deny/", header)[:2] == (401, ["Negotiate"])
        assert seen(neighbour, "/satisfy/allow/", header)[:2] == (200, [])


@only_httpd
@pytest.mark.parametrize("path", ["/again/", "/again/text/"])
def test_who_is_not_allowed_and_asked_again_sees_fresh_challenges_on_every_page(neighbour, alice, bob, path):
    assert seen(neighbour, path, shown(alice))[:2] == (401, ["Negotiate"])
    assert assert_ends(neighbour, bob, path, 200).json["user"] == "bob@DEMO.TEST"
    with Http2(Site(neighbour, "https")) as connection:
        answer = connection.request(path, *shown(alice))
        assert (answer["status"], answer["challenges"]) == (401, ["Negotiate"])


def test_the_access_log_and_the_error_log_name_the_ticket_and_the_client(neighbour, alice):
    site = Site(neighbour, "http")
    error_log, access_log = site.log(), site.access_log()
    assert seen(neighbour, "/", shown(alice))[0] == 200
    assert seen(neighbour, "/", [MALFORMED])[0] == 401
    used = authorization(alice.token(), "Negotiate")
    assert [seen(neighbour, "/", [used])[0] for _ in range(2)] == [200, 401]
    assert access_log.wait(f'^200 "{TICKET_OF}" "kerberos" "DEMO.TEST"$', 2)
    access_log.wait("^401 ", 2)
    assert error_log.refusals() == ["malformed-token", "replayed"]
    for line in error_log.lines("auth_negotiate: 2"):
        assert "127.0.0.1" in line
    (line,) = error_log.lines("replayed")
    assert "ticket for HTTP/127.0.0.1@DEMO.TEST, kvno " in line
