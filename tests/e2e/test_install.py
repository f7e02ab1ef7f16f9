"""make install: what it installs, where, and what is in it."""

import filecmp
import os
import re
import subprocess
import tomllib
import uuid

import pytest

from installed import SOURCE, Installation, files, make, run
from servers import BUILD, HTTPD_MODULES

VERSION = tomllib.loads((SOURCE / "Cargo.toml").read_text())["package"]["version"]
REAL_NAME = f"libnegotiate_auth.so.{VERSION}"
MODULES = ["ngx_http_auth_negotiate_module.so", "mod_auth_negotiate.so"]

LAYOUT = {
    "/bin/negotiate-auth": "0755",
    "/include/negotiate_auth.h": "0644",
    "/lib/libnegotiate_auth.a": "0644",
    "/lib/libnegotiate_auth.so": "libnegotiate_auth.so.1",
    "/lib/libnegotiate_auth.so.1": REAL_NAME,
    f"/lib/{REAL_NAME}": "0644",
    "/lib/pkgconfig/negotiate-auth.pc": "0644",
    "/share/doc/negotiate-auth/examples/server.c": "0644",
    "/share/doc/negotiate-auth/reasons.md": "0644",
    "/share/man/man1/negotiate-auth.1": "0644",
    "/share/man/man5/negotiate-auth-accounts.5": "0644",
}


def below(prefix, layout):
    return {prefix + path: what for path, what in layout.items()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp("installed"), "install", "install-modules", PREFIX="/usr")


def test_every_file_has_its_place_and_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        installation = Installation(tmp_path / "root")
    finally:
        os.umask(before)
    assert {path: str(what) for path, what in installation.list().items()} == below("/usr/local", LAYOUT)
    assert all(os.stat(folder).st_mode & 0o777 == 0o755 for folder, _, _ in os.walk(installation.root))


def test_a_second_time_changes_nothing(tmp_path):
    installation = Installation(tmp_path)
    first = {path: os.stat(path).st_size for path in files(tmp_path)}, installation.list()
    installation.install("install")
    assert ({path: os.stat(path).st_size for path in files(tmp_path)}, installation.list()) == first


def test_nothing_is_written_outside_destdir(tmp_path):
    prefix = f"/negotiate-auth-{uuid.uuid4()}"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    tree = snapshot()
    done = make("install", "install-modules", f"DESTDIR={tmp_path}/root", f"PREFIX={prefix}",
                f"nginx_modulesdir={prefix}/nginx", f"httpd_modulesdir={prefix}/httpd", TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "root") == [prefix.strip("/")]
    assert not os.path.exists(prefix)
    assert os.listdir(temporary) == []
    assert snapshot() == tree


def snapshot():
    """The parts of the source tree that are installed, and their neighbours."""
    names = ["docs", "examples", "include", "ngx_module", "apache_module"]
    folders = [SOURCE, BUILD, *(SOURCE / name for name in names)]
    return {entry.path: (entry.stat().st_mtime_ns, entry.stat().st_size)
            for folder in folders for entry in os.scandir(folder) if entry.is_file()}


def test_folders_can_be_chosen(tmp_path):
    places = {"PREFIX": "/usr", "libdir": "/usr/lib/x86_64-linux-gnu", "bindir": "/usr/sbin", "mandir": "/man",
              "includedir": "/usr/include/negotiate", "docdir": "/usr/share/doc/libnegotiate-auth-dev"}
    installation = Installation(tmp_path, **places)
    moved = [("/bin/", "/usr/sbin/"), ("/include/", "/usr/include/negotiate/"),
             ("/lib/", "/usr/lib/x86_64-linux-gnu/"), ("/share/man/", "/man/"),
             ("/share/doc/negotiate-auth/", "/usr/share/doc/libnegotiate-auth-dev/")]
    expected = {new + path.removeprefix(old): what for path, what in LAYOUT.items()
                for old, new in moved if path.startswith(old)}
    assert {path: str(what) for path, what in installation.list().items()} == expected
    text = installation.path("/usr/lib/x86_64-linux-gnu/pkgconfig/negotiate-auth.pc").read_text()
    assert "libdir=${exec_prefix}/lib/x86_64-linux-gnu\nincludedir=${prefix}/include/negotiate\n" in text
    assert f"-I{tmp_path}/usr/include/negotiate" in installation.pkg_config("--cflags")


def test_uninstall_leaves_what_others_put_there(tmp_path):
    installation = Installation(tmp_path, "install", "install-modules", PREFIX="/usr")
    others = ["/usr/lib/libnegotiate_auth.so.2", "/usr/share/man/man1/other.1", "/usr/bin/other"]
    for path in others:
        installation.path(path).write_text("another's\n")
    installation.install("uninstall")
    assert sorted(installation.list()) == sorted([*others, *(module_path(name) for name in MODULES)])
    assert not installation.path("/usr/share/doc/negotiate-auth").exists()
    installation.install("uninstall-modules")
    installation.install("uninstall", "uninstall-modules")
    assert sorted(installation.list()) == sorted(others)


@pytest.mark.parametrize("target, needs", [("install", "library"), ("install-modules", "build")])
def test_without_a_build_it_says_what_to_run_and_installs_nothing(target, needs, tmp_path):
    done = make(target, f"BUILD={tmp_path}/build", f"DESTDIR={tmp_path}/root")
    assert done.returncode != 0
    assert re.search(f"^{tmp_path}/build/\\S+ is missing: run `make {needs}' first$", done.stderr, re.M), done.stderr
    assert not (tmp_path / "root").exists()


# ---- The modules ----------------------------------------------------------------------------


def module_path(name):
    return f"{'/usr/lib/nginx/modules' if name.startswith('ngx') else HTTPD_MODULES}/{name}"


@pytest.mark.parametrize("name", MODULES)
def test_the_modules_go_where_the_servers_of_debian_look(installed, name):
    path = installed.path(module_path(name))
    assert filecmp.cmp(path, BUILD / name, shallow=False)
    assert oct(path.stat().st_mode)[-3:] == "644"
    said = subprocess.run(["/usr/sbin/nginx", "-V"], capture_output=True, text=True, timeout=60).stderr
    assert "--modules-path=/usr/lib/nginx/modules " in said


# ---- The library ----------------------------------------------------------------------------


SYSTEM = {"libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2"}
KERBEROS = {"libgssapi_krb5.so.2", "libkrb5.so.3", "libk5crypto.so.3"}


def dynamic_section(path):
    return run(["readelf", "--dynamic", "--wide", path])


def needed(section):
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", section))


@pytest.mark.parametrize("name", MODULES)
def test_the_modules_need_what_readme_says(installed, name):
    assert needed(dynamic_section(installed.path(module_path(name)))) - SYSTEM == KERBEROS
    readme = (SOURCE / "README.md").read_text()
    assert all(f"`{library}`" in readme for library in KERBEROS)


def test_the_shared_library_is_named_by_its_abi_and_stands_alone(installed):
    section = dynamic_section(installed.path("/usr/lib/libnegotiate_auth.so"))
    assert re.findall(r"\(SONAME\).*\[(.*)\]", section) == ["libnegotiate_auth.so.1"]
    assert not re.search("RPATH|RUNPATH|TEXTREL", section)
    assert needed(section) - SYSTEM == KERBEROS
    header = installed.path("/usr/include/negotiate_auth.h").read_text()
    declared = set(re.findall(r"\b(auth_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)))
    symbols = run(["nm", "--dynamic", "--defined-only", installed.path("/usr/lib/libnegotiate_auth.so")])
    assert {line.split()[-1] for line in symbols.splitlines()} == declared
    assert "auth_step" in declared


BINARIES = [f"/usr/lib/{REAL_NAME}", "/usr/lib/libnegotiate_auth.a", "/usr/bin/negotiate-auth"]


@pytest.mark.parametrize("path", [*BINARIES, *map(module_path, MODULES)])
def test_no_binary_has_the_accounts_of_the_tests(installed, path):
    slow_accounts = b"slow:TIME:PATH"
    assert slow_accounts in (BUILD / "slow/libnegotiate_auth.a").read_bytes()
    assert slow_accounts not in installed.path(path).read_bytes()


@pytest.mark.parametrize("path", BINARIES)
def test_no_binary_tells_of_the_machine_that_built_it(installed, path):
    home = os.environ["HOME"].rstrip("/")
    folders = [f"{home}/.", os.environ.get("CARGO_HOME", f"{home}/.cargo"), str(SOURCE)]
    content = installed.path(path).read_bytes()
    assert not re.findall(rb"[ -~]*(?:%s)[ -~]*" % "|".join(map(re.escape, folders)).encode(), content)


def test_the_version_is_the_same_everywhere(installed):
    assert installed.pkg_config("--modversion") == [VERSION]
    assert run([installed.path("/usr/bin/negotiate-auth"), "--version"]).split() == ["negotiate-auth", VERSION]
    shared = ["-Wl,-rpath," + str(installed.path("/usr/lib")), *installed.pkg_config("--cflags", "--libs")]
    assert f"{VERSION} 0\n" == run([link(installed, "shared", shared)])


def test_a_program_can_have_the_library_in_itself_as_readme_says(installed):
    (idiom,) = re.findall(r"\$\(pkg-config --static .* \| sed (\S+)\)", (SOURCE / "README.md").read_text())
    libs = " ".join(installed.pkg_config("--static", "--cflags", "--libs"))
    program = link(installed, "static", run(["sed", idiom], input=libs).split())
    assert run([program]) == f"{VERSION} 0\n"
    assert needed(dynamic_section(program)) - SYSTEM == KERBEROS


def link(installed, name, flags):
    """A program that says the version and the verdict on no request at all."""
    source = installed.root / "version.c"
    source.write_text("""
#include <negotiate_auth.h>
#include <stdio.h>

int main(void)
{
    auth_session *session = auth_begin(0);

    printf("%s %u\\n", auth_version(), (unsigned) auth_step(session, NULL, NULL));
    auth_finish(session);
    return 0;
}
""")
    program = installed.root / name
    run(["cc", "-std=c99", "-Wall", "-Werror", "-o", program, source, *flags])
    return program
