"""A raw HTTP/2 client: streams of one connection, sent and read as a test says."""

import socket

import h2.config
import h2.connection
import h2.events

from raw_http import TIMEOUT


class Http2:
    def __init__(self, site):
        self.site = site
        raw = socket.create_connection((site.host, site.port), timeout=TIMEOUT)
        self.socket = site.tls_context(["h2"]).wrap_socket(raw, server_hostname=site.host)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.answers = {}
        # The last stream that the server has looked at, once it has said that it goes away.
        self.last_stream = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, path, *headers, method="GET", body=b""):
        """A body is one frame: there are no more than 16,384 bytes."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", method), (":scheme", "https"), (":path", path),
            (":authority", f"{self.site.host}:{self.site.port}"), *((n.lower(), v) for n, v in headers),
        ], end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.answers[stream] = {"status": None, "challenges": [], "body": b"", "done": False}
        self.socket.sendall(self.h2.data_to_send())
        return stream

    def receive(self, stream):
        answer = self.answers[stream]
        while not answer["done"]:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            for event in self.h2.receive_data(data):
                self.take(event)
            self.socket.sendall(self.h2.data_to_send())
        return answer

    def take(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            self.last_stream = event.last_stream_id
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ResponseReceived):
            answer["status"] = int(dict(event.headers)[":status"])
            answer["challenges"] = [value for name, value in event.headers if name == "www-authenticate"]
        elif isinstance(event, h2.events.DataReceived):
            answer["body"] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer["done"] = True
        elif isinstance(event, h2.events.StreamReset) and not answer["done"]:
            answer["status"], answer["done"] = f"reset {event.error_code}", True

    @property
    def is_used(self):
        """Whether anything was answered."""
        return any(answer["done"] for answer in self.answers.values())

    def request(self, path, *headers, **how):
        return self.receive(self.send(path, *headers, **how))
