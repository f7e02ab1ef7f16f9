"""The Active Directory of the tests does what theirs do, fails as theirs do, and leaves nothing behind."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from ad_world import AD, running_domain
from accounts import DC_NAME, DNS_DOMAIN, LOCKOUT_THRESHOLD, MEMBER_NAME, PASSWORD, REALM, UMLAUT, WWW
from domain import DC_ADDRESS, MEMBER_ADDRESS
from servers import until

GROUPS_OF_ALICE = ["web-admins", "web-users", "all-staff", "web-local"]
REFUSED = {
    "nobody": "NT_STATUS_NO_SUCH_USER",
    "disabled": "NT_STATUS_ACCOUNT_DISABLED",
    "expired": "NT_STATUS_ACCOUNT_EXPIRED",
    "mustchange": "NT_STATUS_PASSWORD_MUST_CHANGE",
    "pwexpired": "NT_STATUS_PASSWORD_EXPIRED",
    "hours": "NT_STATUS_INVALID_LOGON_HOURS",
    "elsewhere": "NT_STATUS_INVALID_WORKSTATION",
}
# What winbindd says while there is this fault; None where it says nothing for long.
FAULTS = {
    "winbindd stopped": "WBC_ERR_WINBIND_NOT_AVAILABLE",
    "winbindd killed": "WBC_ERR_WINBIND_NOT_AVAILABLE",
    "winbindd frozen": None,
    "controller stopped": None,
    "controller frozen": None,
    "link cut": None,
    "account deleted": "NT_STATUS_LOGON_FAILURE",
    "password wrong": "NT_STATUS_LOGON_FAILURE",
    "clock off": "NT_STATUS_LOGON_FAILURE",
}


def assert_signs_in(found, account):
    assert (found["result"], found["account"], found["domain"]) == ("WBC_ERR_SUCCESS", account, "ADTEST"), found
    assert found["user_session_key"] == found["session_key"]


def test_the_member_has_a_channel_to_its_domain(domain):
    assert "succeeded" in domain.member.run(["wbinfo", "-t"]).stdout


@pytest.mark.parametrize("account", ["alice", UMLAUT])
def test_a_response_to_a_challenge_gives_the_key_and_the_sid(domain, account):
    found = domain.member.sign_in(account)
    assert_signs_in(found, account)
    assert found["sids"][0] == domain.sid(account)


def test_the_sids_of_all_groups_come_along(domain):
    sids = domain.member.sign_in("alice")["sids"]
    assert {domain.sid(group) for group in GROUPS_OF_ALICE} <= set(sids)


@pytest.mark.parametrize("account", REFUSED)
def test_each_account_that_is_refused_has_its_status(domain, account):
    found = domain.member.sign_in(account)
    assert (found["result"], found["status"]) == ("WBC_ERR_AUTH_ERROR", REFUSED[account])


def test_a_workstation_that_is_allowed(domain):
    assert_signs_in(domain.member.sign_in("elsewhere", workstation="ELSEWHERE"), "elsewhere")


def test_the_names_of_the_challenge_must_be_those_of_the_member(domain):
    found = domain.member.sign_in("alice", computer="OTHER")
    assert found["status"] == "NT_STATUS_LOGON_FAILURE"


def test_three_wrong_passwords_count_three(domain):
    for count in (1, 2):
        assert domain.member.sign_in("bob", password="wrong")["status"] == "NT_STATUS_WRONG_PASSWORD"
        assert domain.bad_pwd_count("bob") == count
    assert_signs_in(domain.member.sign_in("bob"), "bob")
    assert domain.bad_pwd_count("bob") == 0


def test_too_many_wrong_passwords_lock_the_account(domain):
    for _ in range(LOCKOUT_THRESHOLD):
        assert domain.member.sign_in("locked", password="wrong")["status"] == "NT_STATUS_WRONG_PASSWORD"
    assert domain.bad_pwd_count("locked") == LOCKOUT_THRESHOLD
    assert domain.is_locked("locked")
    assert domain.member.sign_in("locked")["status"] == "NT_STATUS_ACCOUNT_LOCKED_OUT"
    domain.unlock("locked")
    assert_signs_in(domain.member.sign_in("locked"), "locked")
    assert (domain.bad_pwd_count("locked"), domain.is_locked("locked")) == (0, False)


def test_the_directory_can_be_written(domain):
    domain.write("carol", userAccountControl=str(0x200 | 0x2))
    assert domain.member.sign_in("carol")["status"] == "NT_STATUS_ACCOUNT_DISABLED"
    domain.write("carol", userAccountControl=str(0x200))
    domain.set_password("carol", "another")
    assert_signs_in(domain.member.sign_in("carol", password="another"), "carol")
    domain.set_password("carol", PASSWORD)
    domain.add_user("dave", description="new")
    assert domain.read("dave", "description", "mail") == {"description": ["new"], "mail": []}
    assert_signs_in(domain.member.sign_in("dave"), "dave")


@pytest.mark.parametrize("account", ["alice", UMLAUT])
def test_a_ticket_is_good_for_the_keytab_of_its_service(domain, account, tmp_path):
    member, cache = domain.member, tmp_path / "cache"
    member.kinit(account, cache=cache)
    for service, keytab in ((f"HTTP/{WWW}", domain.keytabs / "http.keytab"),
                            (f"HTTP/rc4.{DNS_DOMAIN}", domain.keytabs / "rc4.keytab"),
                            (f"HTTP/{MEMBER_NAME}.{DNS_DOMAIN}", member.keytab)):
        done = member.run(["kvno", "-c", cache, "-k", keytab, service])
        assert done.stdout.startswith(f"{service}@{REALM}: kvno = ") and "keytab entry valid" in done.stdout
    tickets = member.run(["klist", "-e", "-c", cache]).stdout
    assert "aes256-cts-hmac-sha1-96, aes256-cts-hmac-sha1-96" in tickets
    assert "arcfour" not in member.run(["klist", "-e", "-k", domain.keytabs / "http.keytab"]).stdout


def test_the_privileged_pipe_is_for_one_group(domain):
    member = domain.member
    assert member.sign_in("alice", user="www-data")["result"] == "WBC_ERR_WINBIND_NOT_AVAILABLE"
    member.allow("www-data")
    assert_signs_in(member.sign_in("alice", user="www-data"), "alice")
    assert "winbindd_priv" in member.run(["id", "-nG"], user="www-data").stdout.split()
    member.deny("www-data")
    assert member.sign_in("alice", user="www-data")["result"] == "WBC_ERR_WINBIND_NOT_AVAILABLE"
    assert "www-data" not in pathlib.Path("/etc/group").read_text().partition("winbindd_priv:")[2].split("\n")[0]


def test_a_program_runs_on_the_member(domain):
    member = domain.member
    with member.popen(["sh", "-c", f"echo $$; hostname; pwd; getent ahostsv4 {DC_NAME} {WWW} | grep STREAM"],
                      stdout=subprocess.PIPE, text=True, cwd="/usr") as process:
        output = process.communicate(timeout=20)[0]
    assert output.split() == [str(process.pid), MEMBER_NAME, "/usr", DC_ADDRESS, "STREAM", f"{DC_NAME}.{DNS_DOMAIN}",
                              "127.0.0.1", "STREAM", WWW]
    alone = member.popen(["sh", "-c", "hostname; ip addr"], network_only=True, stdout=subprocess.PIPE, text=True)
    output = alone.communicate(timeout=20)[0]
    assert output.split()[0] == socket.gethostname() and MEMBER_ADDRESS in output


def test_a_thread_uses_the_network_of_the_member(domain):
    with domain.member.network(), socket.create_connection((DC_ADDRESS, 389), timeout=20) as connection:
        assert connection.getsockname()[0] == MEMBER_ADDRESS
    with socket.socket() as outside:
        with pytest.raises(OSError, match="Cannot assign requested address"):
            outside.bind((MEMBER_ADDRESS, 0))


def test_options_of_winbind(domain):
    domain.member.smb_conf["winbind request timeout"] = 7
    domain.member.restart_winbindd()
    domain.member.wait_until_signing_in()
    said = domain.member.run(["testparm", "-s", "--parameter-name=winbind request timeout"]).stdout
    assert said.strip() == "7"


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_and_can_be_healed(domain, fault):
    expected = FAULTS[fault]
    with domain.fault(fault):
        if expected is None:
            with pytest.raises(TimeoutError):
                domain.member.sign_in("alice", timeout=0.5)
        else:
            found = domain.member.sign_in("alice")
            assert expected in (found["result"], found["status"])
    assert domain.has_carrier() and domain.has_machine_account()
    for host in (domain.dc, domain.member):
        assert host.is_running and not [one for one in host.daemons() if one.state == "T"]
    domain.heal()
    assert_signs_in(domain.member.sign_in("alice"), "alice")


def test_every_fault_is_tried(domain):
    assert list(domain.faults) == list(FAULTS)


def test_two_domains_at_once_and_nothing_is_left(domain, domain_snapshot):
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    with running_domain(domain_snapshot) as other:
        other.set_password("alice", "another")
        assert_signs_in(other.member.sign_in("alice", password="another"), "alice")
        assert_signs_in(domain.member.sign_in("alice"), "alice")
        forgotten = other.member.popen(["sleep", "infinity"])
        namespaces = {*other.dc.namespaces.values(), *other.member.namespaces.values()}
        assert len(namespaces) == 8 and processes_in(namespaces)
    assert forgotten.wait(20) == -signal.SIGKILL
    assert not processes_in(namespaces)
    assert not other.folder.exists()
    assert not [mount for mount in mounts() if str(other.folder) in mount]
    assert subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout == links
    assert_signs_in(domain.member.sign_in("alice"), "alice")


# Prints its namespaces when a daemon and a program run there, and stays. A shell's background job ignores SIGINT.
KILLED = f"""
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.append({str(AD)!r})
from host import Host
with Host(sys.argv[1], "short") as host:
    host.daemon(["sh", "-c", "setsid sleep infinity >/dev/null 2>&1 &"])
    host.popen(["sleep", "infinity"])
    while len(host.members("net")) < 3:
        time.sleep(0.01)
    print(*(f"{{device}}:{{inode}}" for device, inode in host.namespaces.values()), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_tests_that_are_killed(tmp_path, number):
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "host"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    with process:
        line = process.stdout.readline()
        namespaces = {tuple(map(int, name.split(":"))) for name in line.split()}
        assert len(namespaces) == 4 and len(processes_in(namespaces)) >= 3
        process.send_signal(number)
        process.wait(20)
    until(lambda: not processes_in(namespaces), "the host's processes to end")
    assert not [mount for mount in mounts() if str(tmp_path) in mount]


@pytest.mark.parametrize("less, message", [
    (["--bounding-set=-sys_admin"], "does not let root make namespaces"),
    (["--reuid=www-data", "--clear-groups"], "takes root")])
def test_whoever_may_not_make_a_host_is_told_so(tmp_path, less, message):
    tmp_path.chmod(0o777)
    code = f"import sys; sys.path.append({str(AD)!r}); from host import Host; Host(sys.argv[1], 'none').__enter__()"
    done = subprocess.run(["setpriv", *less, sys.executable, "-c", code, tmp_path / "host"], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def processes_in(namespaces):
    """The processes in any of these namespaces, each (device, inode). One that has ended has no network."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/ns"):
        with contextlib.suppress(OSError):
            status = [os.stat(path / kind) for kind in ("net", "uts", "mnt", "pid")]
            if namespaces & {(one.st_dev, one.st_ino) for one in status}:
                found.add(path.parent.name)
    return found


def mounts():
    """The lines of mountinfo of all processes."""
    for path in pathlib.Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            yield from path.read_text(errors="replace").splitlines()
