"""demo/run: what it prints works, and nothing is left when it stops."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import warnings

import pytest

from servers import BUILD, HERE, IS_ROOT, free_port, is_group, until

RUN = HERE.parent.parent / "demo/run"
BUILT = ["ngx_http_auth_negotiate_module.so", "mod_auth_negotiate.so", "negotiate-auth"]


def bindable(host):
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
        return True
    except OSError:
        return False


class Demo:
    def __init__(self, temporary, *arguments, program=RUN, user=None):
        self.ports = [free_port() for _ in range(4)]
        environment = {**os.environ, "NEGOTIATE_DEMO_PORTS": " ".join(map(str, self.ports)), "TMPDIR": temporary}
        self.process = subprocess.Popen([program, *arguments], env=environment, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                        user=user)

    def read_welcome(self):
        text = ""
        while "Ctrl-C" not in text:
            line = self.process.stdout.readline()
            assert line, text
            text += line
        return text

    def children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path) as file:
            return [int(pid) for pid in file.read().split()]

    def kerberos(self, user="alice"):
        """The variables of the line to copy, and a ticket."""
        exported = re.search("^  export (.*)$", self.welcome, re.M)[1]
        environment = {**os.environ, **dict(word.split("=", 1) for word in shlex.split(exported))}
        assert "  kinit alice\n" in self.welcome
        password = {"alice": "wonderland", "bob": "builder"}[user]
        subprocess.run(["kinit", user], input=f"{password}\n", env=environment, text=True, check=True,
                       capture_output=True, timeout=30)
        return environment

    def stop(self, number):
        self.process.send_signal(number)
        return self.process.communicate(timeout=30)[0]


@pytest.fixture
def temporary():
    """A folder for the demo's own, which its workers can enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield directory


@pytest.fixture
def demo(temporary):
    demo = Demo(temporary)
    try:
        demo.welcome = demo.read_welcome()
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.stop(signal.SIGTERM)


def curl(*arguments, environment=None):
    done = subprocess.run(["curl", "--silent", "--disable", "--noproxy", "*", *arguments],
                          capture_output=True, text=True, timeout=30, env=environment)
    return done.stdout


def commands(welcome, wanted):
    lines = [shlex.split(line) for line in re.findall("^  curl (.*)$", welcome, re.M)]
    return [line for line in lines if wanted in line]


def test_the_kerberos_commands_that_it_prints_show_who_signed_in(demo):
    lines = commands(demo.welcome, "--negotiate")
    assert not any("DEMO.TEST" in curl(*line) for line in lines), "nobody has a ticket yet"
    environment = demo.kerberos()
    seen = [json.loads(curl(*line, environment=environment)) for line in lines]
    assert {(who["user"], who["mechanism"]) for who in seen} == {("alice@DEMO.TEST", "kerberos")}
    assert sorted((who["server"], who["protocol"]) for who in seen) == [
        (server, protocol) for server in ("httpd", "nginx")
        for protocol in ("HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2.0 over TLS")]


def test_the_ntlm_commands_that_it_prints_show_who_signed_in(demo):
    lines = [line for line in commands(demo.welcome, "--ntlm") if "admins" not in " ".join(line)]
    assert len(lines) == 6
    for line in lines:
        said = curl(*line)
        assert ('"alice@DEMO.TEST"' in said) == (":wrong" not in " ".join(line)), (line, said)
    assert '"bob@DEMO.TEST"' in said


def test_only_the_group_comes_in_where_the_group_is_asked_for(demo):
    alices, bobs = [line for line in commands(demo.welcome, "--ntlm") if "admins" in " ".join(line)]
    assert curl(*alices).count('"alice@DEMO.TEST"') == 2
    assert "bob@DEMO.TEST" not in curl(*bobs)
    for user, comes_in in (("alice", True), ("bob", False)):
        environment = demo.kerberos(user)
        for port in (demo.ports[0], demo.ports[2]):
            said = curl("--negotiate", "-u", ":", f"http://localhost:{port}/admins/", environment=environment)
            assert (f"{user}@DEMO.TEST" in said) == comes_in, said


def test_addresses_by_number_have_a_key_too(demo):
    environment = demo.kerberos()
    for port in (demo.ports[0], demo.ports[2]):
        said = curl("--negotiate", "-u", ":", f"http://127.0.0.1:{port}/", environment=environment)
        assert json.loads(said)["user"] == "alice@DEMO.TEST"


def test_two_folders_take_one_mechanism_each(demo):
    environment = demo.kerberos()
    kerberos, ntlm = ["--negotiate", "-u", ":"], ["--ntlm", "-u", r"DEMO\alice:wonderland"]
    for port in (demo.ports[0], demo.ports[2]):
        for path, right, wrong in (("kerberos", kerberos, ntlm), ("ntlm", ntlm, kerberos)):
            url = f"http://localhost:{port}/{path}/"
            assert json.loads(curl(*right, url, environment=environment))["mechanism"] == path
            assert "DEMO.TEST" not in curl(*wrong, url, environment=environment)
        said = curl("--anyauth", "-u", r"DEMO\alice:wonderland", f"http://localhost:{port}/ntlm/")
        assert json.loads(said)["user"] == "alice@DEMO.TEST"


def test_the_keys_are_for_their_owner_alone(demo, temporary):
    keytab, = pathlib.Path(temporary).glob("*/keytab")
    assert keytab.stat().st_mode & 0o777 == 0o600
    assert keytab.stat().st_uid == os.geteuid()


def test_the_page_is_html_for_browsers_and_json_for_programs(demo):
    for port, server in ((demo.ports[0], "nginx"), (demo.ports[2], "httpd")):
        sign_in = ["--ntlm", "-u", r"DEMO\bob:builder", f"http://127.0.0.1:{port}/"]
        page = curl("-H", "Accept: text/html,application/xhtml+xml,*/*;q=0.8", *sign_in)
        assert page.startswith("<!DOCTYPE html>") and "<h1>bob@DEMO.TEST</h1>" in page and server in page
        assert '"user": "bob@DEMO.TEST"' in curl("-H", "Accept: application/json", *sign_in)


def test_negotiate_py_signs_in_with_raw_ntlm_in_negotiate(demo):
    urls = re.findall(r"demo/negotiate.py \S+ (\S+)", demo.welcome)
    assert len(urls) == 2
    for url in urls:
        done = subprocess.run([sys.executable, RUN.with_name("negotiate.py"), r"DEMO\alice", url],
                              input="wonderland\n", capture_output=True, text=True, timeout=30)
        assert done.stdout.startswith("200 OK"), done
        assert '"user": "alice@DEMO.TEST"' in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_when_it_stops_nothing_is_left(demo, temporary, number):
    assert os.listdir(temporary)
    children = demo.children()
    assert len(children) == 4
    said = demo.stop(number)
    assert demo.process.returncode == 0
    assert "Traceback" not in said
    assert os.listdir(temporary) == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    for port in demo.ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_newer_pythons_find_nothing_to_warn_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (RUN, *RUN.parent.glob("*.py"), RUN.with_name("page.cgi")):
            compile(path.read_text(), path, "exec")


def test_a_client_that_says_nothing_does_not_keep_it(demo, temporary):
    silent = ssl._create_unverified_context()
    clients = [silent.wrap_socket(socket.create_connection(("127.0.0.1", port))) for port in demo.ports[1::2]]
    children = demo.children()
    start = time.monotonic()
    demo.stop(signal.SIGINT)
    assert time.monotonic() - start < 5
    assert os.listdir(temporary) == []
    until(lambda: not any(is_group(pid) for pid in children), "every process to end")
    for client in clients:
        client.close()


def test_when_it_is_killed_the_servers_end_too(demo):
    children = demo.children()
    demo.process.kill()
    demo.process.wait()
    until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in children), "the servers to end")


@pytest.mark.parametrize("host", [host for host in ("127.0.0.1", "::1") if bindable(host)])
def test_a_port_in_use_is_one_clear_line(host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        taken.bind((host, 0))
        taken.listen()
        number = taken.getsockname()[1]
        ports = [number, *(free_port() for _ in range(3))]
        environment = {**os.environ, "NEGOTIATE_DEMO_PORTS": " ".join(map(str, ports))}
        done = subprocess.run([RUN], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: port {number} of {host}")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_check_signs_in_with_both_mechanisms_on_every_port_and_stops(temporary):
    said = checked(Demo(temporary, "--check"))
    assert len(re.findall("^ok  kerberos  ", said, re.M)) == 8
    assert len(re.findall("^ok  ntlm      ", said, re.M)) == 8
    assert os.listdir(temporary) == []


def test_nobody_has_to_be_root(temporary):
    tree, own = pathlib.Path(temporary, "tree"), pathlib.Path(temporary, "own")
    shutil.copytree(RUN.parent, tree / "demo")
    (tree / "build").mkdir()
    for name in BUILT:
        shutil.copy(BUILD / name, tree / "build")
    own.mkdir()
    user = "nobody" if IS_ROOT else None
    if user:
        shutil.chown(own, user)
    said = checked(Demo(str(own), "--check", program=tree / "demo/run", user=user))
    assert len(re.findall("^ok ", said, re.M)) == 16
    assert os.listdir(own) == []


def checked(demo):
    said, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, said
    return said
