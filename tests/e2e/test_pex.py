"""Peers that hear of each other from a peer that they share (BEP 11), without tracker, DHT or local network."""

import socket
import struct

import pytest

from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, lt, make_torrent
from proc import wait_for
from teem import EXIT_DONE, PEER_PORT

PIECE_LENGTH = MIB
NOBODY = ["--tracker", "udp://127.0.0.1:1/announce"]
EXTENDED, HANDSHAKE = 20, 0


@pytest.fixture
def source(folder):
    """The content, with a torrent file beside it."""
    return random_file(folder / "source" / "file.bin", 3 * MIB + 5)


def link(info, *addresses):
    """A magnet link with nothing but hashes and peers."""
    hashes = [part for part in lt.make_magnet_uri(info).split("&") if not part.startswith(("tr=", "dn="))]
    return "&".join(hashes + [f"x.pe={address}:{PEER_PORT}" for address in addresses])


def seed(teem, folder, source):
    """Teem, seeding a torrent file that no tracker knows."""
    seeder = teem.get(folder / "made.torrent", source.parent, exit=False, extra=NOBODY)
    seeder.done()
    return seeder


def slow_leecher(teem, folder):
    """libtorrent, which would need minutes for its first piece."""
    peer = LibtorrentPeer(teem.address())
    peer.leech(folder / "made.torrent", folder / peer.address)
    peer.handle.set_download_limit(2_000)
    return peer


@pytest.mark.parametrize("format", ["v1", "hybrid"])
def test_teem_hears_from_libtorrent_of_the_peer_that_has_it(teem, folder, cleanup, source, format):
    info = make_torrent(source, folder / "made.torrent", format, PIECE_LENGTH)
    seeder = seed(teem, folder, source)
    # It knows the seeder, and has nothing.
    between = slow_leecher(teem, folder)
    cleanup(between)
    between.connect(seeder.ip)
    wait_for(lambda: between.handle.status().num_peers == 1, 60, "connection between the two", seeder)
    get = teem.get(link(info, between.address), folder / "out")
    assert get.wait(120) == EXIT_DONE, get.tail() + "\n".join(between.alerts()[-30:])
    assert_same(folder / "out" / "file.bin", source)
    # It may have got the few bytes of the last piece.
    assert between.uploaded() < PIECE_LENGTH


def test_libtorrent_hears_from_teem_of_the_other_peer(teem, folder, cleanup, source):
    make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    seeder = seed(teem, folder, source)
    first, second = peers = [slow_leecher(teem, folder) for _ in range(2)]
    for peer in peers:
        cleanup(peer)
        peer.connect(seeder.ip)

    def told():
        known = first.handle.get_peer_info()
        return any(one.ip[0] == second.address and one.source & lt.peer_info.pex for one in known)

    wait_for(told, 60, "word of the second", seeder)


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("flags", [[], ["--pex", "off"]])
def test_only_peers_of_open_torrents_are_offered_it(teem, folder, source, private, flags):
    make_torrent(source, folder / "made.torrent", "v1", PIECE_LENGTH)
    torrent = lt.bdecode((folder / "made.torrent").read_bytes())
    if private:
        torrent[b"info"][b"private"] = 1
        (folder / "made.torrent").write_bytes(lt.bencode(torrent))
    info_hash = lt.torrent_info(torrent).info_hashes().v1.to_bytes()
    seeder = teem.get(folder / "made.torrent", source.parent, exit=False, extra=NOBODY + flags)
    seeder.done()
    with socket.create_connection((seeder.ip, PEER_PORT), 30) as stream, stream.makefile("rb") as bytes_in:
        reserved = bytes(5) + b"\x10" + bytes(2)
        stream.sendall(b"\x13BitTorrent protocol" + reserved + info_hash + b"-XX0000-abcdefghijkl")
        assert len(bytes_in.read(68)) == 68
        (length,) = struct.unpack(">I", bytes_in.read(4))
        message = bytes_in.read(length)
    assert message[:2] == bytes([EXTENDED, HANDSHAKE])
    offered = lt.bdecode(message[2:])[b"m"]
    assert b"ut_metadata" in offered
    assert (b"ut_pex" in offered) == (not private and not flags)
