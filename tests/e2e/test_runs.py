"""Runs of blocks (docs/protocols/runs.md), byte by byte, against a seeder."""

import os
import socket
import struct

import libtorrent as lt
import pytest

import catalogue
from content import MIB, random_file
from scripted import PIECE, REQUEST, UNCHOKE, message
from teem import PEER_PORT

INTERESTED, HAVE_NONE, REJECT, EXTENDED = 2, 15, 16, 20
BLOCK = 16 * 1024
RUN = 16 * BLOCK
EXTENSIONS_AND_FAST = b"\x00\x00\x00\x00\x00\x10\x00\x04"


class Peer:
    """A leecher that says which runs it takes."""

    def __init__(self, address, info_hash, run):
        self.socket = socket.create_connection((address, PEER_PORT), timeout=30)
        self.stream = self.socket.makefile("rb")
        peer_id = b"-XX0001-" + os.urandom(6).hex().encode()
        handshake = b"\x13BitTorrent protocol" + EXTENSIONS_AND_FAST + info_hash + peer_id
        says = {b"m": {}} if run is None else {b"m": {}, b"teem_run": run}
        extended = message(EXTENDED, b"\0" + lt.bencode(says))
        self.socket.sendall(handshake + extended + message(HAVE_NONE) + message(INTERESTED))
        assert len(self.stream.read(68)) == 68

    def next(self, *kinds):
        """The next message of one of these kinds."""
        while True:
            length = self.stream.read(4)
            if len(length) < 4:
                raise ConnectionResetError("the connection ended")
            body = self.stream.read(*struct.unpack(">I", length))
            if body and body[0] in kinds:
                return body

    def request(self, piece, begin, length):
        """Asks for bytes of a piece."""
        self.socket.sendall(message(REQUEST, struct.pack(">III", piece, begin, length)))

    def close(self):
        """Leaves."""
        self.socket.close()


@pytest.fixture
def seeder(teem, folder):
    """A share of three pieces and a bit of 256 KiB; its content, address, and v1 info hash."""
    tracker = teem.tracker()
    source = random_file(folder / "file.bin", MIB - BLOCK - 5)
    share = teem.share(source, tracker, extra=["--piece-length", "256K"])
    info = lt.torrent_info(lt.bdecode(catalogue.torrent(tracker, source.name)))
    return source.read_bytes(), share.ip, info.info_hashes().v1.to_bytes()


def test_a_run_comes_in_one_message_to_who_takes_runs(seeder, cleanup):
    content, address, info_hash = seeder
    peer = Peer(address, info_hash, run=RUN)
    cleanup(peer)
    offered = lt.bdecode(peer.next(EXTENDED)[2:])
    assert offered[b"teem_run"] == RUN
    peer.next(UNCHOKE)
    peer.request(1, 0, RUN)
    answer = peer.next(PIECE, REJECT)
    assert answer[:9] == bytes([PIECE]) + struct.pack(">II", 1, 0)
    assert answer[9:] == content[RUN : 2 * RUN]
    # The last one is as long as what is left.
    peer.request(3, BLOCK, len(content) - 3 * RUN - BLOCK)
    assert peer.next(PIECE, REJECT)[9:] == content[3 * RUN + BLOCK :]


@pytest.mark.parametrize("run", [None, 0, BLOCK, 2 * BLOCK - 1])
def test_who_takes_no_runs_may_not_ask_for_one(seeder, cleanup, run):
    content, address, info_hash = seeder
    peer = Peer(address, info_hash, run)
    cleanup(peer)
    peer.next(UNCHOKE)
    peer.request(0, 0, BLOCK)
    assert peer.next(PIECE, REJECT)[9:] == content[:BLOCK]
    peer.request(0, 0, 2 * BLOCK)
    with pytest.raises(ConnectionResetError):
        peer.next(PIECE, REJECT)
