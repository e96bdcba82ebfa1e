"""A crowd of slow sockets, and good clients of each TCP listener of a tracker."""

import http.client
import resource
import socket
import ssl

import json_protocol
import text_protocol
from teem import TEXT_PORT

SOCKETS = 10_000
NETWORKS = 8
ONE_OF_THE_CROWD = "127.100.0.251"
HASH = "aaaaaaaaaaaaaaaaaaaa"
ANNOUNCE = f"/announce?info_hash={HASH}&peer_id=-XX0000-bbbbbbbbbbbb&port=7000&left=1&compact=1"
CHUNKS = b"['slow']"


def allow_descriptors():
    """Room for all the sockets in this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * SOCKETS
    assert hard == resource.RLIM_INFINITY or hard >= wanted, "the hard limit of descriptors is too low"
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def tracker_flags(listener, address):
    """What a tracker needs to speak there."""
    if listener == "admin":
        return ["--admin-listen", f"{address}:0"]
    if listener == "text-lists":
        return ["--text-listen", f"{address}:{TEXT_PORT}"]
    return ["--tls"] if listener.endswith("tls") else []


class Http:
    """Announces over HTTP."""

    protocol, secure, path, expected = "http", False, ANNOUNCE, b"interval"
    beginning = f"GET /announce?info_hash={HASH}".encode()

    def __init__(self, tracker):
        self.address = tracker.endpoint(self.protocol)
        self.context = ssl.create_default_context() if self.secure else None
        if self.context:
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.prepare()

    def prepare(self):
        """Whatever must be there before good clients can ask."""

    def dial(self, source):
        """A connection, with TLS if it is spoken there."""
        stream = socket.create_connection(self.address, 30, source_address=(source, 0))
        return self.context.wrap_socket(stream) if self.context else stream

    def connect(self, source):
        """A good client's connection."""
        connection = http.client.HTTPConnection(*self.address)
        connection.sock = self.dial(source)
        return connection

    def ask(self, connection):
        """One request; true if it was answered well."""
        connection.request("GET", self.path)
        reply = connection.getresponse()
        return reply.status == 200 and self.expected in reply.read()

    def ask_anew(self, source):
        """One request on a new connection."""
        connection = self.connect(source)
        try:
            return self.ask(connection)
        finally:
            connection.close()


class Https(Http):
    """The same with TLS."""

    secure = True


class Admin(Http):
    """Scrapes the metrics."""

    protocol, path, expected = "admin", "/metrics", b"teem_peers"
    beginning = b"GET /metrics HT"


class Json(Http):
    """Gets tokens over JSON."""

    protocol, beginning = "json", b'{"type":"AUTH","peer_id":'

    def connect(self, source):
        return json_protocol.Connection(self.dial(source))

    def ask(self, connection):
        reply = connection.ask(type="AUTH", peer_id="good")
        return reply is not None and reply["status"] in ("OK", "ERROR")


class JsonTls(Json):
    """The same with TLS."""

    secure = True


class TextLists(Http):
    """Asks for a chunk list: one for each connection."""

    protocol, beginning = "text-lists", b"sl"

    def prepare(self):
        seeder = text_protocol.Client(self.address[0], "127.0.0.8")
        seeder.register("slow", CHUNKS)
        assert seeder.exchange(CHUNKS) == b""
        seeder.close()

    def connect(self, source):
        return source

    def ask(self, connection):
        with self.dial(connection) as stream:
            stream.sendall(b"slow\n")
            return b"".join(iter(lambda: stream.recv(4_096), b"")) == CHUNKS

    def ask_anew(self, source):
        return self.ask(source)


LISTENERS = {
    "http": Http,
    "http-tls": Https,
    "json": Json,
    "json-tls": JsonTls,
    "admin": Admin,
    "text-lists": TextLists,
}

MEMORY_MAX_MIB = {"http": 280, "http-tls": 280, "json": 200, "json-tls": 280, "admin": 80, "text-lists": 100}
"""What a tracker built for debugging may take beside a whole crowd: some 25 to 40 MiB are its own."""


class Crowd:
    """Sockets of several networks, each of which begins a request and leaves it at that. With TLS every
    second one stops in the middle of its handshake."""

    def __init__(self, good):
        self.good, self.sockets = good, []

    def open(self, count, beginning=None):
        """Opens some more."""
        for number in range(len(self.sockets), len(self.sockets) + count):
            source = f"127.{100 + number % NETWORKS}.0.{1 + number // NETWORKS % 250}"
            if self.good.secure and number // NETWORKS % 2:
                stream = socket.create_connection(self.good.address, 30, source_address=(source, 0))
                stream.sendall(b"\x16\x03\x01\x02\x00\x01")
            else:
                stream = self.good.dial(source)
                stream.sendall(beginning or self.good.beginning)
            self.sockets.append(stream)

    def close(self):
        """Closes all of them."""
        for one in self.sockets:
            one.close()
