#!/usr/bin/python3
"""Sign-ins a second through winbindd, by libwbclient alone and at nginx, in a domain of their own.

    winbind.py

Prints a line for each number of clients at once, with pairs of figures: by libwbclient, at nginx. Runs in the
environment of the end-to-end tests, whose domain it is.
"""

import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "ad")]
from accounts import DOMAIN, PASSWORD  # noqa: E402
from ad_world import folder, running_domain, snapshot  # noqa: E402
from ntlm_client import nt_hash  # noqa: E402
from servers import BUILD, free_port, until  # noqa: E402

AT_ONCE = (1, 8, 32)
PAIRS = 5
SECONDS = "2"
USER = "alice"

CONFIGURATION = """\
load_module @BUILD@/ngx_http_auth_negotiate_module.so;
user www-data;
daemon off;
worker_processes 1;
pid @DIR@/nginx.pid;
error_log @DIR@/error.log;

events {
    worker_connections 512;
}

http {
    access_log off;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/fastcgi;
    uwsgi_temp_path @DIR@/uwsgi;
    scgi_temp_path @DIR@/scgi;
    root @DIR@/htdocs;

    server {
        listen 127.0.0.1:@PORT@;

        location / {
            auth_negotiate on;
            auth_negotiate_accounts winbind;
            try_files /file =404;
        }
    }
}
"""


def main():
    with tempfile.TemporaryDirectory() as scratch, running_domain(snapshot()) as domain, folder() as directory:
        program = pathlib.Path(scratch) / "client"
        compile_client(program)
        member = domain.member
        member.allow("www-data")
        port = prepare(directory)
        nginx = member.popen(["/usr/sbin/nginx", "-e", str(directory / "error.log"), "-p", str(directory), "-c",
                              str(directory / "conf")])
        try:
            with member.network():
                until(lambda: answers(member, port), "nginx to listen")
            account = (DOMAIN, USER, nt_hash(PASSWORD).hex())
            for count in AT_ONCE:
                pairs = [(rate(member, program, count, "winbind", *account, member.name.upper()),
                          rate(member, program, count, "server", str(port), *account)) for _ in range(PAIRS)]
                print(count, *(f"{figure:.1f}" for pair in pairs for figure in pair), flush=True)
        finally:
            nginx.terminate()
            nginx.wait()


def compile_client(program):
    tests = ROOT / "tests" / "abi"
    subprocess.run(["cc", "-std=gnu99", "-O2", f"-I{tests}", "-I/usr/include/samba-4.0", HERE / "winbind.c",
                    tests / "ntlm_client.c", "-lwbclient", "-lpthread", "-o", program], check=True)


def prepare(directory):
    port = free_port()
    (directory / "htdocs").mkdir()
    (directory / "htdocs" / "file").write_text("a file\n")
    text = CONFIGURATION
    for name, value in {"BUILD": BUILD, "DIR": directory, "PORT": port}.items():
        text = text.replace(f"@{name}@", str(value))
    (directory / "conf").write_text(text)
    return port


def answers(member, port):
    found = member.run(["curl", "--silent", "--output", "/dev/null", f"http://127.0.0.1:{port}/"], check=False)
    return found.returncode == 0


def rate(member, program, *arguments):
    count, *rest = map(str, arguments)
    return float(member.run([str(program), count, SECONDS, *rest]).stdout)


if __name__ == "__main__":
    main()
