"""`teem daemon`: the torrents of a folder, as many as there are."""

import os

import libtorrent as lt
import pytest

import bep3
from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, make_torrent
from proc import wait_for
from teem import EXIT_FAILED, EXIT_TERMINATED, PEER_PORT

FULL = os.environ.get("TEEM_E2E_SIZE") == "full"
MANY = 5_000 if FULL else 300


@pytest.fixture
def daemon(teem, folder):
    """Starts a daemon for the folder `torrents`; it writes to `out`."""
    (folder / "torrents").mkdir()
    data = teem.state("daemon")

    def start(*extra, wait=True):
        ip = teem.address()
        args = ["daemon", "--torrents", folder / "torrents", "--output", folder / "out", "--data", data]
        process = teem(*args, "--listen", f"{ip}:{PEER_PORT}", "--json", *extra)
        process.ip = ip
        if wait:
            process.ready(120)
        return process

    return start


def made(folder, tracker, name, size, seed):
    """A file, and its torrent beside it."""
    source = random_file(folder / "source" / name, size, seed=seed)
    torrent = folder / "made" / f"{name}.torrent"
    torrent.parent.mkdir(exist_ok=True)
    make_torrent(source, torrent, "hybrid", 64 * 1024, [tracker.http])
    return source, torrent


def info_hash(torrent):
    """The v1 info hash of a torrent file."""
    return lt.torrent_info(str(torrent)).info_hashes().v1.to_bytes()


def seeders(tracker, *torrents):
    """How many seeders the tracker knows of each torrent."""
    hashes = [info_hash(torrent) for torrent in torrents]
    found = {}
    for at in range(0, len(hashes), 50):
        found.update(bep3.scraped(tracker.host, *hashes[at:at + 50]))
    return [found.get(each, {}).get(b"complete", 0) for each in hashes]


def test_torrents_come_and_go_with_their_files(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    one, first = made(folder, tracker, "one.bin", 2 * MIB + 1, 1)
    two, second = made(folder, tracker, "two.bin", MIB, 2)
    three, third = made(folder, tracker, "three.bin", MIB, 3)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(first, one.parent)
    others = [LibtorrentPeer(teem.address()) for _ in range(2)]
    for other, torrent in zip(others, (second, third), strict=True):
        cleanup(other)
        other.seed(torrent, one.parent)
    inbox = folder / "torrents"
    (inbox / "first.torrent").write_bytes(first.read_bytes())
    (inbox / "broken.torrent").write_bytes(b"d4:infoi1ee")
    (inbox / "notes.txt").write_text("no torrent")
    process = daemon()
    assert process.ready()["count"] == 1
    assert process.event("refused")["name"] == "broken"
    process.event("done", where=lambda done: done["name"] == "one.bin")
    assert_same(folder / "out" / "one.bin", one)
    # Dropped in while it runs: a torrent file, and a magnet link.
    (inbox / "second.torrent").write_bytes(second.read_bytes())
    link = lt.make_magnet_uri(lt.torrent_info(str(third)))
    (inbox / "third.magnet").write_text(f"{link}&tr={tracker.http}\n")
    for name, source in (("two.bin", two), ("three.bin", three)):
        process.event("done", where=lambda done, name=name: done["name"] == name)
        assert_same(folder / "out" / name, source)
    # It seeds them all: the tracker counts it beside the others.
    wait_for(lambda: seeders(tracker, first, second, third) == [2, 2, 2], 20, "two seeders of each", process)
    # Taken out: it ends, and its content stays.
    (inbox / "first.torrent").unlink()
    process.event("removed", where=lambda told: told["name"] == "first")
    wait_for(lambda: seeders(tracker, first) == [1], 20, "one seeder of one.bin", process)
    assert_same(folder / "out" / "one.bin", one)
    # Under another name it is the same torrent; it goes on, in place or once it has ended.
    (inbox / "second.torrent").rename(inbox / "renamed.torrent")
    process.event("added", where=lambda told: told["name"] == "renamed")
    wait_for(lambda: seeders(tracker, second) == [2], 20, "two seeders of two.bin", process)
    # Mended: it is taken after all.
    (inbox / "broken.torrent").write_bytes(first.read_bytes())
    process.event("added", where=lambda told: told["name"] == "broken")
    wait_for(lambda: seeders(tracker, first) == [2], 20, "two seeders of one.bin", process)
    assert process.stop(20) == EXIT_TERMINATED
    assert "Error" not in process.stderr() and "panicked" not in process.stderr()


def test_seed_limits_end_each_torrent_by_itself(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", 300_000, 1)
    _, other = made(folder, tracker, "two.bin", 300_000, 2)
    (folder / "out").symlink_to(folder / "source")
    for path in (torrent, other):
        (folder / "torrents" / path.name).write_bytes(path.read_bytes())
    process = daemon("--seed-ratio", "1")
    wait_for(lambda: seeders(tracker, torrent, other) == [1, 1], 20, "a seeder of each", process)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(torrent, folder / "leech").wait_done(60)
    assert_same(folder / "leech" / "one.bin", source)
    process.event("seeded", where=lambda told: told["name"] == "one.bin")
    wait_for(lambda: seeders(tracker, torrent, other) == [1, 1], 20, "libtorrent alone to seed one.bin", process)


def test_folder_that_is_not_there_is_an_error_and_one_that_goes_away_is_not(teem, folder, daemon):
    tracker = teem.tracker()
    _, torrent = made(folder, tracker, "one.bin", 1000, 1)
    (folder / "out").symlink_to(folder / "source")
    inbox, away = folder / "torrents", folder / "away"
    inbox.rename(away)
    process = daemon(wait=False)
    assert process.wait(20) == EXIT_FAILED
    assert "torrents" in process.stderr()
    away.rename(inbox)
    (inbox / "one.torrent").write_bytes(torrent.read_bytes())
    process = daemon()
    wait_for(lambda: seeders(tracker, torrent) == [1], 20, "a seeder", process)
    inbox.rename(away)
    wait_for(lambda: "cannot look into" in process.stderr(), 20, "a warning", process)
    assert seeders(tracker, torrent) == [1]
    assert process.latest("removed") is None
    away.rename(inbox)
    (inbox / "one.torrent").unlink()
    process.event("removed")


def test_many_torrents_are_all_announced_and_served(teem, folder, cleanup, daemon):
    """How fast they start and what they cost is measured by the benchmark."""
    tracker = teem.tracker()
    (folder / "out").symlink_to(folder / "source")
    torrents = [made(folder, tracker, f"{number:05}.bin", 200_000 + number, number)[1] for number in range(MANY)]
    for torrent in torrents:
        (folder / "torrents" / torrent.name).write_bytes(torrent.read_bytes())
    process = daemon()
    assert process.ready()["count"] == MANY
    wait_for(lambda: seeders(tracker, *torrents) == [1] * MANY, 120, "a seeder of each", process)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(torrents[MANY // 2], folder / "leech").wait_done(60)
    name = f"{MANY // 2:05}.bin"
    assert_same(folder / "leech" / name, folder / "source" / name)
    process.kill()
    # Killed, and started anew: what was there is known, and not read again.
    again = daemon()
    assert again.ready()["count"] == MANY
    assert again.io()["rchar"] < MANY * 200_000 / 4
