"""httpd's other ways to divide its work: threads that keep their connection, and processes without threads.

The tests of the other modules, or those that could tell the difference, once more.
"""

import pathlib
import signal
import tempfile

import pytest

import test_waiting as waiting
from conftest import make_server
from ntlm_client import WRONG, channel_binding
from raw_http import Connection
from servers import Httpd, Site, until
from test_channel_binding import bindings, test_over_http_require_refuses, test_over_https
from test_clients import (chromium, session, test_chromium_signs_in, test_pyspnego_signs_in_with_raw_ntlm,
                          test_requests_ntlm_posts, test_requests_ntlm_signs_in,
                          test_requests_ntlm_with_a_wrong_password_gets_a_401)
from test_connection import *
from test_curl import *
from test_redirects import (test_a_handshake_goes_on_through_an_error_page,
                            test_a_redirect_to_an_index_or_fallback_needs_a_sign_in,
                            test_a_sign_in_survives_the_redirect_since_its_token_is_stepped_once,
                            test_a_wrong_password_is_wrong_behind_the_redirect_too,
                            test_an_error_page_keeps_the_challenge_once_and_names_nobody,
                            test_who_signed_in_but_may_not_enter_is_challenged_anew)
from test_reload import test_a_request_in_flight_at_a_reload_is_answered, test_the_access_log_names_the_user
from test_soak import test_many_clients_at_once_are_never_taken_for_one_another
from world import ALICE, BOB, line, write_accounts


class Worker(Httpd):
    mpm = "worker"


class Prefork(Httpd):
    mpm = "prefork"


KINDS = {kind.mpm: kind for kind in (Worker, Prefork)}
ALL = {kind.mpm: waiting.slow(kind) for kind in (Httpd, Worker, Prefork)}


@pytest.fixture(scope="module", params=KINDS)
def httpd(request, certificates):
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        with make_server(KINDS[request.param], directory / request.param, certificates) as server:
            yield server


@pytest.fixture
def server(httpd):
    return httpd


@pytest.fixture
def httpd_site(httpd):
    return Site(httpd, "http")


def test_the_server_is_of_that_kind(httpd):
    assert f"[mpm_{httpd.mpm}:notice]" in httpd.error_log.read_text()


def test_a_user_who_is_removed_is_signed_out(httpd_site):
    """On one connection, which has one process: others look at the file in their own time."""
    path = httpd_site.server.directory / "accounts-reread"
    with Connection(httpd_site) as connection:
        assert connection.sign_in(ALICE, "/reread/").user == ALICE.name
        write_accounts(path, line(BOB))
        until(lambda: connection.sign_in(BOB, "/reread/").status == 200, "Bob to get in")
        assert connection.sign_in(ALICE, "/reread/").status == 401
        write_accounts(path, line(ALICE))
        until(lambda: connection.sign_in(ALICE, "/reread/").status == 200, "Alice to get in")


@pytest.fixture(scope="module", params=KINDS)
def slow_httpd(request, certificates):
    with waiting.serving(ALL[request.param], certificates) as server:
        yield server


class TestWaiting:
    """For accounts that take their time."""

    @pytest.fixture
    def site(self, slow_httpd):
        return Site(slow_httpd, "http")

    test_deadline = staticmethod(waiting.test_a_job_that_takes_too_long_is_given_up_on_time)
    test_redirect = staticmethod(waiting.test_a_redirect_after_the_wait_does_not_wait_again)
    test_wrong_password = staticmethod(waiting.test_after_a_wrong_password_there_is_an_error_page)
    test_error_page = staticmethod(waiting.test_after_a_deadline_there_is_an_error_page)
    test_pipeline = staticmethod(waiting.test_what_is_sent_behind_a_sign_in_waits_for_it)
    test_leaving = staticmethod(waiting.test_clients_may_leave_at_any_point)
    test_many = staticmethod(waiting.test_whoever_waits_at_once_gets_their_own_answer)


@pytest.mark.parametrize("kind", [ALL["worker"], ALL["prefork"]], ids=KINDS)
@pytest.mark.parametrize("end", [waiting.test_a_reload_lets_who_waits_sign_in,
                                 waiting.test_a_graceful_stop_lets_who_waits_sign_in,
                                 waiting.test_a_quick_stop_does_not_wait_for_an_answer],
                         ids=["graceful restart", "graceful stop", "stop"])
def test_the_end_of_a_server_in_which_somebody_waits(kind, end, certificates):
    end(kind, certificates)


@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
def test_a_job_that_never_ends_does_not_keep_a_process_that_has_to_go(kind, certificates):
    with waiting.serving(kind, certificates, "MaxConnectionsPerChild 10") as server:
        site = Site(server, "http")
        log, old = site.log(), server.workers()
        _, answer = waiting.sign_in_stuck(site)
        waiting.assert_given_up(answer)

        def old_has_gone():
            with Connection(site) as connection:
                assert connection.request("/public/text").status == 200
            return not server.workers() & old

        until(old_has_gone, "the first processes to end")
        assert log.lines(waiting.TROUBLE) == []


@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM], ids=["restart", "stop"])
def test_a_restart_or_a_stop_does_not_wait_for_a_deadline(kind, end, certificates):
    with waiting.ending(kind, certificates, path="/patient/", quick=True) as (server, connection, log):
        workers = server.workers()
        server.process.send_signal(end)
        took, _ = waiting.seconds(lambda: until(lambda: not server.workers() & workers, "the processes to end"))
        assert waiting.is_cut(connection)
        assert took < 2 * waiting.SLOWNESS
        # As httpd says when a process has to be told more than once.
        assert log.lines("still did not exit|SIGKILL") == []


def threads(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/task").glob("*")))


def test_the_thread_of_a_job_ends_with_it(certificates):
    """Seen where a process has no other."""
    with waiting.serving(ALL["prefork"], certificates) as server:
        with Connection(Site(server, "http")) as connection:
            waiting.assert_given_up(connection.sign_in(ALICE, "/deadline/"))
        assert max(map(threads, server.workers())) == 2
        until(lambda: max(map(threads, server.workers())) == 1, "the thread to end")


def module_addresses(server):
    """Where the module is loaded in the server's first process."""
    maps = pathlib.Path(f"/proc/{server.process.pid}/maps").read_text()
    return {line.split("-")[0] for line in maps.splitlines() if "mod_auth_negotiate.so" in line}


@pytest.mark.parametrize("kind", ALL.values(), ids=ALL)
def test_graceful_restarts_find_the_module_as_it_was_left(kind, certificates):
    """It is never unloaded, and what it has of other modules is found anew."""
    with waiting.serving(kind, certificates) as server:
        addresses = module_addresses(server)
        for _ in range(3):
            server.reload()
            assert module_addresses(server) == addresses != set()
            assert threads(server.process.pid) == 1
            for binding, status in ((channel_binding(certificates.leaf), 200), (WRONG, 401)):
                with Connection(Site(server, "https")) as connection:
                    assert connection.sign_in(ALICE, binding=binding).status == status
            waiting.assert_given_up(waiting.sign_in_stuck(Site(server, "http"))[1])


class Threadless(ALL["event"]):
    """A new thread gets as much stack as the system says, which is too much here; httpd's own get less."""

    def start(self, wrapper=()):
        return super().start(["prlimit", f"--stack={1 << 47}:"])


def test_without_threads_to_be_had_a_step_is_given_up_at_once(certificates):
    with waiting.serving(Threadless, certificates, "ThreadStackSize 262144") as server:
        site = Site(server, "http")
        log = site.log()
        with waiting.Client(site) as connection:
            took, answer = waiting.seconds(lambda: connection.ask(ALICE, "/deadline/").receive())
        waiting.assert_given_up(answer)
        assert took < waiting.DEADLINE
        assert len(log.lines(":error\\].*no thread can be started")) == 1
