"""A raw HTTP/3 client: streams of one connection, sent and read as a test says, like those of http2_client."""

import select
import socket
import time

from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamReset

from raw_http import TIMEOUT

H3_REQUEST_CANCELLED = 0x10C


class Http3:
    def __init__(self, site):
        self.site = site
        self.address = site.host, site.port
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((site.host, 0))
        self.socket.setblocking(False)
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=site.host)
        configuration.load_verify_locations(cafile=str(site.server.ca))
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(self.address, time.monotonic())
        self.h3 = H3Connection(self.quic)
        self.answers = {}
        self.ready = False
        self.closed = None
        self.gone = False
        self.run(lambda: self.ready)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.gone:
            self.quic.close()
            self.flush()
        self.socket.close()

    def vanish(self):
        """As somebody whose network is gone: without a word."""
        self.gone = True

    def send(self, path, *headers, method="GET"):
        stream = self.quic.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":path", path),
                  (":authority", f"{self.site.host}:{self.site.port}"), *((n.lower(), v) for n, v in headers)]
        self.h3.send_headers(stream, [(name.encode(), value.encode()) for name, value in fields], end_stream=True)
        self.answers[stream] = {"status": None, "challenges": [], "body": b"", "done": False}
        self.flush()
        return stream

    def cancel(self, stream):
        """The request, and its answer."""
        self.quic.stop_stream(stream, H3_REQUEST_CANCELLED)
        self.flush()

    def receive(self, stream):
        self.run(lambda: self.answers[stream]["done"])
        return self.answers[stream]

    def request(self, path, *headers, **how):
        return self.receive(self.send(path, *headers, **how))

    def run(self, done):
        """Lets the connection go on until this is so, which may be without a word of the server."""
        deadline = time.monotonic() + TIMEOUT
        self.flush()
        while not done():
            if self.closed:
                raise ConnectionError(self.closed.reason_phrase or f"error {self.closed.error_code}")
            now = time.monotonic()
            assert now < deadline, "waited too long for an answer"
            timer = self.quic.get_timer()
            until = min(now + 0.05, timer if timer is not None else deadline)
            if select.select([self.socket], [], [], max(0, until - now))[0]:
                self.quic.receive_datagram(self.socket.recv(65536), self.address, time.monotonic())
            elif timer is not None and time.monotonic() >= timer:
                self.quic.handle_timer(time.monotonic())
            while event := self.quic.next_event():
                self.take(event)
            self.flush()

    def flush(self):
        for data, _ in self.quic.datagrams_to_send(time.monotonic()):
            self.socket.sendto(data, self.address)

    def take(self, event):
        if isinstance(event, HandshakeCompleted):
            self.ready = True
        elif isinstance(event, ConnectionTerminated):
            self.closed = event
        elif isinstance(event, StreamReset) and event.stream_id in self.answers:
            self.answers[event.stream_id] |= {"status": f"reset {event.error_code}", "done": True}
        for received in self.h3.handle_event(event):
            answer = self.answers.get(received.stream_id)
            if answer is None or answer["done"]:
                continue
            if isinstance(received, HeadersReceived):
                fields = [(name.decode(), value.decode()) for name, value in received.headers]
                answer["status"] = int(dict(fields)[":status"])
                answer["challenges"] = [value for name, value in fields if name == "www-authenticate"]
            elif isinstance(received, DataReceived):
                answer["body"] += received.data
            answer["done"] = received.stream_ended
