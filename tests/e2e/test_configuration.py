"""Configuration errors, which name their file and line, and the table of options."""

import ctypes
import pathlib
import re
import tempfile

import pytest

from conftest import SERVERS, make_server
from krb5_client import AES256, DES, RC4, Key, keytab
from krb5_world import install, with_kerberos
from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import BUILD, HERE, Site
from world import ALICE, line, write_accounts

SOURCE = HERE.parent.parent


class Option:
    def __init__(self, key, default, kind):
        self.key, self.default, self.kind = key, default, kind
        self.nginx = f"auth_negotiate_{key}"
        self.httpd = "Negotiate" + "".join(word.capitalize() for word in key.split("_"))


def options():
    """The library's own table."""
    library = ctypes.CDLL(str(BUILD / "libnegotiate_auth.so.1"))
    for name in ("auth_option_key", "auth_option_default"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_size_t]
    library.auth_option_kind.restype = ctypes.c_uint32
    library.auth_option_kind.argtypes = [ctypes.c_size_t]
    index = 0
    while key := library.auth_option_key(index):
        default = library.auth_option_default(index)
        yield Option(key.decode(), default and default.decode(), library.auth_option_kind(index))
        index += 1


def nginx_configuration(directives, accounts="file:@DIR@/accounts"):
    """A whole configuration whose line 10 is the first of these directives."""
    return "\n".join([
        "load_module @BUILD@/ngx_http_auth_negotiate_module.so;",
        "@USER@ pid @DIR@/tested.pid;",
        "error_log @DIR@/tested.log;",
        "events { }",
        "http { access_log off; client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy;",
        "fastcgi_temp_path @DIR@/fastcgi; uwsgi_temp_path @DIR@/uwsgi; scgi_temp_path @DIR@/scgi;",
        "server { listen 127.0.0.1:@HTTP@;",
        "location / {",
        f"auth_negotiate on; auth_negotiate_domain EXAMPLE; auth_negotiate_accounts {accounts};"
        if accounts else "auth_negotiate on; auth_negotiate_domain EXAMPLE;",
        *directives,
        "} } }",
    ])


def httpd_configuration(directives, accounts="file:@DIR@/accounts"):
    """The same: line 10 is the first of these directives."""
    return "\n".join([
        "ServerName localhost",
        "ServerRoot @DIR@\nErrorLog @DIR@/tested.log",
        "LoadModule mpm_event_module @MODULES@/mod_mpm_event.so",
        "LoadModule authn_core_module @MODULES@/mod_authn_core.so",
        "LoadModule auth_negotiate_module @BUILD@/mod_auth_negotiate.so",
        "Listen 127.0.0.1:@HTTP@",
        "<Location />",
        f"NegotiateAccounts {accounts}" if accounts else "# without accounts",
        *directives,
        "AuthType Negotiate\nNegotiateDomain EXAMPLE",
        "</Location>",
        "",
    ])


def check(server, directives, **how):
    """What -t says of these lines: text of (nginx, httpd) or of both."""
    configuration = {"nginx": nginx_configuration, "httpd": httpd_configuration}[server.name]
    return server.test(server.fill_in(configuration(directives, **how)))


def places(server, path, number):
    """Either server's way to write a place."""
    return [f"{path}:{number}", f"line {number} of {path}"]


def assert_error(server, directives, *words, **how):
    status, said = check(server, directives, **how)
    assert status != 0, said
    tested = server.directory / f"tested-{server.name}.conf"
    assert any(place in said for place in places(server, tested, 10)), said
    for word in words:
        assert word in said, said


def directive(server, key, value):
    option = Option(key, None, 0)
    return f"{option.nginx} {value};" if server.name == "nginx" else f"{option.httpd} {value}"


def test_the_smallest_configuration_is_right(server):
    status, said = check(server, [""])
    assert status == 0, said


def test_an_unknown_directive_is_an_error_with_its_place(server):
    assert_error(server, [directive(server, "colour", "blue")])


@pytest.mark.parametrize("key, value", [
    ("mechanisms", "kerberus"), ("schemes", "basic"), ("channel_binding", "sometimes"),
    ("handshake_lifetime", "soon"), ("proxies", "300.1.2.3"), ("proxies", "10.0.0.0/33"),
    ("persist", "maybe"), ("accounts", "ldap:somewhere"), ("channel_binding", "allow require"),
    ("domain", "A B C"),
])
def test_a_value_that_makes_no_sense_is_an_error_with_its_place(server, key, value):
    assert_error(server, [directive(server, key, value)], accounts=None if key == "accounts" else "file:@DIR@/accounts")


def test_a_missing_accounts_file_is_an_error_with_its_place(server):
    assert_error(server, [directive(server, "accounts", "file:@DIR@/nowhere")], "nowhere", accounts=None)


def test_a_bad_line_of_the_accounts_file_is_an_error_with_both_places(server):
    path = server.directory / "accounts-bad"
    write_accounts(path, "# one\n" + line(ALICE) + "EXAMPLE\\bob:not-a-hash\n")
    assert_error(server, [directive(server, "accounts", f"file:{path}")], f"{path}:3", accounts=None)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o646])
def test_an_accounts_file_that_others_can_use_is_an_error(server, mode):
    path = server.directory / "accounts-open"
    write_accounts(path, line(ALICE), mode)
    assert_error(server, [directive(server, "accounts", f"file:{path}")], str(path), accounts=None)


def test_sign_in_without_accounts_or_a_keytab_is_an_error(server):
    status, said = check(server, [""], accounts=None)
    assert status != 0
    assert "accounts" in said and "keytab" in said and f"tested-{server.name}.conf" in said


# Kerberos

OURS = "HTTP/www.demo.test@DEMO.TEST"
KEYTABS = {
    "good": keytab([(OURS, Key.random())]),
    "mixed": keytab([("host/www.demo.test@DEMO.TEST", Key.random()), (OURS, Key.random(RC4)), (OURS, Key.random())]),
    "empty": keytab([]),
    "of another service": keytab([("host/www.demo.test@DEMO.TEST", Key.random())]),
    "of weak keys": keytab([(OURS, Key.random(DES)), (OURS, Key.random(RC4))]),
    "without a byte": b"",
    "of text": b"HTTP/www.demo.test@DEMO.TEST\n",
    "cut off": keytab([(OURS, Key.random(AES256))])[:-9],
}


@pytest.fixture
def keys(server):
    """The paths of keytabs by name."""
    paths = {name: server.directory / f"{name.replace(' ', '-')}.keytab" for name in KEYTABS}
    return {name: install(path, KEYTABS[name]) for name, path in paths.items()}


@pytest.mark.parametrize("name, words", [
    ("empty", "no key of the service HTTP"), ("of another service", "no key of the service HTTP"),
    ("without a byte", ""), ("of text", ""), ("cut off", ""),
])
def test_a_keytab_that_is_no_use_is_an_error_with_both_places(server, keys, name, words):
    assert_error(server, [directive(server, "keytab", keys[name])], str(keys[name]), words, accounts=None)


def test_a_keytab_of_weak_keys_is_an_error_with_its_place(server, keys):
    lines = [directive(server, "keytab", keys["of weak keys"])]
    assert_error(server, lines, "encryption types that are refused", "allow_rc4", accounts=None)
    status, said = check(server, [*lines, directive(server, "allow_rc4", "on")], accounts=None)
    assert status == 0, said


@pytest.mark.parametrize("place", ["@DIR@/nowhere", "nowhere", "@DIR@", "@DIR@/nowhere/at/all", "FILE:", '""'])
def test_a_keytab_that_is_not_there_is_an_error_with_its_place(server, place):
    assert_error(server, [directive(server, "keytab", place)], "keytab", accounts=None)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o642])
def test_a_keytab_that_others_can_use_is_an_error(server, keys, mode):
    keys["good"].chmod(mode)
    assert_error(server, [directive(server, "keytab", keys["good"])], str(keys["good"]), "chmod", accounts=None)


@pytest.mark.parametrize("place", ["@DIR@/mixed.keytab", "FILE:@DIR@/mixed.keytab", "mixed.keytab"])
def test_a_keytab_is_found_by_its_path_from_the_servers_folder_too(server, keys, place):
    status, said = check(server, [directive(server, "keytab", place)], accounts=None)
    assert status == 0, said


@pytest.mark.parametrize("key, value", [
    ("realm_map", "DEMO.TEST"), ("realm_map", "DEMO.TEST=A.B"), ("realm_map", "A=X B=x"), ("name_format", "short"),
    ("name_format", "full DEMO.TEST"), ("name_format", "tall"), ("name_case", "upper"), ("allow_rc4", "perhaps"),
    ("persist_kerberos", "once"), ("replay_cache", "sometimes"), ("replay_cache", "@DIR@/nowhere"),
    ("replay_cache", "on force"), ("certificates", "@DIR@/nowhere"), ("certificates", "@DIR@/server.key"),
    ("certificates", "@DIR@/server.pem @DIR@/accounts"), ("service_name", "ldap/www.demo.test"),
    ("mechanisms", "kerberos kerberos"),
])
def test_a_value_for_kerberos_that_makes_no_sense_is_an_error_with_its_place(server, key, value):
    assert_error(server, [directive(server, key, value)], f'"{key}"')


@pytest.mark.parametrize("key, value", [("mechanisms", "kerberos"), ("mechanisms", "kerberos ntlm")])
def test_kerberos_without_a_keytab_is_an_error_with_its_place(server, key, value):
    assert_error(server, [directive(server, key, value)], "keytab")


@pytest.mark.parametrize("key, value, words", [
    ("mechanisms", "ntlm", "accounts"), ("schemes", "ntlm", "negotiate"), ("replay_cache", "off", "channel_binding"),
])
def test_options_that_do_not_go_with_a_keytab_alone_are_errors_with_their_place(server, keys, key, value, words):
    lines = [directive(server, key, value), directive(server, "keytab", keys["good"])]
    assert_error(server, lines, f'"{key}"', words, accounts=None)


def test_a_service_that_the_keytab_has_no_key_of_is_an_error(server, keys):
    lines = [directive(server, "keytab", keys["good"]), directive(server, "service_name", "elsewhere.demo.test")]
    assert_error(server, lines, "service_name", accounts=None)


@pytest.mark.parametrize("lines", [
    [("replay_cache", "off force")], [("replay_cache", "off"), ("channel_binding", "require")],
    [("replay_cache", "@DIR@")], [("allow_rc4", "on"), ("service_name", "HTTP/www.demo.test:8080")],
    [("certificates", "@DIR@/server.pem ca.pem")], [("realm_map", "DEMO.TEST=DEMO OTHER.TEST=OTHER")],
    [("name_format", "short DEMO.TEST OTHER.TEST"), ("name_case", "lower")],
    [("name_format", "domain")], [("name_format", "local")], [("mechanisms", "kerberos")],
    [("schemes", "negotiate ntlm")],
])
def test_options_that_go_with_a_keytab(server, keys, lines):
    lines = [("keytab", keys["good"]), *lines]
    status, said = check(server, [directive(server, *words) for words in lines], accounts=None)
    assert status == 0, said


def test_the_same_option_twice_is_an_error_with_its_place(server, keys):
    lines = [directive(server, "keytab", keys["good"])]
    configuration = {"nginx": nginx_configuration, "httpd": httpd_configuration}[server.name]([*lines, "", *lines])
    status, said = server.test(server.fill_in(configuration))
    assert status != 0 and "is duplicate" in said
    assert any(place in said for place in places(server, server.directory / f"tested-{server.name}.conf", 12)), said


# One in the other: conf/merging


@pytest.fixture(scope="module", params=SERVERS)
def merging(request, realms, certificates):
    with tempfile.TemporaryDirectory(prefix="negotiate-auth-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        kind = with_kerberos(SERVERS[request.param], realms, templates="conf/merging", schemes=("http", "small"))
        with make_server(kind, directory / "server", certificates) as server:
            yield Site(server, "http")


@pytest.fixture(scope="module")
def stranger(realms):
    return realms.user("alice", "stranger", realms.other)


BOTH, KERBEROS, NTLM = ["Negotiate", "NTLM"], ["Negotiate"], ["NTLM"]

# Host, path, challenges, what a ticket of either realm leads to, and whether NTLM goes on.
PLACES = [
    ("localhost", "/", BOTH, "alice@DEMO.TEST", "wrong-service-name", True),
    ("localhost", "/schemes/ntlm/", NTLM, "scheme-not-offered", "scheme-not-offered", True),
    ("localhost", "/schemes/turned/", BOTH[::-1], "alice@DEMO.TEST", "wrong-service-name", True),
    ("localhost", "/mechanisms/ntlm/", NTLM, "scheme-not-offered", "scheme-not-offered", True),
    ("localhost", "/mechanisms/kerberos/", KERBEROS, "alice@DEMO.TEST", "wrong-service-name", False),
    ("localhost", "/keytab/", BOTH, "wrong-service-name", "alice@OTHER.TEST", True),
    ("localhost", "/keytab/inner/", BOTH, "wrong-service-name", "alice", True),
    ("kerberos.test", "/", KERBEROS, "wrong-service-name", "alice@OTHER.TEST", False),
    ("kerberos.test", "/accounts/", BOTH, "wrong-service-name", "alice@OTHER.TEST", True),
    ("ntlm.test", "/", NTLM, "scheme-not-offered", "scheme-not-offered", True),
    ("ntlm.test", "/keytab/", BOTH, "alice@DEMO.TEST", "wrong-service-name", True),
]


@pytest.mark.parametrize("host, path, challenges, demo, other, ntlm", PLACES,
                         ids=[host + path for host, path, *_ in PLACES])
def test_what_is_set_in_a_place_takes_the_place_of_what_is_inherited(
        merging, alice, stranger, host, path, challenges, demo, other, ntlm):
    def request(*headers):
        """On a connection of its own, for that host."""
        with Connection(merging) as connection:
            connection.socket.sendall("\r\n".join(
                [f"GET {path} HTTP/1.1", f"Host: {host}", *map(": ".join, headers), "", ""]).encode())
            return connection.receive()

    assert request().challenges == challenges
    for user, outcome in ((alice, demo), (stranger, other)):
        log = merging.log()
        answer = request(authorization(user.token(), "Negotiate"))
        if answer.status == 200:
            assert answer.user == outcome
        else:
            assert (answer.status, log.refusals()) == (401, [outcome])
    answer = request(authorization(negotiate()))
    assert answer.status == 401
    assert (answer.challenges[0] != "NTLM" and answer.challenges[0].startswith("NTLM ")) == ntlm


def test_every_option_has_a_directive_in_both_servers():
    keys = list(options())
    assert len(keys) == len({option.key for option in keys}) >= 9
    source = (SOURCE / "ngx_module/ngx_http_auth_negotiate_module.c").read_text()
    assert commands(source) == {option.nginx for option in keys} | {"auth_negotiate_thread_pool"}
    source = "".join(path.read_text() for path in sorted((SOURCE / "apache_module").glob("*.c")))
    # httpd has Require for that.
    httpds = {option.httpd for option in keys} - {"NegotiateRequire"}
    assert set(re.findall(r'"(Negotiate[A-Za-z0-9]+)"', source)) == httpds
    assert set(re.findall(r'"(negotiate-[a-z]+)"', source)) == {"negotiate-group", "negotiate-sid"}


def commands(source):
    """The names in nginx's command table."""
    table = source[source.index("ngx_http_auth_negotiate_commands[] ="):]
    return set(re.findall(r'"(auth_negotiate_[a-z0-9_]+)"', table[:table.index("ngx_null_command")]))


# Options whose default is that nothing is set.
SAMPLES = {
    "mechanisms": "kerberos ntlm", "schemes": "negotiate ntlm", "keytab": "@DIR@/good.keytab",
    "accounts": "file:@DIR@/accounts", "domain": "EXAMPLE", "realm_map": "DEMO.TEST=DEMO",
    "certificates": "@DIR@/server.pem", "group_names": "none",
}


def test_both_servers_take_every_option_with_its_default(server, keys):
    lines = [directive(server, option.key, SAMPLES.get(option.key, option.default))
             for option in options() if option.key != "domain" and not (server.name, option.key) == ("httpd", "require")]
    status, said = check(server, lines, accounts=None)
    assert status == 0, said


def test_rules_of_a_location_without_sign_in_are_an_error(nginx_site):
    server = nginx_site.server
    for location, works in (("auth_negotiate off; auth_negotiate_require user x;", False),
                            ("auth_negotiate on; auth_negotiate_require user x;", True)):
        text = server.configuration.read_text()
        at = text.index("        location /")
        status, said = server.test(f"{text[:at]}location /unprotected/ {{ {location} }}\n{text[at:]}")
        assert (status == 0) == works, said
        assert works or '"auth_negotiate_require" protects nothing without "auth_negotiate on"' in said, said


def test_htaccess_may_set_a_rule(httpd_site):
    with Connection(httpd_site) as connection:
        answer = connection.sign_in(ALICE, "/htaccess/rule/file")
        assert (answer.status, answer.all("Persistent-Auth")) == (200, ["false"])
        assert connection.request("/htaccess/rule/file").status == 401


def test_htaccess_may_not_say_who_can_sign_in(httpd_site):
    log = httpd_site.log()
    with Connection(httpd_site) as connection:
        connection.send("/htaccess/scope/file", [authorization(negotiate())])
        assert connection.receive().status == 500
    assert log.lines("NegotiateDomain not allowed")


SCOPE, RULE = 1, 2
RULES = {"persist", "persist_kerberos", "name_format", "name_case", "require", "groups", "groups_form",
         "groups_limit"}


def test_options_are_rules_or_scope():
    assert {option.key for option in options() if option.kind == RULE} == RULES
    assert {option.kind for option in options()} == {SCOPE, RULE}


def in_htaccess(site, option):
    """The answer to who has signed in, in a folder whose .htaccess sets this option, and what the log says."""
    folder = site.server.directory / "htdocs/htaccess" / option.key
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("a file\n")
    value = site.server.fill_in(SAMPLES.get(option.key, option.default))
    (folder / ".htaccess").write_text(f"{option.httpd} {value}\n")
    log = site.log()
    with Connection(site) as connection:
        connection.sign_in(ALICE)
        return connection.request(f"/htaccess/{option.key}/file").status, log.lines(f"{option.httpd} not allowed")


@pytest.mark.parametrize("option", [option for option in options() if option.key != "require"],
                         ids=lambda option: option.key)
def test_htaccess_may_set_rules_and_nothing_else(httpd_site, option):
    status, refused = in_htaccess(httpd_site, option)
    assert (status, len(refused)) == ((200, 0) if option.kind == RULE else (500, 1))
