"""Torrents of very many files: they are made, shared, fetched, and gone on with after a kill like any other."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import libtorrent as lt
import pytest

from content import assert_same, sized
from peers import LibtorrentPeer
from proc import wait_for
from teem import EXIT_DONE

MANY = sized(100_000, 20_000)
FEW = sized(20_000, 2_000)
A_FOLDER = 1_000


@pytest.fixture
def folder(tmp_path):
    """In memory where there is such a folder: disks take long to make and remove so many files."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="teem-many-", dir=memory)) if memory.is_dir() else tmp_path
    yield path
    shutil.rmtree(path)


def tree(root, count, size):
    """Makes `count` files of about `size` bytes, a thousand a folder."""
    rng = random.Random(count)
    for number in range(count):
        folder = root / f"{number // A_FOLDER:03}"
        if number % A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.bin").write_bytes(rng.randbytes(size + number % 97))
    return root


def inodes(root):
    """The files below a folder that have their own names, with their inodes."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".bin"):
                path = os.path.join(folder, name)
                found[path] = os.stat(path).st_ino
    return found


def test_very_many_files_are_shared_fetched_and_gone_on_with_after_a_kill(teem, folder):
    # A hybrid pads each file to a piece: of 20,000 that is all that a debug build would be busy with.
    format, rate = sized(("hybrid", "100M"), ("v2", "1500K"))
    source = tree(folder / "many", MANY, 300)
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--format", format])
    ip, data, out = teem.address(), teem.state("leecher"), folder / "out"
    # Slow enough to be killed in the middle.
    get = teem.get("many", out, tracker, ip=ip, data=data, extra=["--max-down", rate, "--limit-lan"])
    wait_for(lambda: inodes(out), 120, "files with their own names", get)
    get.kill()
    kept = inodes(out)
    assert len(kept) < MANY, "it was killed too late"
    again = teem.get("many", out, tracker, ip=ip, data=data)
    assert again.wait(240) == EXIT_DONE, again.tail()
    assert_same(out / "many", source)
    now = inodes(out)
    assert all(now[path] == inode for path, inode in kept.items()), "files were made anew"


def test_of_very_many_files_some_are_fetched_by_an_old_clients_torrent(teem, folder, cleanup):
    source = tree(folder / "many", MANY, 300)
    torrent = folder / "many.torrent"
    made = teem.run("torrent", "create", source, "--format", "v1", "--output", torrent, timeout=120)
    assert made.returncode == EXIT_DONE, made.tail()
    assert lt.torrent_info(str(torrent)).num_files() == MANY
    seeder = LibtorrentPeer(teem.address())
    cleanup(seeder)
    tracker = teem.tracker()
    seeder.seed(torrent, folder, [tracker.http])
    get = teem.get(torrent, folder / "out", tracker, extra=["--only", "00[0-4]/*.bin"])
    assert get.wait(120) == EXIT_DONE, get.tail()
    found = inodes(folder / "out")
    assert len(found) == min(MANY, 5_000)
    for path in list(found)[::97]:
        assert_same(path, source / os.path.relpath(path, folder / "out" / "many"))


@pytest.mark.parametrize("format", sized(["v2", "hybrid"], ["hybrid"]))
def test_a_magnet_link_fetches_the_piece_layers_of_very_many_files(teem, folder, format):
    """Each file is longer than a piece, so each has a layer that peers are asked for by itself."""
    source = tree(folder / "layers", FEW, 17_000)
    tracker = teem.tracker()
    share = teem.share(source, tracker, extra=["--format", format, "--piece-length", "16K"])
    link = share.ready()["magnet"]
    get = teem.get(link, folder / "out", tracker)
    assert get.wait(240) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "layers", source)
