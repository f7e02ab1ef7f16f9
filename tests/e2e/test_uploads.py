"""Bodies: that of an accepted request reaches the application once and whole, no other reaches it at all."""

import hashlib
import io
import pathlib
import random
import shutil
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import requests
import spnego
from requests_ntlm import HttpNtlmAuth

from conftest import SERVERS, make_server
from curl import curl, sign_in
from http2_client import Http2
from java_client import PROGRAMS, Ask, java
from ntlm_client import negotiate
from raw_http import TIMEOUT, Connection, authorization
from servers import BUILD, DebianNginx, Httpd, Site, until
from world import ALICE, line, write_accounts

PATHS = ["/", "/streamed/"]
LIMIT = 102_400  # of /small/
DELAY = 0.3  # seconds, of a slow sign-in
CHUNKED = ("Transfer-Encoding", "chunked")
EXPECT = ("Expect", "100-continue")
TYPE_1 = authorization(negotiate())


@dataclass(frozen=True)
class Body:
    data: bytes

    @classmethod
    def random(cls, size):
        """Different for each size, and nowhere like itself."""
        return cls(random.Random(size).randbytes(size))

    @property
    def length(self):
        return ("Content-Length", str(len(self.data)))

    @property
    def chunks(self):
        parts = (self.data[start:start + 50_000] for start in range(0, len(self.data), 50_000))
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    def came_from(self, account):
        return account.name, len(self.data), hashlib.sha256(self.data).hexdigest()


EMPTY = Body(b"")
SMALL, MIDDLE, BIG, OTHER_BIG = (Body.random(size) for size in (10_000, 1_000_000, 20_000_000, 20_000_001))


class Client(Connection):
    """Uploads to one path. The application's journal knows them by their id."""

    def __init__(self, site, path="/"):
        super().__init__(site)
        self.path = path
        self.id = ("X-Test-Id", str(uuid.uuid4()))

    def begin(self, *headers, version="HTTP/1.1"):
        """Sends what comes before a body."""
        self.send(self.path, [self.id, *headers], method="PUT", version=version)

    def put(self, body, *headers, chunked=False, version="HTTP/1.1"):
        self.begin(CHUNKED if chunked else body.length, *headers, version=version)
        self.socket.sendall(body.chunks if chunked else body.data)
        return self.receive()

    def get(self):
        return self.request(self.path)

    def type_3(self, leg, account=ALICE):
        """The answer to this leg. It must be one, or nothing could go on."""
        assert (leg.status, leg.closes) == (401, False)
        return authorization(account.authenticate(leg.token))

    def is_asked_for_the_body(self):
        return self.answers.readline() == b"HTTP/1.1 100 Continue\r\n" and self.answers.readline() == b"\r\n"

    def is_closed_by_the_server(self):
        """Waits for it. A reset means that more came than the server wanted to read."""
        try:
            return self.answers.read(1) == b""
        except ConnectionResetError:
            return True

    @property
    def arrived(self):
        return arrived(self.site, self.id[1])


def arrived(site, test_id):
    """Whose bodies reached the application, and which."""
    return [(run["user"], run["length"], run["sha256"]) for run in site.server.journal.runs(test_id)]


def upload_server(kind, backend="file", modules=None):
    class Server(kind):
        templates = "conf/uploads"

        def fill_in(self, text):
            self.values |= {"BACKEND": backend}
            return super().fill_in(text)

    Server.modules = modules or kind.modules
    return Server


@pytest.fixture(scope="module")
def running(certificates):
    """In place of the servers that the other tests use."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield {name: stack.enter_context(make_server(upload_server(kind), directory / name, certificates))
               for name, kind in SERVERS.items()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(BIG.data)
    return path


@pytest.fixture
def test_id():
    return str(uuid.uuid4())


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("path", PATHS)
def test_of_a_body_on_every_leg_the_last_arrives(site, path, chunked):
    with Client(site, path) as client:
        assert client.put(BIG, chunked=chunked).status == 401
        leg = client.put(BIG, TYPE_1, chunked=chunked)
        assert client.put(OTHER_BIG, client.type_3(leg), chunked=chunked).user == ALICE.name
        assert client.put(BIG, chunked=chunked).user == ALICE.name
        assert client.get().user == ALICE.name
        assert client.arrived == [OTHER_BIG.came_from(ALICE), BIG.came_from(ALICE)]


@pytest.mark.parametrize("path", PATHS)
def test_after_an_empty_first_leg_the_body_arrives(site, path):
    for body in (BIG, SMALL):
        with Client(site, path) as client:
            leg = client.put(EMPTY, TYPE_1)
            assert client.put(body, client.type_3(leg)).user == ALICE.name
            assert client.get().user == ALICE.name
            assert client.arrived == [body.came_from(ALICE)]


def pipeline(client, *requests):
    """Sends them all, while it receives their answers: neither side could go on without the other."""
    def send():
        for body, *headers in requests:
            client.begin(body.length, *headers)
            client.socket.sendall(body.data)

    sender = threading.Thread(target=send)
    sender.start()
    answers = [client.receive() for _ in requests]
    sender.join()
    return answers


@pytest.mark.parametrize("path", PATHS)
def test_pipelined_bodies_arrive_each_with_its_own_request(plain_site, path):
    with Client(plain_site, path) as client:
        type_3 = client.type_3(client.put(SMALL, TYPE_1))
        answers = pipeline(client, (BIG, type_3), (MIDDLE,), (EMPTY,), (OTHER_BIG, TYPE_1), (SMALL,))
        assert [answer.status for answer in answers] == [200, 200, 200, 401, 401]
        assert client.arrived == [body.came_from(ALICE) for body in (BIG, MIDDLE, EMPTY)]


def test_a_pipelined_answer_to_no_challenge_brings_no_body(plain_site):
    with Client(plain_site) as client:
        stale = client.type_3(client.put(EMPTY, TYPE_1))
        answers = pipeline(client, (MIDDLE, TYPE_1), (SMALL, stale))
        assert [answer.status for answer in answers] == [401, 401]
        assert client.arrived == []


def test_http_1_0_signs_in_where_the_connection_is_kept(plain_site):
    keep = ("Connection", "keep-alive")
    with Client(plain_site) as client:
        leg = client.put(MIDDLE, TYPE_1, keep, version="HTTP/1.0")
        answer = client.put(MIDDLE, client.type_3(leg), keep, version="HTTP/1.0")
        assert (answer.user, answer.closes) == (ALICE.name, False)
        assert client.put(SMALL, keep, version="HTTP/1.0").user == ALICE.name
        assert client.arrived == [MIDDLE.came_from(ALICE), SMALL.came_from(ALICE)]


def test_http_1_0_that_closes_is_forbidden(plain_site):
    with Client(plain_site) as client:
        answer = client.put(MIDDLE, TYPE_1, version="HTTP/1.0")
        assert (answer.status, answer.closes) == (403, True)
        assert client.arrived == []


@pytest.mark.parametrize("path", PATHS)
def test_a_body_is_asked_for_only_when_the_user_has_signed_in(site, path):
    with Client(site, path) as client:
        leg = client.put(EMPTY, TYPE_1)
        client.begin(BIG.length, EXPECT, client.type_3(leg))
        assert client.is_asked_for_the_body()
        client.socket.sendall(BIG.data)
        assert client.receive().user == ALICE.name
        client.begin(CHUNKED, EXPECT)
        assert client.is_asked_for_the_body()
        client.socket.sendall(OTHER_BIG.chunks)
        assert client.receive().user == ALICE.name
        assert client.arrived == [BIG.came_from(ALICE), OTHER_BIG.came_from(ALICE)]
    with Client(site, path) as client:
        leg = client.put(EMPTY, TYPE_1)
        client.begin(BIG.length, EXPECT, client.type_3(leg, ALICE.with_password("wrong")))
        assert client.receive().status == 401
        assert client.arrived == []


def test_nginx_reads_what_it_did_not_ask_for(nginx_site):
    for at_once in (True, False):
        with Client(nginx_site) as client:
            client.begin(MIDDLE.length, EXPECT, TYPE_1)
            if at_once:
                client.socket.sendall(MIDDLE.data)
            leg = client.receive()
            if not at_once:
                client.socket.sendall(MIDDLE.data)
            client.begin(MIDDLE.length, EXPECT, client.type_3(leg))
            client.socket.sendall(MIDDLE.data)
            assert client.is_asked_for_the_body()
            assert client.receive().user == ALICE.name
            assert client.get().user == ALICE.name
            assert client.arrived == [MIDDLE.came_from(ALICE)]


def test_httpd_closes_when_a_body_waits_to_be_asked_for_and_is_not(httpd_site):
    for sent in (b"", MIDDLE.data):
        with Client(httpd_site) as client:
            client.begin(MIDDLE.length, EXPECT, TYPE_1)
            client.socket.sendall(sent)
            leg = client.receive()
            assert (leg.status, leg.closes) == (401, True)
            assert client.is_closed_by_the_server()
            assert client.arrived == []


def test_nginx_takes_the_next_request_for_the_body_that_is_withheld(nginx_site):
    """The client may not do that. What it gets is nobody's answer, and it waits no longer than nginx lingers."""
    with Client(nginx_site) as client:
        client.begin(MIDDLE.length, EXPECT, TYPE_1)
        client.begin(SMALL.length, client.type_3(client.receive()))
        client.socket.sendall(SMALL.data)
        assert client.is_closed_by_the_server()
        assert client.arrived == []


def test_a_body_that_stops_coming_is_not_waited_for(plain_site):
    """nginx answers at once and reads on, httpd reads to the end before it answers."""
    with Client(plain_site) as with_length, Client(plain_site) as chunked:
        with_length.begin(MIDDLE.length, TYPE_1)
        with_length.socket.sendall(MIDDLE.data[:1000])
        chunked.begin(CHUNKED, TYPE_1)
        chunked.socket.sendall(b"7d0\r\n" + MIDDLE.data[:1000])
        for client in (with_length, chunked):
            answer = client.receive()
            assert (answer.status, len(answer.challenges)) == ((408, 0) if is_httpd(plain_site) else (401, 1))
            assert client.is_closed_by_the_server()
            assert client.arrived == []


def is_httpd(site):
    return site.server.name == "httpd"


def test_who_leaves_in_the_middle_of_a_body_cuts_no_other(plain_site):
    with Client(plain_site) as client:
        type_3 = client.type_3(client.put(EMPTY, TYPE_1))
        client.begin(MIDDLE.length, type_3)
        client.socket.sendall(MIDDLE.data[:1000])
    with Client(plain_site) as other:
        type_3 = other.type_3(other.put(EMPTY, TYPE_1))
        assert other.put(MIDDLE, type_3).user == ALICE.name
        assert other.arrived == [MIDDLE.came_from(ALICE)]
    assert MIDDLE.came_from(ALICE) not in client.arrived


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_above_the_limit_of_the_server_is_413(plain_site, chunked):
    with Client(plain_site, "/small/") as client:
        leg = client.put(SMALL, TYPE_1, chunked=chunked)
        answer = client.put(MIDDLE, client.type_3(leg), chunked=chunked)
        assert (answer.status, answer.closes) == (413, True)
        # A CGI program runs, and reads, before its input turns out too long.
        assert all(length <= LIMIT for _, length, _ in client.arrived)
    with Client(plain_site, "/small/") as client:
        leg = client.put(SMALL, TYPE_1, chunked=chunked)
        assert client.put(SMALL, client.type_3(leg), chunked=chunked).user == ALICE.name
        assert client.arrived == [SMALL.came_from(ALICE)]


def test_a_body_above_the_limit_of_the_server_is_413_before_anybody_signs_in(plain_site):
    for credentials in ([], [TYPE_1]):
        with Client(plain_site, "/small/") as client:
            answer = client.put(MIDDLE, *credentials)
            assert (answer.status, answer.closes, answer.challenges) == (413, True, [])
            assert client.arrived == []


def test_a_body_with_a_wrong_password_goes_nowhere_and_the_next_try_works(site):
    with Client(site) as client:
        leg = client.put(EMPTY, TYPE_1)
        assert client.put(BIG, client.type_3(leg, ALICE.with_password("wrong"))).status == 401
        assert client.put(BIG).status == 401
        leg = client.put(BIG, TYPE_1)
        assert client.put(OTHER_BIG, client.type_3(leg)).user == ALICE.name
        assert client.arrived == [OTHER_BIG.came_from(ALICE)]


@pytest.mark.parametrize("headers, status", [([TYPE_1, TYPE_1], 400), ([TYPE_1, ("Via", "1.1 proxy")], 403)],
                         ids=["two Authorization fields", "forwarded"])
def test_a_body_of_a_request_that_is_refused_goes_nowhere(plain_site, headers, status):
    with Client(plain_site) as client:
        answer = client.put(BIG, *headers)
        assert (answer.status, answer.closes) == (status, status == 400)
        assert client.arrived == []
        if not answer.closes:
            assert client.get().status == 401


def test_an_error_page_for_who_is_not_signed_in_takes_nothing_from_who_is(plain_site):
    """Both servers hand the refused body to the program that makes the page."""
    with Client(plain_site, "/error/") as client:
        leg = client.put(MIDDLE, TYPE_1)
        assert client.put(BIG, client.type_3(leg)).user == ALICE.name
        assert client.put(SMALL).user == ALICE.name
        assert [body for body in client.arrived if body[0]] == [BIG.came_from(ALICE), SMALL.came_from(ALICE)]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_fastcgi_gets_the_body(nginx_site, chunked):
    with Client(nginx_site, "/fastcgi/") as client:
        leg = client.put(BIG, TYPE_1, chunked=chunked)
        assert client.put(OTHER_BIG, client.type_3(leg), chunked=chunked).user == ALICE.name
        assert client.arrived == [OTHER_BIG.came_from(ALICE)]


CURL_WAYS = {
    "upload": ["--upload-file", "{file}"],
    "upload without Expect": ["--upload-file", "{file}", "--header", "Expect:"],
    "upload over HTTP/1.0": ["--upload-file", "{file}", "--http1.0", "--header", "Connection: keep-alive"],
    "data": ["--data-binary", "@{file}"],
    "chunks of data": ["--data-binary", "@{file}", "--header", "Transfer-Encoding: chunked"],
}


@pytest.mark.parametrize("scheme", ["--ntlm", "--anyauth"])
@pytest.mark.parametrize("way", CURL_WAYS.values(), ids=CURL_WAYS)
def test_curl_uploads(plain_site, file, test_id, way, scheme):
    (transfer,) = curl(plain_site, *sign_in(ALICE, scheme), *(word.format(file=file) for word in way),
                       "--header", f"X-Test-Id: {test_id}", plain_site.url("/streamed/"))
    assert transfer.user == ALICE.name
    assert arrived(plain_site, test_id) == [BIG.came_from(ALICE)]


def test_curl_uploads_over_tls(secure_site, file, test_id):
    # Over HTTP/2 curl 7.88 takes an answer that comes before the end of its upload for none at all.
    (transfer,) = curl(secure_site, *sign_in(ALICE), "--upload-file", str(file), "--header", f"X-Test-Id: {test_id}",
                       secure_site.url(), version="--http1.1")
    assert transfer.user == ALICE.name
    assert arrived(secure_site, test_id) == [BIG.came_from(ALICE)]


def test_a_body_over_http_2_goes_nowhere(secure_site, test_id):
    with Client(secure_site) as client:
        type_3 = client.type_3(client.put(EMPTY, TYPE_1))
    with Http2(secure_site) as connection:
        for credentials in ([], [TYPE_1], [type_3]):
            answer = connection.request("/", ("X-Test-Id", test_id), *credentials, method="PUT", body=SMALL.data)
            assert (answer["status"], answer["challenges"]) == (401, ["NTLM"])
    assert arrived(secure_site, test_id) == []


def test_requests_ntlm_uploads(plain_site, test_id):
    with requests.Session() as session:
        session.trust_env = False
        session.auth = HttpNtlmAuth(ALICE.name, ALICE.password)
        # It sends a stream once: only a body that it holds can go along before it has signed in.
        for body in (BIG.data, io.BytesIO(BIG.data), (part for part in (BIG.data[:70_000], BIG.data[70_000:]))):
            answer = session.put(plain_site.url(), data=body, headers={"X-Test-Id": test_id}, timeout=TIMEOUT)
            assert answer.json()["user"] == ALICE.name
    assert arrived(plain_site, test_id) == [BIG.came_from(ALICE)] * 3


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_pyspnego_uploads(plain_site, scheme):
    context = spnego.client(ALICE.name, ALICE.password, hostname=plain_site.host, service="HTTP", protocol="ntlm")
    with Client(plain_site, "/negotiate/") as client:
        leg = client.put(BIG, authorization(context.step(), scheme))
        type_3 = authorization(context.step(leg.token), scheme)
        assert client.put(OTHER_BIG, type_3).user == ALICE.name
        assert client.arrived == [OTHER_BIG.came_from(ALICE)]


@pytest.mark.parametrize("program, how", [("UrlConnection", "buffered"), ("ApacheHttpClient", "buffered"),
                                          ("ApacheHttpClient", "chunked")])
def test_java_uploads_what_it_can_send_again(plain_site, file, test_id, program, how):
    answers = java(program, plain_site, ALICE, Ask("/", file, how, test_id), Ask("/streamed/", file, how, test_id))
    assert [answer.user for answer in answers] == [ALICE.name] * 2
    assert arrived(plain_site, test_id) == [BIG.came_from(ALICE)] * 2


@pytest.mark.parametrize("program", PROGRAMS)
def test_java_uploads_what_it_sends_once_when_it_has_signed_in(plain_site, file, test_id, program):
    asks = [Ask("/", file, how, test_id) for how in ("fixed", "chunked", "expect")]
    answers = java(program, plain_site, ALICE, Ask("/"), *asks)
    assert [answer.user for answer in answers] == [ALICE.name] * 4
    assert arrived(plain_site, test_id) == [BIG.came_from(ALICE)] * 3


@pytest.mark.parametrize("program, how", [("UrlConnection", "fixed"), ("UrlConnection", "chunked"),
                                          ("UrlConnection", "expect"), ("ApacheHttpClient", "fixed")])
def test_java_gives_up_what_it_sends_once_before_it_has_signed_in(plain_site, file, test_id, program, how):
    first, second = java(program, plain_site, ALICE, Ask("/", file, how, test_id), Ask("/"))
    assert first.status in (0, 401)
    assert second.user == ALICE.name
    assert arrived(plain_site, test_id) == []


def test_a_body_that_comes_while_the_accounts_are_read_again_arrives_once_and_whole(plain_site):
    accounts = plain_site.server.directory / "accounts-reread"
    for password in ("first", "second"):
        alice = ALICE.with_password(password)
        write_accounts(accounts, line(alice))
        with Client(plain_site, "/reread/") as client:
            until(lambda: client.put(MIDDLE, client.type_3(client.put(EMPTY, TYPE_1), alice)).status == 200,
                  "the new password to count")
            assert client.arrived == [MIDDLE.came_from(ALICE)]


@pytest.fixture(scope="module", params=[DebianNginx, Httpd], ids=["nginx", "httpd"])
def slow_site(request, certificates):
    """Where every sign-in takes its time in a job."""
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        path = pathlib.Path(directory)
        path.chmod(0o755)
        kind = upload_server(request.param, f"slow:{DELAY * 1000:.0f}ms", BUILD / "slow")
        with make_server(kind, path / "server", certificates) as server:
            yield Site(server, "http")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_comes_while_the_sign_in_waits_arrives_once_and_whole(slow_site, path, chunked):
    with Client(slow_site, path) as client:
        type_3 = client.type_3(client.put(MIDDLE, TYPE_1, chunked=chunked))
        start = time.monotonic()
        assert client.put(BIG, type_3, chunked=chunked).user == ALICE.name
        assert time.monotonic() - start >= DELAY
        assert client.put(OTHER_BIG, chunked=chunked).user == ALICE.name
        assert client.arrived == [BIG.came_from(ALICE), OTHER_BIG.came_from(ALICE)]


def test_a_body_is_asked_for_when_the_sign_in_has_waited(slow_site):
    with Client(slow_site) as client:
        type_3 = client.type_3(client.put(EMPTY, TYPE_1))
        start = time.monotonic()
        client.begin(BIG.length, EXPECT, type_3)
        assert client.is_asked_for_the_body()
        assert time.monotonic() - start >= DELAY
        client.socket.sendall(BIG.data)
        assert client.receive().user == ALICE.name
        assert client.arrived == [BIG.came_from(ALICE)]


def test_bodies_pipelined_behind_a_sign_in_that_waits_arrive_each_with_its_own_request(slow_site):
    with Client(slow_site) as client:
        type_3 = client.type_3(client.put(SMALL, TYPE_1))
        answers = pipeline(client, (BIG, type_3), (MIDDLE,), (OTHER_BIG, TYPE_1), (SMALL,))
        assert [answer.status for answer in answers] == [200, 200, 401, 401]
        assert client.arrived == [body.came_from(ALICE) for body in (BIG, MIDDLE)]


def test_who_leaves_while_the_sign_in_waits_takes_the_body_along(slow_site):
    left = []
    for part in (0, 1000, 500_000):
        with Client(slow_site) as client:
            type_3 = client.type_3(client.put(EMPTY, TYPE_1))
            client.begin(MIDDLE.length, type_3)
            client.socket.sendall(MIDDLE.data[:part])
            left.append(client)
    with Client(slow_site) as other:
        assert other.put(BIG, other.type_3(other.put(EMPTY, TYPE_1))).user == ALICE.name
        assert other.arrived == [BIG.came_from(ALICE)]
    assert all(MIDDLE.came_from(ALICE) not in client.arrived for client in left)


def test_a_body_with_a_wrong_password_goes_nowhere_after_the_wait(slow_site):
    with Client(slow_site) as client:
        leg = client.put(EMPTY, TYPE_1)
        assert client.put(BIG, client.type_3(leg, ALICE.with_password("wrong"))).status == 401
        assert client.put(OTHER_BIG, client.type_3(client.put(BIG, TYPE_1))).user == ALICE.name
        assert client.arrived == [OTHER_BIG.came_from(ALICE)]
