"""What it means that a server lost a request."""

import http.client

from raw_http import Connection


class Lost(Exception):
    """A request that was sent whole got no answer, or not a whole one, and its client may not just send it again."""


class Closed(Exception):
    """A connection that had served was closed before an answer began: HTTP lets the client try again on another."""


class Careful(Connection):
    """A connection that tells a lost request from one to be tried again."""

    def __init__(self, site):
        self.served = 0
        try:
            super().__init__(site)
        except OSError as error:
            raise Lost(f"no connection: {error!r}") from error

    def request(self, path="/", *headers, **how):
        begun = False
        try:
            self.send(path, headers, **how)
            begun = self.answers.file.peek(1) != b""
            answer = self.receive(how.get("method", "GET"))
        except (OSError, http.client.HTTPException) as error:
            if self.served and not begun:
                raise Closed(repr(error)) from error
            raise Lost(f"request {self.served + 1} of its connection: {error!r}") from error
        self.served += 1
        return answer

    def expect(self, status, path="/", *headers, **how):
        """A request with only one right answer."""
        answer = self.request(path, *headers, **how)
        if answer.status != status:
            raise Lost(f"request {self.served} of its connection: {answer.status} in place of {status}")
        return answer
