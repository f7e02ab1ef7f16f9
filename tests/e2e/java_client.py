"""The Java programs of java/: compiled once, then told on their input what to request."""

import functools
import json
import pathlib
import subprocess
import tempfile
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from servers import DEADLINE

PROGRAMS = ["UrlConnection", "ApacheHttpClient"]
SOURCES = pathlib.Path(__file__).parent / "java"
HTTP_CLIENT = "/usr/share/java/httpclient.jar"
PASSWORD = "password"


@dataclass(frozen=True)
class Ask:
    """A request. A body is a file, sent in one of the ways that Requests.java names."""

    path: str
    body: pathlib.Path | None = None
    how: str = ""
    test_id: str = ""

    def line(self, site):
        return "\t".join(["POST" if self.body else "GET", site.url(self.path), str(self.body or ""), self.how,
                          self.test_id])


@dataclass(frozen=True)
class Answer:
    status: int
    body: str

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def user(self):
        assert self.status == 200, self
        return self.json["user"]


def java(program, site, account, *asks, properties=None):
    """Runs one program for one user. Returns an Answer for each Ask; status 0 is an exception."""
    lines = [account.name, account.password, *(ask.line(site) for ask in asks)]
    properties = {"javax.net.ssl.trustStore": trust_store(site.server), "javax.net.ssl.trustStorePassword": PASSWORD,
                  **(properties or {})}
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{classes().name}:{HTTP_CLIENT}",
               *(f"-D{name}={value}" for name, value in properties.items())]
    done = subprocess.run(["java", *options, program], input="".join(line + "\n" for line in lines),
                          capture_output=True, encoding="utf-8", timeout=3 * DEADLINE)
    assert done.returncode == 0, done.stderr
    answers = [line.split("\t", 1) for line in done.stdout.splitlines()]
    return [Answer(int(status), body) for status, body in answers]


@functools.cache
def classes():
    """A folder with the compiled programs, which goes when the tests end."""
    directory = tempfile.TemporaryDirectory(prefix="negotiate-auth-")
    subprocess.run(["javac", "-Werror", "-cp", HTTP_CLIENT, "-d", directory.name, *SOURCES.glob("*.java")],
                   check=True, timeout=6 * DEADLINE)
    return directory


def trust_store(server):
    """The CA of this server in the form that Java reads."""
    path = server.directory / "trust.p12"
    if not path.exists():
        certificate = pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(server.ca.read_bytes()), b"ca")
        path.write_bytes(pkcs12.serialize_java_truststore([certificate], BestAvailableEncryption(PASSWORD.encode())))
    return path
