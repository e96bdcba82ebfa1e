"""A client of the text protocol (docs/protocols/text.md)."""

import ast
import socket

from proc import wait_for
from teem import TEXT_PORT

REPLY_LEN_MAX = 1_200


class Client:
    """A seeder or leecher at an address of its own."""

    def __init__(self, tracker, source="127.0.0.1"):
        self.tracker, self.source = tracker, source
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((source, 0))
        self.udp.settimeout(10)

    def send(self, text):
        """Sends a datagram."""
        self.udp.sendto(text if isinstance(text, bytes) else text.encode(), (self.tracker, TEXT_PORT))

    def register(self, name, chunks=b"", port=7000, ip="127.0.0.1", size=None):
        """Registers a seeder with that chunk list."""
        self.send(f"register; {name}; {ip}; {port}; {len(chunks) if size is None else size}")

    def listed(self):
        """All seeders by name."""
        self.send("list_seeder")
        reply = self.udp.recv(4096)
        assert len(reply) <= REPLY_LEN_MAX and reply.isascii(), reply
        return {row[0]: row[1:] for row in ast.literal_eval(reply.decode())}

    def waits(self, name, listed=True):
        """Waits until a seeder is listed, or is not, and returns its row."""
        wait_for(lambda: (name in self.listed()) == listed, 20, f"{name} listed: {listed}")
        return self.listed().get(name)

    def connect(self):
        """A connection to the port of chunk lists."""
        connection = socket.create_connection((self.tracker, TEXT_PORT + 1), 10, source_address=(self.source, 0))
        connection.settimeout(40)
        return connection

    def exchange(self, text):
        """What comes back for `text`, until the tracker ends the connection."""
        with self.connect() as connection:
            try:
                connection.sendall(text)
                return b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionError:
                return b""  # It was ended while we were still sending.

    def close(self):
        """Ends it."""
        self.udp.close()
