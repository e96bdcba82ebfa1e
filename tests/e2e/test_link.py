"""A way of a tenth of a second there and back, which loses and reorders packets: the content that comes is the same."""

import pytest

from content import MIB, assert_same, random_file
from link import Link
from peers import LibtorrentPeer, make_torrent
from teem import EXIT_DONE, PEER_PORT
from test_utp import ALONE, over_utp

PIECE_LENGTH = 64 * 1024

pytestmark = pytest.mark.root


@pytest.fixture
def link(folder, cleanup):
    """Of all that a network does to packets, some."""
    made = Link(folder, delay_ms=50, loss=0.01, late=0.03, late_ms=60, rate_mbit=20, queue_ms=200, seed=7)
    cleanup(made)
    return made


@pytest.fixture
def source(folder):
    """Content that takes many round trips, and ends in mid-piece."""
    return random_file(folder / "source" / "file.bin", MIB // 2 + 12_345)


def assert_it_was_hard(link, source):
    """All came over this link, and not all at once."""
    there, back = link.end()
    assert there["bytes"] > source.stat().st_size, there
    assert there["lost"] > 1 and there["late"] > 3, there
    assert back["lost"] + back["late"] > 0, back


@pytest.mark.parametrize("utp", ["off", "only"])
def test_content_crosses_a_link_that_delays_loses_and_reorders(teem, folder, link, source, utp):
    left, right = link.left.name, link.right.name
    tracker = teem.tracker(ip=link.LEFT, namespace=left)
    teem.share(source, tracker, ip=link.LEFT, namespace=left, extra=["--utp", utp, "--piece-length", PIECE_LENGTH])
    get = teem.get(source.name, folder / "out", tracker, ip=link.RIGHT, namespace=right, extra=["--utp", utp])
    assert get.wait(90) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    assert_it_was_hard(link, source)


def test_libtorrent_fetches_from_teem_over_such_a_link(teem, folder, cleanup, link, source):
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, "hybrid", PIECE_LENGTH)
    args = ["get", torrent, "--output", source.parent, "--listen", f"{link.LEFT}:{PEER_PORT}", "--data", teem.state("seeder")]
    seeder = teem(*args, "--tracker", "udp://127.0.0.1:1/announce", "--json", namespace=link.left.name)
    seeder.done()
    peer = link.right.inside(LibtorrentPeer, link.RIGHT, **ALONE)
    cleanup(peer)
    peer.leech(torrent, folder / "out").connect(link.LEFT)
    peer.wait_done(90)
    assert over_utp(peer)
    assert_same(folder / "out" / source.name, source)
    assert peer.failed_bytes() == 0
    assert_it_was_hard(link, source)


def test_teem_fetches_from_libtorrent_over_such_a_link(teem, folder, cleanup, link, source):
    tracker = teem.tracker(ip=link.LEFT, namespace=link.left.name)
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, "hybrid", PIECE_LENGTH, [tracker.http])
    peer = link.left.inside(LibtorrentPeer, link.LEFT, **ALONE)
    cleanup(peer)
    peer.seed(torrent, source.parent)
    right = link.right.name
    get = teem.get(torrent, folder / "out", ip=link.RIGHT, namespace=right, extra=["--utp", "only"])
    assert get.wait(90) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-40:])
    assert over_utp(peer)
    assert_same(folder / "out" / source.name, source)
    assert_it_was_hard(link, source)
