"""demo/run: what it prints works, and nothing is left when it stops."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from servers import HERE, free_port, until

RUN = HERE.parent.parent / "demo/run"


class Demo:
    def __init__(self, temporary, *arguments):
        self.ports = [free_port() for _ in range(4)]
        environment = {**os.environ, "NEGOTIATE_DEMO_PORTS": " ".join(map(str, self.ports)), "TMPDIR": temporary}
        self.process = subprocess.Popen([RUN, *arguments], env=environment, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

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


def curl(*arguments):
    done = subprocess.run(["curl", "--silent", "--disable", "--noproxy", "*", *arguments],
                          capture_output=True, text=True, timeout=30)
    return done.stdout


def test_the_commands_that_it_prints_show_who_signed_in(demo):
    commands = re.findall("^  curl (.*)$", demo.welcome, re.M)
    assert len(commands) == 6
    for command in commands:
        said = curl(*shlex.split(command))
        assert (r"DEMO\\alice" in said) == (":wrong" not in command), (command, said)
    assert r"DEMO\\bob" in said


def test_the_page_is_html_for_browsers_and_json_for_programs(demo):
    for port, server in ((demo.ports[0], "nginx"), (demo.ports[2], "httpd")):
        sign_in = ["--ntlm", "-u", r"DEMO\bob:builder", f"http://127.0.0.1:{port}/"]
        page = curl("-H", "Accept: text/html,application/xhtml+xml,*/*;q=0.8", *sign_in)
        assert page.startswith("<!DOCTYPE html>") and r"<h1>DEMO\bob</h1>" in page and server in page
        assert r'"user": "DEMO\\bob"' in curl("-H", "Accept: application/json", *sign_in)


def test_negotiate_py_signs_in_with_raw_ntlm_in_negotiate(demo):
    for url in re.findall(r"demo/negotiate.py \S+ (\S+)", demo.welcome):
        done = subprocess.run([sys.executable, RUN.with_name("negotiate.py"), r"DEMO\alice", url],
                              input="wonderland\n", capture_output=True, text=True, timeout=30)
        assert done.stdout.startswith("200 OK"), done
        assert r'"user": "DEMO\\alice"' in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_when_it_stops_nothing_is_left(demo, temporary, number):
    assert os.listdir(temporary)
    children = demo.children()
    assert len(children) == 3
    said = demo.stop(number)
    assert demo.process.returncode == 0
    assert "Traceback" not in said
    assert os.listdir(temporary) == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    for port in demo.ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_when_it_is_killed_the_servers_end_too(demo):
    children = demo.children()
    demo.process.kill()
    demo.process.wait()
    until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in children), "the servers to end")


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        environment = {**os.environ, "NEGOTIATE_DEMO_PORTS": f"{number} 2 3 4"}
        done = subprocess.run([RUN], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: port {number} of 127.0.0.1")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_check_signs_in_on_every_port_and_stops(temporary):
    demo = Demo(temporary, "--check")
    said, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, said
    assert len(re.findall("^ok ", said, re.M)) == 8
    assert os.listdir(temporary) == []
