"""Which passwords are good when: written by the test that changes the accounts, read by its clients.

No password ever comes back, so that a client who looks before it asks knows for sure what must not be accepted, and
one who looks again after the answer what had to be.
"""

import json
import os
import time
from dataclasses import dataclass

from ntlm_client import Account
from valgrind import SLOWNESS

# A changed file is looked at when somebody asks, once a second at most, and by every process for itself.
SETTLES = 5 * min(SLOWNESS, 4)


@dataclass
class Password:
    """What a user's password was, from when on and, unless it still is, until when."""

    account: Account
    since: float
    until: float | None

    def may_be_good(self):
        """Whether somebody who asks from now on may be accepted."""
        return self.until is None or time.monotonic() < self.until + SETTLES

    def was_good_since(self, start):
        """Whether somebody who has asked since then had to be accepted."""
        return self.until is None and self.since + SETTLES < start


class Ledger:
    """The reading side: looks at the file each time, parses it only when it is another."""

    def __init__(self, path):
        self.path = path
        self.seen = None
        self.users = {}

    def passwords(self, name):
        """All that a user had lately, the newest last; of somebody unknown, none."""
        stamp = os.stat(self.path)
        if self.seen != (stamp.st_ino, stamp.st_mtime_ns):
            with open(self.path) as file:
                self.users = {name: [Password(Account(*name.split("\\"), password), since, until)
                                     for password, since, until in passwords]
                              for name, passwords in json.load(file).items()}
            self.seen = (stamp.st_ino, stamp.st_mtime_ns)
        return self.users.get(name, [])

    def now(self, password):
        """What is known of a password now."""
        found = self.passwords(password.account.name)
        return next((one for one in found if one.account.password == password.account.password), GONE)


GONE = Password(Account("", "", ""), 0, 0)


class Book:
    """The writing side."""

    def __init__(self, path, names):
        self.path = path
        self.count = 0
        self.users = {name: [] for name in names}
        for name in names:
            self.give(name)

    def give(self, name):
        """A new password, which ends the one before."""
        self.take(name)
        self.count += 1
        self.users[name].append([f"Secret {self.count} of {name}", time.monotonic(), None])

    def take(self, name):
        """No password."""
        for password in self.users[name]:
            password[2] = password[2] or time.monotonic()
        del self.users[name][:-3]

    def publish(self):
        """Before the accounts change: clients shall not be surprised by a password that they do not know."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.users))
        os.replace(new, self.path)

    def accounts(self):
        """Everybody, with or without a password."""
        for name, passwords in self.users.items():
            password, _, until = passwords[-1]
            yield Account(*name.split("\\"), password) if until is None else None, name
