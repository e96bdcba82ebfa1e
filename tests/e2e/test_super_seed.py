"""Super-seeding (BEP 16): the first one to have something sends it little more than once."""

import pytest

import catalogue
from content import MIB, assert_same, random_file, sized
from peers import Aria2Peer, LibtorrentPeer, with_trackers
from teem import FORMATS

SIZE = sized(64, 12) * MIB


@pytest.mark.parametrize("format", sized(FORMATS, ["hybrid"]))
def test_the_leechers_pass_on_what_one_of_them_got(teem, folder, cleanup, format):
    source = random_file(folder / "source" / "first.bin", SIZE)
    tracker = teem.tracker()
    share = teem.share(
        source, tracker, extra=["--super-seed", "--format", format, "--piece-length", "128K", "--max-up", "4M", "--limit-lan"]
    )
    torrent = with_trackers(catalogue.torrent(tracker, "first.bin"), folder / "first.torrent", tracker.http)
    peers = [LibtorrentPeer(teem.address()) for _ in range(2)]
    for number, peer in enumerate(peers):
        cleanup(peer)
        peer.leech(torrent, folder / f"lt{number}")
    get = teem.get("first.bin", folder / "teem", tracker, exit=False)
    outputs = [folder / "lt0", folder / "lt1", folder / "teem"]
    if format != "v2":
        aria2 = Aria2Peer(teem.address(), folder)
        cleanup(aria2)
        aria2.leech(torrent, folder / "aria2")
        outputs.append(folder / "aria2")
    for peer in peers:
        peer.wait_done(120)
    get.done()
    if format != "v2":
        aria2.wait_done(120)
    # It writes little but to them. Plain seeding takes one copy and a half here.
    sent = share.io()["wchar"] / SIZE
    assert sent < 1.3, f"{sent:.2f} copies were sent to {len(outputs)} leechers"
    for output in outputs:
        assert_same(output / "first.bin", source)


def test_one_leecher_that_meets_nobody_gets_all_of_it(teem, folder):
    source = random_file(folder / "source" / "first.bin", 4 * MIB + 1)
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--super-seed", "--piece-length", "64K"])
    get = teem.get("first.bin", folder / "out", tracker)
    assert get.wait(60) == 0, get.tail()
    assert_same(folder / "out" / "first.bin", source)
