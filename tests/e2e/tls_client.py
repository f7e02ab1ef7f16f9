"""Clients that choose their part of the TLS handshake: version, certificate, resumption."""

import io
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
from dataclasses import dataclass

from raw_http import TIMEOUT, Connection, Shared


@dataclass(frozen=True)
class Handshake:
    """Of TLS 1.2 or 1.3: full, or resumed by session ID or by ticket."""

    version: str
    kind: str

    def __str__(self):
        return f"{self.version}-{self.kind}"

    @property
    def is_resumed(self):
        return self.kind != "full"


HANDSHAKES = [Handshake("1.2", "full"), Handshake("1.2", "id"), Handshake("1.2", "ticket"),
              Handshake("1.3", "full"), Handshake("1.3", "ticket")]


class VirtualHost:
    """One of several servers on a port, as far as a Connection wants a Site."""

    tls = True

    def __init__(self, server, name):
        self.host, self.port = name, server.ports["https"]


class TlsConnection(Connection):
    """A connection whose handshake is done."""

    def __init__(self, host, socket, file):
        self.site, self.socket, self.answers = host, socket, Shared(file)


class PythonClient:
    """Python's ssl module, which can do all but choose the kind of key in TLS 1.3."""

    def __init__(self, host, handshake, ciphers=None):
        self.host = host
        self.handshake = handshake
        self.server_name = host.host
        self.session = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Certificates are compared, not trusted.
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[handshake.version]
        self.context.minimum_version = self.context.maximum_version = version
        if handshake.kind == "id":
            self.context.options |= ssl.OP_NO_TICKET
        if ciphers:
            self.context.set_ciphers(ciphers)

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.host.port), timeout=TIMEOUT)
        # The request follows the end of a resumed handshake: it must not wait until that is acknowledged.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = self.context.wrap_socket(plain, server_hostname=self.server_name, session=self.session)
        return TlsConnection(self.host, secure, secure.makefile("rb"))

    def keep_session(self, connection):
        """Resumes this connection, which has had an answer, from now on, if the handshake is to be resumed."""
        if self.handshake.is_resumed:
            self.session = connection.socket.session

    def certificate(self, connection):
        """What the client saw, in PEM: where it resumes, in the first handshake."""
        return ssl.DER_cert_to_PEM_cert(connection.socket.getpeercert(binary_form=True)).encode()

    def close(self):
        pass


class Pipe:
    """The standard input of openssl s_client, as far as a Connection uses a socket."""

    def __init__(self, process):
        self.process = process
        self.sendall = process.stdin.write

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class OpensslClient:
    """openssl s_client, which can say with what kind of key the server is to sign."""

    def __init__(self, host, handshake, sigalgs):
        self.host = host
        self.handshake = handshake
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="negotiate-auth-"))
        self.session = self.directory / "session"
        self.command = [
            "openssl", "s_client", "-quiet", "-nocommands", f"-tls{handshake.version.replace('.', '_')}",
            "-connect", f"127.0.0.1:{host.port}", "-servername", host.host, "-sigalgs", sigalgs]
        self.session_option = "-sess_out"

    def connect(self):
        process = subprocess.Popen([*self.command, self.session_option, self.session], bufsize=0,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return TlsConnection(self.host, Pipe(process), io.BufferedReader(process.stdout))

    def keep_session(self, _):
        if self.handshake.is_resumed:
            self.session_option = "-sess_in"

    def certificate(self, _):
        command = ["openssl", "sess_id", "-in", self.session, "-cert"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def close(self):
        shutil.rmtree(self.directory)
