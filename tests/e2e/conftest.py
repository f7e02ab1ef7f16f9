"""The servers run once for the whole suite, and every test says which it needs.

server: nginx, the newest nginx and httpd in turn; site: each over http and https;
secure_site and plain_site: over one of them; nginx_site and httpd_site: where they
differ.
"""

import pathlib
import shutil
import tempfile
from contextlib import ExitStack, contextmanager

import pytest

import ad_world
import application
from krb5_world import running_realms, with_kerberos
from servers import Httpd, NewestNginx, Nginx, Site, site_files
from world import Certificates, account_files

NGINXES = {"nginx": Nginx} if issubclass(Nginx, NewestNginx) else {"nginx": Nginx, "newest-nginx": NewestNginx}
SERVERS = {**NGINXES, "httpd": Httpd}


@contextmanager
def make_server(kind, directory, certificates, wrapper=(), proxied=application.Proxied):
    """A running server with all that it needs in this new directory."""
    directory.mkdir()
    directory.chmod(0o755)
    site_files(directory)
    account_files(directory)
    certificates.write(directory)
    journal = application.Journal(directory / "journal")
    with ExitStack() as stack:
        applications = {name: stack.enter_context(application.serve(handler, journal))
                        for name, handler in (("APPLICATION", proxied), ("FASTCGI", application.FastCgi))}
        server = kind(directory, journal, applications)
        stack.callback(server.stop)
        yield server.start(wrapper)


@pytest.fixture(scope="session")
def certificates():
    return Certificates()


@pytest.fixture(scope="session")
def running(certificates):
    """The servers by name, outside the source tree, since their workers are not root."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield {name: stack.enter_context(make_server(kind, directory / name, certificates))
               for name, kind in SERVERS.items()}


@pytest.fixture(scope="session")
def realms():
    """The KDCs of the suite and who is known there."""
    with running_realms() as realms:
        yield realms


@pytest.fixture(scope="session")
def alice(realms):
    return realms.user("alice")


@pytest.fixture(scope="session")
def bob(realms):
    return realms.user("bob")


@pytest.fixture(scope="session")
def running_with_kerberos(realms, certificates):
    """The servers with conf/kerberos by name: a module whose fixture "running" returns these runs on them."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        yield {name: stack.enter_context(make_server(with_kerberos(kind, realms), directory / name, certificates))
               for name, kind in SERVERS.items()}


@pytest.fixture(scope="session")
def domain_snapshot():
    return ad_world.snapshot()


@pytest.fixture(scope="module")
def domain(domain_snapshot):
    """An Active Directory of the module's own."""
    with ad_world.running_domain(domain_snapshot) as domain:
        yield domain


@pytest.fixture(params=SERVERS)
def server(request, running):
    return running[request.param]


@pytest.fixture(params=["http", "https"])
def site(request, server):
    return Site(server, request.param)


@pytest.fixture
def plain_site(server):
    return Site(server, "http")


@pytest.fixture
def secure_site(server):
    return Site(server, "https")


@pytest.fixture(params=NGINXES)
def nginx_site(request, running):
    return Site(running[request.param], "http")


@pytest.fixture
def httpd_site(running):
    return Site(running["httpd"], "http")
