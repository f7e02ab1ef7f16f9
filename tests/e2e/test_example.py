"""examples/server.c, built from what is installed: with the shared library, with the archive, under valgrind."""

import os
import re
import select
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from curl import curl, sign_in
from endurance import rounds
from installed import Example, Installation, run
from krb5_client import ap_req, environment, keytab
from krb5_world import SERVICE, install
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import Site, until
from world import ACCOUNTS, ALICE, BOB, DISABLED, UNKNOWN, write_accounts

OPTIONS = ["--domain", "EXAMPLE", "example.test", "--accounts"]
CLIENTS = 8


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installed"), PREFIX="/usr")


@pytest.fixture
def directory(tmp_path):
    write_accounts(tmp_path / "accounts", ACCOUNTS)
    return tmp_path


@pytest.fixture(scope="module", params=["shared", "archive", "valgrind"])
def example(request, installation, tmp_path_factory):
    """Stops by itself without a word, and without a byte lost."""
    directory = tmp_path_factory.mktemp(request.param)
    write_accounts(directory / "accounts", ACCOUNTS)
    report = directory / "valgrind"
    valgrind = ["valgrind", "--quiet", "--fair-sched=yes", "--leak-check=full", "--vgdb=no",
                "--errors-for-leak-kinds=definite,indirect,possible",
                "--show-leak-kinds=definite,indirect,possible", f"--log-file={report}"]
    example = Example(directory).build(installation, archive=request.param == "archive")
    example.kind = request.param
    example.start(*OPTIONS, "file:accounts", wrapper=valgrind if request.param == "valgrind" else ())
    try:
        yield example
    finally:
        status = example.stop()
    assert status == 0
    if request.param == "valgrind":
        assert report.read_text() == ""


@pytest.fixture
def site(example):
    return Site(example, "http")


def who(answer):
    """The page's first line: the user, and nothing else is on it."""
    assert answer.status == 200, (answer.status, answer.body)
    text = answer.body if isinstance(answer.body, str) else answer.body.decode()
    return text.removesuffix("\n")


def rest_of(connection):
    """What comes until the server closes the connection."""
    try:
        return connection.answers.file.read()
    except ConnectionResetError:
        return b""


def test_it_is_linked_with_the_library_or_has_it_in_itself(example):
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run(["readelf", "--dynamic", "--wide", example.program]))
    assert any(name.startswith("libmicrohttpd.so") for name in needed)
    assert ("libnegotiate_auth.so.1" in needed) == (example.kind != "archive")


# ---- Signing in -----------------------------------------------------------------------------


def test_curl_signs_in(site):
    log = site.log()
    (transfer,) = curl(site, *sign_in(ALICE), site.url("/any/page?x=1"))
    assert who(transfer) == ALICE.name
    assert log.decisions() == ["in-progress", "signed-in"]


@pytest.mark.parametrize("account, reason", [
    (ALICE.with_password("wrong"), "wrong-response"), (UNKNOWN, "unknown-user"), (DISABLED, "account-disabled"),
], ids=["wrong password", "unknown user", "disabled"])
def test_who_cannot_sign_in_gets_a_401_and_a_new_challenge(site, account, reason):
    log = site.log()
    (transfer,) = curl(site, *sign_in(account), site.url())
    assert transfer.status == 401
    assert log.refusals() == [reason]
    with Connection(site) as connection:
        answer = connection.sign_in(account)
        assert (answer.status, answer.challenges, answer.closes) == (401, ["NTLM"], False)
        assert who(connection.sign_in(BOB)) == BOB.name


def test_a_sign_in_lasts_as_long_as_its_connection(site):
    log = site.log()
    first, second = curl(site, *sign_in(ALICE), site.url(), site.url("/second"))
    assert (who(first), who(second), second.connects) == (ALICE.name, ALICE.name, 0)
    assert log.decisions() == ["in-progress", "signed-in"]
    with Connection(site) as other:
        assert other.request().status == 401


def test_two_users_of_one_connection_are_two_identities(site):
    with Connection(site) as connection:
        assert who(connection.sign_in(ALICE)) == ALICE.name
        assert who(connection.sign_in(BOB)) == BOB.name
        assert who(connection.request()) == BOB.name
        assert connection.sign_in(ALICE.with_password("wrong")).status == 401
        assert connection.request().status == 401


def test_the_fields_of_the_answer_go_with_its_status(site):
    with Connection(site) as connection:
        for answer, status, fields in [
            (connection.request(), 401, (["NTLM"], [], [])),
            (connection.sign_in(ALICE), 200, ([], ["true"], ["no-store"])),
            (connection.request(), 200, ([], [], ["no-store"])),
        ]:
            assert answer.status == status
            assert (answer.challenges, answer.all("Persistent-Auth"), answer.all("Cache-Control")) == fields


def test_many_clients_at_once_are_never_taken_for_one_another(site):
    def one_life(number):
        first, second = (ALICE, BOB) if number % 2 else (BOB, ALICE)
        with Connection(site) as connection:
            assert connection.request().status == 401
            for account in (first, second):
                assert who(connection.sign_in(account)) == account.name
                assert who(connection.request()) == account.name
            assert connection.sign_in(first.with_password("wrong")).status == 401
            assert connection.request().status == 401

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert len(list(pool.map(one_life, range(rounds(5, 100) * CLIENTS)))) >= CLIENTS


def test_accounts_that_changed_are_read_again_while_it_runs(site):
    path = site.server.directory / "accounts"
    log = site.log()
    new = ALICE.with_password("another")
    write_accounts(path, ACCOUNTS.replace(ALICE.name, UNKNOWN.name))
    with Connection(site) as connection:
        until(lambda: connection.sign_in(ALICE).status == 401, "the account to be gone")
        assert connection.sign_in(UNKNOWN.with_password(ALICE.password)).status == 200
        write_accounts(path, "nonsense\n")
        until(lambda: connection.sign_in(BOB).status == 200 and log.lines(r"\[warn\] auth_negotiate: .*accounts:1: "),
              "the warning")
        write_accounts(path, ACCOUNTS)
        until(lambda: connection.sign_in(ALICE).status == 200, "the account to be back")
        assert connection.sign_in(new).status == 401
    assert len(log.lines(r"\[notice\] auth_negotiate: .*accounts: read again, 4 accounts")) == 2


# ---- Kerberos -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["shared", "valgrind"])
def ticket_site(request, installation, realms, tmp_path_factory):
    """The example with a keytab, and accounts beside it."""
    directory = tmp_path_factory.mktemp(request.param)
    write_accounts(directory / "accounts", ACCOUNTS)
    install(directory / "keytab", keytab(realms.entries(SERVICE)))
    (directory / "replays").mkdir()
    report = directory / "valgrind"
    valgrind = ["valgrind", "--quiet", "--fair-sched=yes", "--leak-check=full", "--vgdb=no", f"--log-file={report}",
                "--errors-for-leak-kinds=definite,indirect", "--show-leak-kinds=definite,indirect"]
    example = Example(directory).build(installation)
    example.start(*OPTIONS, "file:accounts", "--keytab", "keytab", "--replay_cache", "replays/",
                  wrapper=valgrind if request.param == "valgrind" else ())
    try:
        yield Site(example, "http")
    finally:
        status = example.stop()
    assert status == 0
    if request.param == "valgrind":
        assert report.read_text() == ""


def test_a_ticket_signs_in_for_one_request(ticket_site, alice):
    log = ticket_site.log()
    initiator = alice.initiator()
    with Connection(ticket_site) as connection:
        assert connection.request().challenges == ["Negotiate", "NTLM"]
        answer = connection.request("/", authorization(initiator.step(), "Negotiate"))
        assert who(answer) == "alice@DEMO.TEST"
        initiator.step(answer.token)
        assert initiator.complete
        assert connection.request().status == 401
        assert who(connection.sign_in(ALICE)) == ALICE.name
    assert log.refusals() == []
    with environment(**alice.variables):
        transfers = curl(ticket_site, "--negotiate", "--user", ":", ticket_site.url(), ticket_site.url("/second"))
    assert [who(transfer) for transfer in transfers] == ["alice@DEMO.TEST"] * 2


def test_a_ticket_that_is_shown_again_is_refused(ticket_site, alice):
    log = ticket_site.log()
    token = authorization(alice.token(), "Negotiate")
    with Connection(ticket_site) as connection:
        assert who(connection.request("/", token)) == "alice@DEMO.TEST"
        answer = connection.request("/", token)
        assert answer.status == 401 and answer.challenges[1:] == ["NTLM"]
        assert who(connection.sign_in(BOB)) == BOB.name
    assert log.refusals() == ["replayed"]
    assert log.lines(r"\[error\] 127.0.0.1: auth_negotiate: 233 replayed: ticket for HTTP/127.0.0.1@DEMO.TEST, kvno")


def test_a_ticket_of_many_groups_has_room(ticket_site, realms):
    token = ap_req(realms.forger().ticket(padding=48000))
    assert len(token) > 48000
    with Connection(ticket_site) as connection:
        assert who(connection.request("/", authorization(token, "Negotiate"))) == "alice@DEMO.TEST"


def test_a_keytab_that_changed_is_read_again_while_it_runs(ticket_site, alice):
    path = ticket_site.server.directory / "keytab"
    good = path.read_bytes()
    log = ticket_site.log()

    def signs_in():
        with Connection(ticket_site) as connection:
            return connection.request("/", authorization(alice.token(), "Negotiate")).status == 200

    install(path, b"nonsense")
    until(lambda: signs_in() and log.lines(r"\[warn\] auth_negotiate: .*keytab: .* stay in use"), "the warning")
    install(path, good)
    until(lambda: signs_in() and log.lines(r"\[notice\] auth_negotiate: .*keytab: read again, "), "the notice")
    assert log.refusals() == []


# ---- HTTP -----------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order_for_the_one_who_signed_in(site):
    with Connection(site) as connection:
        connection.send("/")
        connection.send("/", [authorization(negotiate())])
        assert connection.receive().status == 401
        leg = connection.receive()
        connection.send("/", [authorization(ALICE.authenticate(leg.token))])
        for number in range(20):
            connection.send("/", method="POST" if number % 2 else "GET", body=b"x" * number * 10)
        assert [who(connection.receive()) for _ in range(21)] == [ALICE.name] * 21
        connection.send("/", [("Authorization", "NTLM AAAA")])
        connection.send("/")
        assert [connection.receive().status for _ in range(2)] == [401, 401]


@pytest.mark.parametrize("size", [0, 10_000, 3_000_000])
def test_a_body_on_every_leg_leaves_the_connection_in_order(site, size):
    body = bytes(size)
    with Connection(site) as connection:
        leg = connection.request("/", authorization(negotiate()), method="POST", body=body)
        token = ALICE.authenticate(leg.token)
        assert who(connection.request("/", authorization(token), method="POST", body=body)) == ALICE.name
        assert who(connection.request("/", method="POST", body=body)) == ALICE.name
        assert who(connection.request()) == ALICE.name


def test_a_body_in_chunks_on_every_leg_leaves_the_connection_in_order(site):
    def post(*fields):
        connection.send("/", [*fields, ("Transfer-Encoding", "chunked")], method="PUT")
        connection.socket.sendall((b"800\r\n" + bytes(0x800) + b"\r\n") * 50 + b"0\r\n\r\n")
        return connection.receive()

    with Connection(site) as connection:
        token = ALICE.authenticate(post(authorization(negotiate())).token)
        assert who(post(authorization(token))) == ALICE.name
        assert who(post()) == ALICE.name
        assert who(connection.request()) == ALICE.name


def test_curl_uploads_what_the_server_has_to_ask_for(site, tmp_path):
    (tmp_path / "body").write_bytes(bytes(2_000_000))
    (transfer,) = curl(site, *sign_in(ALICE), "--upload-file", f"{tmp_path}/body", site.url())
    assert (who(transfer), transfer.uploaded) == (ALICE.name, 2_000_000)


def test_expect_is_answered_before_the_body_is_sent(site):
    with Connection(site) as connection:
        connection.send("/", [("Expect", "100-continue"), ("Content-Length", "3")])
        assert connection.answers.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.answers.file.readline() == b"\r\n"
        connection.socket.sendall(b"abc")
        assert connection.receive().status == 401
        assert who(connection.sign_in(ALICE)) == ALICE.name


def test_head_has_no_body(site):
    with Connection(site) as connection:
        assert who(connection.sign_in(ALICE)) == ALICE.name
        answer = connection.request(method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["Content-Length"]) == len(ALICE.name) + 1
        assert who(connection.request()) == ALICE.name


def test_http_1_0_signs_in_where_it_keeps_the_connection(site):
    keep = ("Connection", "Keep-Alive")
    with Connection(site) as connection:
        assert who(connection.sign_in(ALICE, "/", keep, version="HTTP/1.0")) == ALICE.name
        assert who(connection.request("/", keep, version="HTTP/1.0")) == ALICE.name
        assert who(connection.request(version="HTTP/1.0")) == ALICE.name
        assert rest_of(connection) == b""
    log = site.log()
    with Connection(site) as connection:
        answer = connection.request(version="HTTP/1.0")
        assert (answer.status, answer.challenges) == (403, [])
        assert rest_of(connection) == b""
    assert log.decisions() == ["not-persistent"]


@pytest.mark.parametrize("value", ["close", "foo, Close", "keep-alive,close"])
def test_a_connection_that_will_close_cannot_sign_in(site, value):
    with Connection(site) as connection:
        answer = connection.request("/", ("Connection", value))
        assert (answer.status, answer.challenges) == (403, [])
        assert rest_of(connection) == b""


@pytest.mark.parametrize("field", [("Via", "1.1 proxy"), ("Forwarded", "for=192.0.2.1"),
                                   ("X-Forwarded-For", "192.0.2.1")])
def test_a_connection_that_others_may_share_cannot_sign_in(site, field):
    with Connection(site) as connection:
        answer = connection.request("/", field)
        assert (answer.status, answer.challenges) == (403, [])


@pytest.mark.parametrize("count", [2, 3, 20])
def test_several_authorization_fields_are_refused_and_sign_out(site, count):
    log = site.log()
    with Connection(site) as connection:
        assert who(connection.sign_in(ALICE)) == ALICE.name
        assert connection.request("/", *[authorization(negotiate())] * count).status == 400
        assert connection.request().status == 401
    assert log.refusals() == ["duplicate-header"]


REFUSED = {
    "two lengths": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "the same length twice": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    "a length that is no number": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
    "a length with a sign": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    "a length before a space": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
    "a length before a tab": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 3\r\n\r\nabc"),
    "a length before a vertical tab": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\x0b: 3\r\n\r\nabc"),
    "a length behind a vertical tab": (400, b"POST / HTTP/1.1\r\nHost: a\r\n\x0bContent-Length: 3\r\n\r\nabc"),
    "a proxy's name before a tab": (400, b"GET / HTTP/1.1\r\nHost: a\r\nVia\t: 1.1 proxy\r\n\r\n"),
    "chunks before a tab": (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a length and chunks": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                                 b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two codings": (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a coding that it does not know": (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    "broken chunks": (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "a line without a colon": (400, b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
    "another version": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a head that is too large": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("status, request_head", REFUSED.values(), ids=REFUSED)
def test_what_it_does_not_understand_is_refused_and_ends_the_connection(site, status, request_head):
    follows = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with Connection(site) as connection:
        assert who(connection.sign_in(ALICE)) == ALICE.name
        connection.socket.sendall(request_head + follows)
        assert connection.receive().status == status
        assert ALICE.name.encode() not in rest_of(connection)


# ---- Clients that leave or dawdle -----------------------------------------------------------


def test_clients_that_leave_at_any_moment_disturb_nobody(site):
    leg_1 = authorization(negotiate())
    for number in range(rounds(4, 100)):
        with Connection(site) as connection:
            connection.challenge()
            if number % 2:
                connection.send("/", [leg_1])
        with Connection(site) as connection:
            connection.socket.sendall(b"GET / HTTP/1.1\r\nAuthorization: NTLM T")
        with Connection(site) as connection:
            token = ALICE.authenticate(connection.challenge())
            connection.socket.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
                                      + ": ".join(authorization(token)).encode() + b"\r\n\r\nabc")
        with Connection(site) as connection:
            connection.send("/", [leg_1])
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.receive().status == 401
        with Connection(site) as connection:
            assert who(connection.sign_in(ALICE)) == ALICE.name


def test_a_slow_client_keeps_nobody_waiting(site):
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + ": ".join(authorization(negotiate())).encode() + b"\r\n\r\n"
    with Connection(site) as slow:
        for at in range(len(head)):
            slow.socket.sendall(head[at:at + 1])
            if at % 20 == 0:
                with Connection(site) as connection:
                    assert who(connection.sign_in(BOB)) == BOB.name
        token = ALICE.authenticate(slow.receive().token)
        assert who(slow.request("/", authorization(token))) == ALICE.name


def test_a_silent_client_is_sent_away(installation, directory):
    example = Example(directory).build(installation, changes=[
        ("#define MAX_SECONDS_OF_SILENCE 30", "#define MAX_SECONDS_OF_SILENCE 1")])
    example.start(*OPTIONS, "file:accounts")
    try:
        site = Site(example, "http")
        with Connection(site) as silent, Connection(site) as half, Connection(site) as signed_in:
            half.socket.sendall(b"GET / HT")
            assert who(signed_in.sign_in(ALICE)) == ALICE.name
            for connection in (silent, half, signed_in):
                assert rest_of(connection) == b""
    finally:
        example.stop()


# ---- What may block -------------------------------------------------------------------------


@pytest.fixture
def slow_example(installation, directory):
    """Starts servers whose accounts take their time, and stops them."""
    started = []

    def start(delay, *options):
        example = Example(directory).build_slow(installation)
        started.append(example.start(*OPTIONS, f"slow:{delay}:accounts", *options))
        return example

    yield start
    for example in started:
        begun = time.monotonic()
        assert example.stop() == 0
        assert time.monotonic() - begun < 10


def test_nobody_waits_for_another_ones_job(slow_example):
    site = Site(slow_example("2s"), "http")
    with Connection(site) as slow, Connection(site) as quick:
        token = ALICE.authenticate(slow.challenge())
        slow.send("/", [authorization(token)])
        slow.send("/next")
        for _ in range(20):
            assert quick.request().status == 401
        assert select.select([slow.socket], [], [], 0) == ([], [], [])
        assert [who(slow.receive()) for _ in range(2)] == [ALICE.name] * 2


def test_a_job_that_takes_too_long_is_given_up_with_a_503(slow_example):
    site = Site(slow_example("1h", "--timeout", "200ms"), "http")
    log = site.log()
    with Connection(site) as connection:
        for _ in range(2):
            answer = connection.sign_in(ALICE)
            assert (answer.status, answer.challenges, answer.closes) == (503, [], False)
            assert answer.all("Retry-After") == ["5"]
            assert connection.request().status == 401
    assert log.refusals() == ["backend-unavailable"] * 2


def test_a_job_that_ends_after_its_client_disturbs_nobody(slow_example):
    example = slow_example("300ms", "--timeout", "100ms")
    site = Site(example, "http")
    before = threads_and_files(example)
    for _ in range(5):
        with Connection(site) as connection:
            assert connection.sign_in(ALICE).status == 503
        with Connection(site) as connection:
            token = ALICE.authenticate(connection.challenge())
            connection.send("/", [authorization(token)])
    until(lambda: threads_and_files(example) == before, "the jobs to end and to leave nothing")
    with Connection(site) as connection:
        assert connection.request().status == 401


def threads_and_files(example):
    return [len(os.listdir(f"/proc/{example.process.pid}/{folder}")) for folder in ("task", "fd")]


# ---- Start and stop -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(installation, tmp_path_factory):
    return Example(tmp_path_factory.mktemp("built")).build(installation)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_stops_when_it_is_told_whatever_its_clients_do(built, number):
    write_accounts(built.directory / "accounts", ACCOUNTS)
    built.start(*OPTIONS, "file:accounts")
    site = Site(built, "http")
    try:
        with Connection(site) as idle, Connection(site) as half, Connection(site) as signed_in:
            idle.challenge()
            half.socket.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            assert who(signed_in.sign_in(ALICE)) == ALICE.name
            begun = time.monotonic()
            assert built.stop(number) == 0
            assert time.monotonic() - begun < 10
            assert rest_of(signed_in) == b""
    finally:
        built.stop()


@pytest.mark.parametrize("options, status, sentence", [
    ([], 2, "usage: .* PORT --KEY ARGUMENT"),
    (["0", "--domain", "EXAMPLE"], 1, "server: no mechanism is configured"),
    (["0", "--accounts", "fiel:x"], 1, 'server: --accounts: option "accounts": "fiel:x" is neither file:PATH nor winbind'),
    (["0", "--keytab", "nowhere"], 1, 'server: --keytab: option "keytab": nowhere: cannot be read: '),
    (["0", "--colour", "blue"], 1, "server: --colour: .*colour"),
], ids=["no options", "no accounts", "a typing error", "no keytab", "no such option"])
def test_a_mistake_is_one_line(built, options, status, sentence):
    done = subprocess.run([built.program, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert re.match(sentence, done.stderr), done.stderr


def test_a_port_in_use_is_said(built):
    write_accounts(built.directory / "accounts", ACCOUNTS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([built.program, port, "--accounts", "file:accounts"], cwd=built.directory,
                              capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.endswith(f"server: cannot listen on port {port}\n"), done.stderr
