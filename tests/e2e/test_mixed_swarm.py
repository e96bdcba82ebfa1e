"""A mixed swarm: one seeder, a leecher of each client, and the seeder is gone as soon as one copy is out."""

import pytest

import catalogue
from cells import DAEMONS, remove_pads
from content import MIB, manifest, random_file
from peers import lt
from proc import wait_for
from wire import Wire

SIZES = (3 * MIB + 5, 100_000, 2 * MIB, 1, 5 * MIB + 70_001)
"""Files that end in mid-piece, so that the hybrid has pads."""

SEEDER_UP, LEECHER_UP = 640 * 1024, 400 * 1024
"""Bytes a second: Transmission takes its first piece after 13 s, and until then nobody shall be done."""


@pytest.mark.root
def test_all_finish_though_the_seeder_goes_when_one_copy_is_out(teem, folder, cleanup):
    source = folder / "source" / "tree"
    for number, size in enumerate(SIZES):
        random_file(source / f"file {number}.bin", size, seed=number)
    wanted = manifest(source)
    wire = Wire()
    cleanup(wire)
    where = {"namespace": wire.name}
    tracker = teem.tracker(ip=wire.tracker, **where)
    extra = ["--piece-length", "64K", "--max-up", str(SEEDER_UP), "--limit-lan"]
    seeder = teem.share(source, tracker, ip=wire.address(), extra=extra, **where)
    torrent = folder / "tree.torrent"
    torrent.write_bytes(wire.inside(catalogue.torrent, tracker, "tree"))

    downloads = {}
    for name, start in DAEMONS.items():
        home = folder / name
        home.mkdir()
        daemon = start(wire.address(), home, wire, up=LEECHER_UP)
        cleanup(daemon)
        downloads[name] = daemon.leech(torrent, home / "out")
    limits = ["--max-up", str(LEECHER_UP), "--limit-lan"]
    get = teem.get("tree", folder / "teem", tracker, ip=wire.address(), exit=False, extra=limits, **where)

    pieces = lt.torrent_info(str(torrent)).num_pieces()
    here = wait_for(lambda: one_copy(downloads, pieces), 120, "copy among the leechers", seeder)
    seeder.kill()
    assert sum(count < pieces for count in here.values()) > 1, here
    for name, download in downloads.items():
        try:
            wait_for(download.complete, 120, f"end of {name}, seeder gone at {here} of {pieces}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{download.describe()}") from None
        remove_pads(folder / name / "out" / "tree")
        # What is complete may still be on its way to the files.
        wait_for(lambda: manifest(folder / name / "out" / "tree") == wanted, 10, f"the same content from {name}")
    get.done(60)
    assert manifest(folder / "teem" / "tree") == wanted


def one_copy(downloads, pieces):
    """How many pieces each has, once each has some and all of them have all; Teem's own leecher is not asked."""
    each = {name: download.pieces() for name, download in downloads.items()}
    out = all(each.values()) and len(set().union(*each.values())) == pieces
    return {name: len(some) for name, some in each.items()} if out else None
