"""Configuration errors, which name their file and line, and the table of options."""

import ctypes
import re

import pytest

from ntlm_client import negotiate
from raw_http import Connection, authorization
from servers import BUILD, HERE
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


def test_sign_in_without_accounts_is_an_error(server):
    status, said = check(server, [""], accounts=None)
    assert status != 0
    assert "accounts" in said and f"tested-{server.name}.conf" in said


def test_every_option_has_a_directive_in_both_servers():
    keys = list(options())
    assert len(keys) == len({option.key for option in keys}) >= 9
    source = (SOURCE / "ngx_module/ngx_http_auth_negotiate_module.c").read_text()
    assert commands(source) == {option.nginx for option in keys} | {"auth_negotiate_thread_pool"}
    source = "".join(path.read_text() for path in sorted((SOURCE / "apache_module").glob("*.c")))
    assert set(re.findall(r'"(Negotiate[A-Za-z]+)"', source)) == {option.httpd for option in keys}


def commands(source):
    """The names in nginx's command table."""
    table = source[source.index("ngx_http_auth_negotiate_commands[] ="):]
    return set(re.findall(r'"(auth_negotiate_[a-z_]+)"', table[:table.index("ngx_null_command")]))


def test_both_servers_take_every_option_with_its_default(server):
    accounts = f"file:{server.directory}/accounts"
    lines = []
    for option in options():
        value = accounts if option.key == "accounts" else option.default
        if option.key in ("domain", "mechanisms", "schemes"):
            value = {"domain": "EXAMPLE", "mechanisms": "ntlm", "schemes": "negotiate ntlm"}[option.key]
        if option.key != "domain":
            lines.append(directive(server, option.key, value))
    status, said = check(server, lines, accounts=None)
    assert status == 0, said


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


def test_options_are_rules_or_scope():
    kinds = {option.key: option.kind for option in options()}
    assert kinds.pop("persist") == 2
    assert set(kinds.values()) == {1}
