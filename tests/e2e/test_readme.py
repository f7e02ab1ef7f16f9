"""The examples of README are configurations that the servers take."""

import re
import sys

import pytest

from servers import HERE

sys.path.append(str(HERE.parent.parent / "demo"))
from kdc import Kdc  # noqa: E402

README = (HERE.parent.parent / "README.md").read_text()


@pytest.fixture(scope="module")
def keytab(tmp_path_factory):
    directory = tmp_path_factory.mktemp("realm")
    with Kdc(directory) as kdc:
        kdc.add_service("HTTP/www.example.com")
        return kdc.keytab(directory / "http.keytab", "HTTP/www.example.com")


def examples(language):
    """A server, and rules for it."""
    server, rules = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return server.replace("/etc/negotiate-auth/accounts", "@DIR@/accounts"), rules


def replaced(text, old, new):
    assert text.count(old) == 1, f"{old} in the example"
    return text.replace(old, new)


def nginx_example():
    text, rules = examples("nginx")
    text = replaced(text, "        location / {", rules + "        location / {")
    text = replaced(text, "modules/", "@BUILD@/")
    text = replaced(text, "user www-data;", "@USER@")
    text = replaced(text, "listen 80;", "listen 127.0.0.1:@HTTP@;")
    return replaced(text, "http {", """pid @DIR@/tested.pid; error_log @DIR@/tested.log warn;
http { access_log off; client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy;
fastcgi_temp_path @DIR@/fastcgi; uwsgi_temp_path @DIR@/uwsgi; scgi_temp_path @DIR@/scgi;
""")


def httpd_example():
    modules = ["mpm_event", "authn_core", "authz_core", "authz_user"]
    text, rules = examples("apache")
    return "\n".join([
        "ServerName localhost\nServerRoot @DIR@\nErrorLog @DIR@/tested.log\nListen 127.0.0.1:@HTTP@",
        *(f"LoadModule {name}_module @MODULES@/mod_{name}.so" for name in modules),
        replaced(text, "/usr/lib/apache2/modules/", "@BUILD@/"),
        rules,
    ])


@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "with a typing error"])
def test_the_example_is_a_configuration(server, keytab, broken):
    text = {"nginx": nginx_example, "httpd": httpd_example}[server.name]()
    text = replaced(text, "/etc/negotiate-auth/http.keytab", str(keytab))
    if broken:
        text = replaced(text, "file:@DIR@", "fiel:@DIR@")
    status, said = server.test(server.fill_in(text))
    assert (status != 0) == broken, said
    # Nobody has this group in the file.
    assert ('the group "web-admins"' in said) != broken, said
    assert ("is neither file:PATH nor winbind" in said) == broken, said
