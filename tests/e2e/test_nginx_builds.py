"""Other builds of nginx than the usual ones, and what only the newest does."""

import pathlib
import re
import subprocess
import tempfile
import time
from contextlib import contextmanager

import pytest

from conftest import NGINXES, make_server
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import BUILD, NEWEST, DebianNginx, NewestNginx, Nginx, Site, until
from world import ALICE, BOB, UNKNOWN, ZOE, line, write_accounts

MODULE = "ngx_http_auth_negotiate_module.so"
FULL, BARE = NEWEST / "full", NEWEST / "bare"
# Of nginx's parts and of OpenSSL: what an nginx may have been built without.
OPTIONAL = re.compile(r"ngx_(thread|ssl|http_v2|http_ssl)_|SSL_|X509_|EVP_|i2d_|d2i_|OPENSSL_")


class Small:
    """One server over http, with these lines more."""

    templates, schemes = "conf/small", ("http",)
    lines = ""

    def fill_in(self, text):
        return super().fill_in(text.replace("@LINES@", self.lines))


class BareNginx(Small, NewestNginx):
    """Without threads, TLS and HTTP/2, but for the module of an nginx that has them."""

    binary = BARE / "nginx"


class BareNginxWithItsModule(BareNginx):
    modules = BARE


class BareNginxWithSlowAccounts(BareNginx):
    modules = FULL / "slow"
    lines = "location /slow/ { auth_negotiate_accounts slow:500ms:@DIR@/accounts; }"


class PatientNginx(Small, NGINXES.get("newest-nginx", Nginx)):
    """Leaves a connection open for a while that waits for its next request when the server reloads."""

    lines = "keepalive_min_timeout 30s;"


@contextmanager
def serving(kind, certificates):
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        with make_server(kind, directory / "server", certificates) as server:
            yield Site(server, "http")


@pytest.fixture(scope="module", params=[BareNginx, BareNginxWithItsModule], ids=["bare-nginx", "with its own module"])
def bare_site(request, certificates):
    with serving(request.param, certificates) as site:
        yield site


@pytest.fixture
def slow_site(certificates):
    with serving(BareNginxWithSlowAccounts, certificates) as site:
        yield site


@pytest.fixture
def patient_site(certificates):
    with serving(PatientNginx, certificates) as site:
        yield site


def symbols(path, *options):
    """The names in a program's or module's dynamic table, without their versions."""
    said = subprocess.run(["nm", "-D", *options, str(path)], capture_output=True, text=True, check=True).stdout
    return {tuple(row.split("@")[0].split()[-2:]) for row in said.splitlines()}


def said_by(binary):
    return subprocess.run([binary, "-V"], capture_output=True, text=True, check=True).stderr


def test_the_newest_has_what_the_bare_build_lacks():
    for binary, has in ((FULL / "nginx", True), (BARE / "nginx", False)):
        options, defined = said_by(binary), {name for _, name in symbols(binary, "--defined-only")}
        for option in ("--with-threads", "--with-http_ssl_module", "--with-http_v2_module"):
            assert (option in options) == has
        for name in ("ngx_thread_pool_add", "ngx_thread_task_post", "ngx_ssl_init", "ngx_http_v2_module"):
            assert (name in defined) == has
        assert "ngx_http_auth_basic_module" in defined


@pytest.mark.parametrize("module", [BUILD, FULL, BARE, BUILD / "slow", FULL / "slow"],
                         ids=["Debian", "newest", "bare", "Debian-slow", "newest-slow"])
def test_no_module_needs_what_an_nginx_may_lack(module):
    undefined = symbols(module / MODULE, "--undefined-only")
    of_nginx = {name for _, name in symbols(BARE / "nginx", "--defined-only")}
    needed = {name for kind, name in undefined if kind == "U"}
    assert "ngx_http_add_variable" in needed
    assert {name for name in needed if name.startswith("ngx_")} <= of_nginx
    assert not {name for name in needed if OPTIONAL.match(name)}
    used_if_there = {name for kind, name in undefined if kind == "w" and OPTIONAL.match(name)}
    assert used_if_there >= ({"SSL_get_certificate", "ngx_thread_task_post"} if module != BARE else set())


@pytest.mark.parametrize("kind, modules", [(NewestNginx, BUILD), (DebianNginx, FULL)],
                         ids=["the newest nginx", "Debian's nginx"])
def test_a_module_for_another_version_is_refused(kind, modules):
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        server = kind(pathlib.Path(directory), None, {})
        status, said = server.test(f"load_module {modules}/{MODULE};\nerror_log {directory}/log;\nevents {{ }}\n")
    assert status != 0
    assert re.search(r'module ".*/ngx_http_auth_negotiate_module\.so" version \d+ instead of \d+ in .*:1$', said, re.M)


def test_the_configuration_is_right(bare_site):
    server = bare_site.server
    status, said = server.test(server.configuration.read_text())
    assert status == 0, said
    assert "[" not in said, said


def test_users_sign_in(bare_site):
    log = bare_site.log()
    for account in (ALICE, ZOE):
        with Connection(bare_site) as connection:
            assert connection.request().status == 401
            assert connection.sign_in(account).user == account.name
            assert connection.request().user == account.name
    for account in (BOB.with_password("wrong"), UNKNOWN):
        with Connection(bare_site) as connection:
            assert connection.sign_in(account).status == 401
            assert connection.request().status == 401
    assert log.refusals() == ["wrong-response", "unknown-user"]
    assert log.lines(r"\[(alert|emerg|crit)\]") == []


def test_without_tls_no_binding_can_be_required(bare_site):
    log = bare_site.log()
    with Connection(bare_site) as connection:
        answer = connection.request("/binding/require/")
        assert (answer.status, answer.challenges) == (403, [])
    assert log.refusals() == ["missing-channel-binding"]


def test_accounts_that_change_are_read_again(bare_site):
    path = bare_site.server.directory / "accounts-reread"
    with Connection(bare_site) as connection:
        for accounts, inside, outside in (([ALICE], ALICE, BOB), ([BOB], BOB, ALICE), ([ALICE], ALICE, BOB)):
            write_accounts(path, "".join(map(line, accounts)))
            until(lambda: connection.sign_in(inside, "/reread/").status == 200, f"{inside.name} to get in")
            assert connection.sign_in(outside, "/reread/").status == 401


def test_without_threads_who_signs_in_slowly_holds_up_the_others(slow_site):
    with Connection(slow_site) as connection, Connection(slow_site) as another:
        assert another.sign_in(BOB).user == BOB.name
        type_3 = authorization(ALICE.authenticate(connection.challenge("/slow/")))
        start = time.monotonic()
        connection.send("/slow/", [type_3])
        assert another.request().user == BOB.name
        assert time.monotonic() - start >= 0.5
        answer = connection.receive()
        assert (answer.status, answer.all("Persistent-Auth")) == (404, ["true"])


@pytest.mark.parametrize("scope", ["http", "location"])
def test_a_thread_pool_without_threads_is_an_error_with_its_place(bare_site, scope):
    server = bare_site.server
    text = server.configuration.read_text()
    place = "    auth_negotiate on;\n" if scope == "http" else "        location / {\n"
    assert text.count(place) == 1
    text = text.replace(place, place + "auth_negotiate_thread_pool default;\n")
    status, said = server.test(text)
    number = text.splitlines().index("auth_negotiate_thread_pool default;") + 1
    assert status != 0
    assert "needs an nginx built with threads" in said
    assert f"tested-nginx.conf:{number}\n" in said


def reload_and_wait(server):
    """Until the old workers know that they are to end."""
    log = Site(server, "http").log()
    old = server.workers()
    server.reload(wait_for_old=False)
    log.wait("gracefully shutting down")
    assert old <= server.workers()
    return lambda: not old & server.workers()


def test_a_handshake_that_a_reload_finds_ends_on_its_connection(patient_site):
    log = patient_site.log()
    with Connection(patient_site) as connection, Connection(patient_site) as signed_in:
        assert signed_in.sign_in(BOB).user == BOB.name
        type_3 = authorization(ALICE.authenticate(connection.challenge()))
        old_have_ended = reload_and_wait(patient_site.server)
        for one, account, headers in ((connection, ALICE, [type_3]), (signed_in, BOB, [])):
            answer = one.request("/", *headers)
            assert answer.user == account.name
            assert answer.closes
        until(old_have_ended, "the old worker to end")
    assert log.refusals() == []
    assert log.lines(r"\[(alert|emerg|crit)\]") == []


def test_a_handshake_that_begins_in_a_worker_that_ends_goes_on_in_the_next(patient_site):
    with Connection(patient_site) as connection:
        assert connection.request().status == 401
        old_have_ended = reload_and_wait(patient_site.server)
        leg = connection.request("/", authorization(negotiate()))
        assert (leg.status, leg.closes) == (401, True)
        type_3 = authorization(ALICE.authenticate(leg.token))
        until(old_have_ended, "the old worker to end")
    with Connection(patient_site) as connection:
        answer = connection.request("/", type_3)
        assert (answer.status, answer.challenges) == (401, ["NTLM"])
        assert connection.sign_in(ALICE).user == ALICE.name
