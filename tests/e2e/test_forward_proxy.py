"""httpd as a proxy that clients choose: it asks for Proxy-Authorization with 407, and leaves Authorization to others."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from contextlib import ExitStack

import pytest

from conftest import make_server
from krb5_client import keytab
from krb5_world import SERVICE, install
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import DEADLINE, Httpd, Site
from world import ALICE


@pytest.fixture(scope="module")
def proxy(realms, certificates):
    class Proxy(Httpd):
        templates = "conf/forward"
        schemes = ("http",)

        def start(self, wrapper=()):
            self.values["KEYTAB"] = install(self.directory / "http.keytab", keytab(realms.entries(SERVICE)))
            return super().start(wrapper)

        def environment(self, for_test=False):
            return {**(super().environment(for_test) or os.environ), "KRB5_CONFIG": str(realms.kdc.krb5_conf)}

    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield Site(stack.enter_context(make_server(Proxy, directory / "httpd", certificates)), "http")


@pytest.fixture(scope="module")
def behind(proxy):
    """The application, which knows nothing of the proxy."""
    return f"http://127.0.0.1:{proxy.server.values['APPLICATION']}"


def curl(proxy, *arguments, user=None):
    """The status of the last hop and of the proxy's tunnel, and what the application saw if it was asked."""
    said = run_curl(proxy, "--write-out", "\n%{http_code} %{http_connect}", *arguments, user=user)
    body, _, codes = said.rpartition("\n")
    status, connected = map(int, codes.split())
    return status, connected, json.loads(body) if status == 200 else None


def run_curl(proxy, *arguments, user=None):
    variables = {name: str(value) for name, value in user.variables.items()} if user else {}
    command = ["curl", "--silent", "--disable", "--max-time", str(DEADLINE), "--proxy", proxy.url(""), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE,
                          env={**os.environ, "no_proxy": "", "NO_PROXY": "", **variables})
    return done.stdout


def assert_seen(seen, name):
    assert seen["headers"]["x-remote-user"] == name
    assert "proxy-authorization" not in seen["headers"]


def test_a_client_is_asked_who_it_is_to_the_proxy(proxy, behind):
    with Connection(proxy) as connection:
        answer = connection.request(f"{behind}/page")
    assert answer.status == 407
    assert answer.all("Proxy-Authenticate") == ["Negotiate", "NTLM"]
    assert answer.challenges == []


def test_ntlm_signs_in_to_the_proxy(proxy, behind):
    status, _, seen = curl(proxy, "--proxy-ntlm", "--proxy-user", ALICE.credentials, f"{behind}/page")
    assert status == 200
    assert_seen(seen, ALICE.name)


def test_a_ticket_signs_in_to_the_proxy(proxy, behind, alice):
    status, _, seen = curl(proxy, "--proxy-negotiate", "--proxy-user", ":", f"{behind}/page", user=alice)
    assert status == 200
    assert_seen(seen, "alice@DEMO.TEST")


def test_who_signed_in_to_the_proxy_may_have_a_tunnel(proxy, behind):
    status, connected, seen = curl(proxy, "--proxytunnel", "--proxy-ntlm", "--proxy-user", ALICE.credentials,
                                   f"{behind}/page")
    assert (status, connected) == (200, 200)
    assert "x-remote-user" not in seen["headers"]
    status, connected, _ = curl(proxy, "--proxytunnel", f"{behind}/page")
    assert (status, connected) == (0, 407)


@pytest.mark.parametrize("arguments", [[], ["--proxytunnel"]], ids=["asked", "in a tunnel"])
def test_a_wrong_password_is_refused(proxy, behind, arguments):
    log = proxy.log()
    wrong = ALICE.with_password("wrong").credentials
    status, connected, _ = curl(proxy, *arguments, "--proxy-ntlm", "--proxy-user", wrong, f"{behind}/page")
    assert 407 in (status, connected) and status != 200
    assert log.refusals() == ["wrong-response"]


def test_credentials_for_the_application_sign_nobody_in_to_the_proxy(proxy, behind):
    theirs = authorization(negotiate())
    with Connection(proxy) as connection:
        answer = connection.request(f"{behind}/page", theirs)
        assert answer.status == 407
        assert answer.all("Proxy-Authenticate") == ["Negotiate", "NTLM"]
    basic = ("--user", "alice:for the application")
    status, _, seen = curl(proxy, "--proxy-ntlm", "--proxy-user", ALICE.credentials, *basic, f"{behind}/page")
    assert status == 200
    assert_seen(seen, ALICE.name)
    assert seen["headers"]["authorization"].startswith("Basic ")


def test_the_next_request_on_the_connection_needs_no_handshake(proxy, behind):
    log = proxy.access_log()
    run_curl(proxy, "--proxy-ntlm", "--proxy-user", ALICE.credentials, f"{behind}/first", f"{behind}/second")
    log.wait("GET .*/second")
    assert len(log.lines("GET .*/first")) == 2
    assert len(log.lines("GET .*/second")) == 1
