"""Transfers over uTP alone: Teem with libtorrent in both directions, and Teem with Teem."""

import pytest

import catalogue
from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, make_torrent
from teem import EXIT_DONE

PIECE_LENGTH = 64 * 1024
ALONE = {
    "enable_outgoing_tcp": False,
    "enable_incoming_tcp": False,
    "enable_outgoing_utp": True,
    "enable_incoming_utp": True,
}


@pytest.fixture
def source(folder):
    """Content that takes many round trips, and ends in mid-piece."""
    return random_file(folder / "source" / "file.bin", 12 * MIB + 12_345)


def over_utp(peer):
    """Whether libtorrent said that a connection was made, and each over uTP."""
    connected = [line for line in peer.alerts() if line.startswith("peer_connect")]
    assert connected, "\n".join(peer.alerts()[-40:])
    return all("uTP" in line for line in connected)


def test_libtorrent_fetches_from_teem_over_utp(teem, folder, cleanup, source):
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--piece-length", "64K"])
    torrent = folder / "shared.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, source.name))
    peer = LibtorrentPeer(teem.address(), **ALONE)
    cleanup(peer)
    peer.leech(torrent, folder / "out", [tracker.http]).wait_done(90)
    assert over_utp(peer)
    assert_same(folder / "out" / source.name, source)
    assert peer.failed_bytes() == 0


def test_teem_fetches_from_libtorrent_over_utp(teem, folder, cleanup, source):
    tracker = teem.tracker()
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, "hybrid", PIECE_LENGTH, [tracker.http])
    peer = LibtorrentPeer(teem.address(), **ALONE)
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out", extra=["--utp", "only"])
    assert get.wait(90) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-40:])
    assert over_utp(peer)
    assert_same(folder / "out" / source.name, source)


def test_teem_finds_the_way_when_tcp_is_refused(teem, folder, cleanup, source):
    tracker = teem.tracker()
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, "hybrid", PIECE_LENGTH, [tracker.http])
    # It never dials, and takes no TCP connection: who fetches must turn to uTP by itself.
    peer = LibtorrentPeer(teem.address(), **dict(ALONE, enable_outgoing_utp=False))
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out")
    assert get.wait(90) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-40:])
    assert_same(folder / "out" / source.name, source)


def test_teem_fetches_from_teem_over_utp(teem, folder, source):
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--utp", "only"])
    get = teem.get(source.name, folder / "out", tracker, extra=["--utp", "only"])
    assert get.wait(90) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)


def test_without_utp_libtorrent_over_utp_alone_gets_nothing(teem, folder, cleanup, source):
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--utp", "off"])
    torrent = folder / "shared.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, source.name))
    peer = LibtorrentPeer(teem.address(), **dict(ALONE, enable_incoming_utp=False))
    cleanup(peer)
    peer.leech(torrent, folder / "out", [tracker.http])
    get = teem.get(source.name, folder / "ours", tracker)
    assert get.wait(90) == EXIT_DONE, get.tail()
    assert peer.handle.status().total_payload_download == 0
