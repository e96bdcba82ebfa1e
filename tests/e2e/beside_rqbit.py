"""rqbit in the same swarm, v1, both directions. Cargo must build it: scripts/beside-ci does, CI does not.

The name keeps it out of what pytest collects by itself.
"""

import os
from pathlib import Path

import pytest

import catalogue
from content import MIB, assert_same, random_file
from peers import make_torrent
from proc import Process, wait_for
from teem import EXIT_DONE, PEER_PORT, ROOT


def rqbit(teem, torrent, folder, *more):
    """Starts `rqbit download` on an address of its own."""
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "peers" / "bin" / "rqbit"
    assert binary.exists(), f"{binary} is missing: scripts/beside-ci builds it"
    address = teem.address()
    quiet = ("--disable-dht", "--disable-lsd", "--disable-upnp-port-forward")
    argv = [binary, *quiet, "--listen-ip", address, "--listen-port", PEER_PORT, "-i", "2s", "-v", "info"]
    argv += ["download", "--disable-http-api", "-o", folder, *more, torrent]
    return Process(f"rqbit-{address}", argv, teem.folder, teem.env())


@pytest.mark.parametrize("format", ["v1", "hybrid"])
def test_rqbit_fetches_from_teem(teem, folder, format):
    source = random_file(folder / "source" / "file.bin", 20 * MIB + 5)
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--format", format])
    torrent = folder / "file.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, "file.bin"))
    peer = rqbit(teem, torrent, folder / "out", "--exit-on-finish")
    assert peer.wait(60) == 0, peer.tail()
    assert_same(folder / "out" / "file.bin", source)


def test_teem_fetches_from_rqbit(teem, folder):
    source = random_file(folder / "source" / "file.bin", 20 * MIB + 5)
    tracker = teem.tracker()
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, "v1", 64 * 1024, [tracker.http])
    peer = rqbit(teem, torrent, source.parent, "--overwrite")
    try:
        wait_for(lambda: any("Initial check" in line for line in peer.lines), 30, "checked seeder", peer)
        get = teem.get(torrent, folder / "out")
        assert get.wait(60) == EXIT_DONE, get.tail() + peer.tail()
        assert_same(folder / "out" / "file.bin", source)
    finally:
        peer.kill()
