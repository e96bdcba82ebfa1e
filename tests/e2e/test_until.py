"""`teem share --until N`: ends by itself when N peers have all of it, whoever they are and however soon they leave."""

import catalogue
from content import MIB, assert_same, random_file
from peers import Aria2Peer, LibtorrentPeer
from teem import EXIT_DONE, EXIT_USAGE


def test_share_ends_when_enough_peers_have_all(teem, folder, cleanup):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", 3 * MIB + 5)
    share = teem.share(source, tracker, extra=["--until", "3"])
    # One leaves the moment it is done.
    assert teem.get(source.name, folder / "one", tracker).wait(60) == EXIT_DONE
    share.event("copied")
    torrent = folder / "shared.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, source.name))
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(torrent, folder / "two", [tracker.http]).wait_done(60)
    share.event("copied", where=lambda each: each["peers"] == 2)
    other = Aria2Peer(teem.address(), folder)
    cleanup(other)
    other.leech(torrent, folder / "three", [tracker.http], stay=True)
    assert share.wait(60) == EXIT_DONE, share.tail()
    for copy in ("one", "two"):
        assert_same(folder / copy / source.name, source)
    told = [each["peers"] for each in share.objects() if each["kind"] == "copied"]
    assert told[-1] == 3 and told == sorted(set(told))


def test_nobody_is_no_number_of_peers(teem, folder):
    source = random_file(folder / "file.bin", 10)
    share = teem.run("share", source, "--until", "0")
    assert share.wait(10) == EXIT_USAGE
