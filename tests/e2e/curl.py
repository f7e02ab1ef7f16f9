"""curl, as a person would type it."""

import json
import subprocess
from dataclasses import dataclass

from servers import DEADLINE

MARK = "--curl-transfer--"
FIELDS = ("http_code", "http_version", "num_connects", "size_upload")


@dataclass
class Transfer:
    status: int
    http_version: str
    connects: int
    uploaded: int
    body: str

    @property
    def user(self):
        assert self.status == 200, self
        return json.loads(self.body)["user"]


def curl(site, *arguments, version=None):
    """Runs curl and returns one Transfer per URL of the command line."""
    wanted = "\\n" + MARK + " ".join(f"%{{{name}}}" for name in FIELDS) + "\\n"
    write_out = ["--write-out", wanted]
    command = ["curl", "--silent", "--show-error", "--disable", "--noproxy", "*", "--max-time", str(DEADLINE)]
    common = [*write_out, "--cacert", str(site.server.ca), *([version] if version else [])]
    # Options that are not global end at --next.
    for argument in (*common, *arguments):
        command += [argument, *common] if argument == "--next" else [argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return list(transfers(done.stdout))


def transfers(output):
    body = []
    for line in output.splitlines():
        if line.startswith(MARK):
            code, version, connects, uploaded = line.removeprefix(MARK).split()
            yield Transfer(int(code), version, int(connects), int(uploaded), "\n".join(body).strip("\n"))
            body = []
        else:
            body.append(line)


def sign_in(account, scheme="--ntlm"):
    return [scheme, "--user", account.credentials]
