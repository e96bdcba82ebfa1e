"""A client of the UDP tracker protocol (BEP 15, 41), packet by packet."""

import socket
import struct

from bep3 import PEER_ID, compact

CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
NONE, COMPLETED, STARTED, STOPPED = range(4)


class Udp:
    """One asker; `source` is the address that it asks from."""

    def __init__(self, host, source=None, connect=True):
        address, port = host.rsplit(":", 1)
        address = address.strip("[]")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((address, int(port)))
        self.id = self.connect() if connect else 0

    def connect(self):
        """Gets a connection id."""
        action, _, id = struct.unpack(">IIQ", self.ask(struct.pack(">QII", 0x41727101980, CONNECT, 1)))
        assert action == CONNECT
        return id

    def announce(self, info_hash, port=7, left=0, event=STARTED, want=-1, url_data=b"", id=None):
        """The packet of an announce."""
        id = self.id if id is None else id
        head = struct.pack(">QII20s20sQQQ", id, ANNOUNCE, 2, info_hash, PEER_ID, 0, left, 0)
        option = bytes([2, len(url_data)]) + url_data if url_data else b""
        return head + struct.pack(">IIIiH", event, 0, 0, want, port) + option

    def scrape(self, *info_hashes, id=None):
        """The packet of a scrape."""
        return struct.pack(">QII", self.id if id is None else id, SCRAPE, 3) + b"".join(info_hashes)

    def ask(self, packet):
        """The answer to a packet."""
        self.socket.send(packet)
        return self.socket.recv(4_000)

    def reply(self, packet):
        """Action and rest of an answer."""
        answer = self.ask(packet)
        return struct.unpack(">I", answer[:4])[0], answer[8:]

    def announced(self, *args, **fields):
        """Interval, leechers, seeders and peers of an announce's answer."""
        action, rest = self.reply(self.announce(*args, **fields))
        assert action == ANNOUNCE, rest
        interval, leechers, seeders = struct.unpack(">III", rest[:12])
        peers = compact(rest[12:], self.socket.family)
        return {"interval": interval, "leechers": leechers, "seeders": seeders, "peers": peers}

    def scraped(self, *info_hashes):
        """Seeders, completed and leechers of each swarm."""
        action, rest = self.reply(self.scrape(*info_hashes))
        assert action == SCRAPE, rest
        return [struct.unpack(">III", rest[at:at + 12]) for at in range(0, len(rest), 12)]
