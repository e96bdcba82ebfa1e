"""Clients of the JSON protocol (docs/protocols/json.md): an object there, a line of JSON back."""

import json
import re
import socket


def dial(tracker, source="127.0.0.1"):
    """A connection to where a tracker speaks JSON."""
    return socket.create_connection(tracker.endpoint("json"), 20, (source, 0))


def ask_once(tracker, source="127.0.0.1", **request):
    """The answer to a request on a connection of its own: with no newline behind it, the tracker ends it."""
    with dial(tracker, source) as stream:
        stream.sendall(json.dumps(request).encode())
        return json.loads(stream.makefile().read())


def join(tracker, peer_id, source="127.0.0.1"):
    """A client of a tracker, with a token."""
    return Client(dial(tracker, source), peer_id).enter()


class Connection:
    """A connection that is kept, to a tracker or to a peer, with TLS or without."""

    def __init__(self, stream):
        self.socket, self.file = stream, stream.makefile("rwb")

    def send(self, text):
        """Sends bytes."""
        self.file.write(text)
        self.file.flush()

    def raw(self, text):
        """Sends bytes and returns the answer, none at the end of the connection."""
        self.send(text)
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, **request):
        """Sends a request that others follow, and returns the answer."""
        return self.raw(json.dumps(request).encode() + b"\n")

    def close(self):
        """Ends it."""
        self.file.close()
        self.socket.close()


class Client(Connection):
    """A client of a tracker: it says who it is, and shows its token once it has one."""

    def __init__(self, stream, peer_id):
        super().__init__(stream)
        self.peer_id, self.token = peer_id, None

    def ask(self, type, **fields):
        """Sends a request and returns the answer."""
        who = {"peer_id": self.peer_id, **({"token": self.token} if self.token else {})}
        return super().ask(type=type, **who | fields)

    def enter(self, **fields):
        """Gets a token."""
        reply = self.ask("AUTH", **fields)
        assert reply["status"] == "OK" and re.fullmatch(r"token_[0-9a-f]{32}", reply["token"]), reply
        self.token = reply["token"]
        return self
