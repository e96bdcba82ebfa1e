"""The order in which pieces are asked for."""

import pytest

from content import MIB, assert_same, random_file
from peers import make_torrent
from scripted import ScriptedSeeder
from teem import EXIT_DONE


@pytest.mark.parametrize("sequential", [True, False])
def test_sequential_asks_from_the_beginning_to_the_end(teem, folder, cleanup, sequential):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", 4 * MIB + 77)
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, "v1", 32 * 1024, [tracker.http])
    peer = ScriptedSeeder(teem.address(), torrent.read_bytes(), source.read_bytes())
    cleanup(peer)
    peer.announce(tracker)
    get = teem.get(torrent, folder / "out", extra=["--sequential"] if sequential else [])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    # 129 pieces by chance come in this order once in a number of 218 digits.
    assert (peer.served == sorted(peer.served)) == sequential
