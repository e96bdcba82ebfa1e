"""What people order of a running daemon: hold, resume, recheck, move, rename, queue, remove; and content that
they drop into a folder to share it."""

import json
import os
import signal
import sqlite3
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import libtorrent as lt
import pytest

from content import MIB, assert_same, random_file
from peers import LibtorrentPeer
from proc import wait_for
from teem import EXIT_DONE, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_TERMINATED, EXIT_USAGE, PEER_PORT
from test_daemon import info_hash, made, seeders


@pytest.fixture
def daemon(teem, folder):
    """Starts a daemon with an API; what it is asked goes through the command line."""
    (folder / "torrents").mkdir()
    data = teem.state("daemon")

    def start(*extra, ip=None):
        ip = ip or teem.address()
        args = ["daemon", "--torrents", folder / "torrents", "--output", folder / "out", "--data", data]
        process = teem(*args, "--listen", f"{ip}:{PEER_PORT}", "--api", "127.0.0.1:0", "--json", *extra)
        process.ip = ip
        process.ready(60)
        return process

    def order(*args, status=EXIT_DONE):
        process = teem.run(*args, "--data", data, "--json", timeout=30)
        assert process.returncode == status, process.tail()
        return process

    def transfers():
        listed = order("transfers").objects()
        return {each["name"]: each for each in listed if each["kind"] == "transfer"}

    def state(name):
        return transfers().get(name, {}).get("state")

    start.order, start.transfers, start.state, start.data = order, transfers, state, data
    return start


def drop(folder, *torrents):
    for torrent in torrents:
        (folder / "torrents" / torrent.name).write_bytes(torrent.read_bytes())


def seeding(teem, cleanup, torrent, source):
    """A libtorrent seeder of the torrent."""
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(torrent, source.parent)
    return peer


def test_a_held_torrent_rests_until_it_is_resumed_whatever_happens(teem, folder, daemon):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", MIB, 1)
    (folder / "out").symlink_to(folder / "source")
    drop(folder, torrent)
    process = daemon()
    wait_for(lambda: seeders(tracker, torrent) == [1], 20, "a seeder", process)
    daemon.order("hold", "one.bin")
    wait_for(lambda: seeders(tracker, torrent) == [0], 20, "nobody", process)
    assert daemon.state("one.bin") == "held"
    process.kill()
    process = daemon()
    assert daemon.state("one.bin") == "held"
    assert seeders(tracker, torrent) == [0]
    daemon.order("resume", info_hash(torrent).hex()[:12])
    wait_for(lambda: seeders(tracker, torrent) == [1], 20, "a seeder again", process)
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)
    daemon.order("hold", "nothing", status=EXIT_NOT_FOUND)


def test_content_is_moved_and_renamed_and_served_from_there(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", 3 * MIB + 5, 1)
    seeding(teem, cleanup, torrent, source)
    drop(folder, torrent)
    process = daemon()
    process.done()
    daemon.order("move", "one.bin", folder / "elsewhere")
    assert_same(folder / "elsewhere" / "one.bin", source)
    assert not list((folder / "out").iterdir())
    daemon.order("rename", "one.bin", "other name")
    moved = folder / "elsewhere" / "other name"
    assert_same(moved, source)
    wait_for(lambda: seeders(tracker, torrent) == [2], 20, "both seeders", process)
    # Nothing is replaced, and what cannot be done changes nothing.
    (folder / "full").mkdir()
    (folder / "full" / "other name").write_text("mine")
    daemon.order("move", "one.bin", folder / "full", status=EXIT_FAILED)
    daemon.order("rename", "one.bin", "../up", status=EXIT_USAGE)
    assert_same(moved, source)
    assert (folder / "full" / "other name").read_text() == "mine"
    # Killed and started anew: it is known where it is, and not read again.
    process.kill()
    again = daemon()
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", again)
    assert daemon.transfers()["one.bin"]["path"] == str(moved)
    assert again.io()["rchar"] < 3 * MIB
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(torrent, folder / "leech").wait_done(60)
    assert_same(folder / "leech" / "one.bin", source)


@pytest.mark.root
def test_a_move_to_another_disk_that_is_killed_anywhere_is_ended_by_the_next_run(
    teem, folder, cleanup, daemon, small_disk
):
    tracker = teem.tracker()
    size = 24 * MIB
    source, torrent = made(folder, tracker, "one.bin", size, 1)
    seeding(teem, cleanup, torrent, source)
    drop(folder, torrent)
    process = daemon()
    process.done()
    disks = [small_disk(40), small_disk(40)]
    here = folder / "out" / "one.bin"
    for round, disk in enumerate([*disks, disks[0]]):
        target = disk / "content" / "one.bin"
        moving = teem("move", "one.bin", target.parent, "--data", daemon.data)
        # Killed as soon as something shows up at the other end, each time a little later.
        wait_for(lambda: list(disk.glob("content/*")), 20, "a copy that begins", process)
        before = process.io()["wchar"]
        wait_for(lambda: process.io()["wchar"] - before >= round * size // 3 or target.exists(), 20, "more", process)
        process.kill()
        moving.wait(20)
        process = daemon()
        wait_for(lambda: daemon.state("one.bin") == "seeding", 30, "seeding", process)
        assert_same(target, source)
        assert not here.exists()
        assert not [path for other in disks for path in other.rglob("*") if path.is_file() and path != target]
        here = target


@pytest.mark.root
def test_a_disk_that_stops_in_a_move_holds_up_no_order_and_not_the_end(
    teem, folder, cleanup, daemon, stoppable_disk
):
    tracker = teem.tracker()
    made_of = {f"{number}.bin": made(folder, tracker, f"{number}.bin", 3 * MIB, number) for number in range(5)}
    source, torrent = made_of["0.bin"]
    for _, each in made_of.values():
        seeding(teem, cleanup, each, source)
    names = ["0.bin", "1.bin", "2.bin", "4.bin"]
    drop(folder, *(made_of[name][1] for name in names))
    process = daemon()
    for name in names:
        process.event("done", where=lambda done, name=name: done["name"] == name)
    target = folder / "disk" / "content"
    stop = stoppable_disk(folder / "disk")
    target.mkdir()
    stop(True)
    moving = [teem("move", name, target, "--data", daemon.data) for name in ("0.bin", "1.bin", "4.bin")]
    for name in ("0.bin", "1.bin", "4.bin"):
        wait_for(lambda name=name: daemon.state(name) == "moving", 20, "a move that begins", process)
    # Others take orders, and come; one that is being moved may be taken out, or removed.
    daemon.order("hold", "2.bin")
    daemon.order("resume", "2.bin")
    (folder / "torrents" / "1.bin.torrent").unlink()
    wait_for(lambda: daemon.state("1.bin") is None, 20, "one that is gone", process)
    drop(folder, made_of["3.bin"][1])
    process.event("done", where=lambda done: done["name"] == "3.bin")
    daemon.order("hold", "2.bin")
    moving.append(teem("remove", "4.bin", "--data", daemon.data))
    wait_for(lambda: not (folder / "torrents" / "4.bin.torrent").exists(), 20, "one that is to go", process)
    # It comes back before it has gone: its turn comes when it has.
    drop(folder, made_of["1.bin"][1])
    process.signal(signal.SIGTERM)
    wait_for(lambda: has_ended(process), 20, "the end, but for the thread that waits for the disk")
    wait_for(lambda: seeders(tracker, made_of["3.bin"][1]) == [1], 20, "nobody but libtorrent", process)
    assert process.running(), "the kernel lets nobody go who waits for this disk"
    stop(False)
    assert process.wait(20) == EXIT_TERMINATED
    for each in moving:
        assert each.wait(20) == EXIT_FAILED, each.tail()
    process = daemon()
    for name in ("0.bin", "1.bin", "3.bin"):
        wait_for(lambda name=name: daemon.state(name) == "seeding", 30, "seeding", process)
    assert daemon.state("2.bin") == "held"
    for name in ("0.bin", "1.bin"):
        assert_same(target / name, made_of[name][0])
        assert not (folder / "out" / name).exists()
    assert sorted(path.name for path in target.iterdir()) == ["0.bin", "1.bin"], "no half copy is left"
    assert_same(folder / "out" / "4.bin", made_of["4.bin"][0])
    assert daemon.state("4.bin") is None
    wait_for(lambda: not rows(daemon.data, "removals"), 20, "the end of a removal", process)
    assert not rows(daemon.data, "moves")


def has_ended(process):
    """The program has ended, though threads of it may still be in the kernel."""
    return not process.running() or Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_recheck_finds_what_is_wrong_and_mends_it(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", 2 * MIB, 1)
    seeding(teem, cleanup, torrent, source)
    drop(folder, torrent)
    process = daemon()
    process.done()
    path = folder / "out" / "one.bin"
    daemon.order("hold", "one.bin")
    # Somebody writes into it: their version stays beside the right one.
    bytes_ = bytearray(path.read_bytes())
    bytes_[MIB] ^= 1
    path.write_bytes(bytes_)
    assert daemon.order("recheck", "one.bin").latest("rechecked")["wrong"] == 64 * 1024
    stands = daemon.transfers()["one.bin"]
    assert stands["state"] == "held"
    assert stands["verified"] == 2 * MIB - 64 * 1024
    assert (folder / "out" / "one.bin (changed 1)").read_bytes() == bytes_
    daemon.order("resume", "one.bin")
    wait_for(path.exists, 30, "the right file", process)
    assert_same(path, source)
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)
    inode = path.stat().st_ino
    assert "wrong" not in daemon.order("recheck", "one.bin").latest("rechecked")
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)
    assert path.stat().st_ino == inode, "what is right is left alone"
    assert_same(path, source)


def flipped(path, image=None):
    """Flips a bit of the file's second MiB; in the image of its disk nobody sees it in the file's times."""
    bytes_ = path.read_bytes()
    stat = path.stat()
    if image is None:
        with open(path, "r+b") as file:
            file.seek(MIB)
            file.write(bytes([bytes_[MIB] ^ 1]))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        with open(image, "r+b") as disk:
            at = disk.read().find(bytes_[MIB:MIB + 512])
            assert at > 0
            disk.seek(at)
            disk.write(bytes([bytes_[MIB] ^ 1]))
            disk.flush()
            os.fsync(disk.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    now = path.stat()
    assert (now.st_mtime_ns, now.st_ctime_ns) == (stat.st_mtime_ns, stat.st_ctime_ns)
    assert path.read_bytes()[MIB] == bytes_[MIB] ^ 1, "the page is read from the disk again"


@pytest.mark.parametrize("rots", [pytest.param(True, marks=pytest.mark.root, id="rots"), pytest.param(False, id="edited")])
def test_a_bit_that_flips_is_found_not_served_and_fetched_again(teem, folder, cleanup, daemon, stoppable_disk, rots):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", 2 * MIB, 1)
    seeder = seeding(teem, cleanup, torrent, source)
    if rots:
        stoppable_disk(folder / "out")
    drop(folder, torrent)
    process = daemon()
    process.done()
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)
    path = folder / "out" / "one.bin"
    flipped(path, folder / "disk.img" if rots else None)
    seeder.close()
    told = daemon.order("recheck", "one.bin")
    assert told.latest("rechecked")["wrong"] == 64 * 1024
    assert "fetched again" in told.stderr()
    wait_for(lambda: daemon.state("one.bin") == "downloading", 20, "a piece to be fetched again", process)
    leecher = LibtorrentPeer(teem.address())
    cleanup(leecher)
    leecher.leech(torrent, folder / "leech")
    wait_for(lambda: leecher.handle.status().num_pieces == 31, 30, "all that is right", process)
    assert not leecher.failed_bytes()
    seeding(teem, cleanup, torrent, source)
    leecher.wait_done(30)
    wait_for(lambda: daemon.state("one.bin") == "seeding", 30, "seeding", process)
    assert_same(path, source)
    assert_same(folder / "leech" / "one.bin", source)
    kept = sorted(each.name for each in path.parent.iterdir() if each.is_file())
    assert kept == (["one.bin"] if rots else ["one.bin", "one.bin (changed 1)"])


def test_a_magnet_link_with_half_the_hashes_keeps_what_is_wanted_of_it(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", 2 * MIB, 1)
    seeding(teem, cleanup, torrent, source)
    v2 = lt.torrent_info(str(torrent)).info_hashes().v2
    link = f"magnet:?xt=urn:btmh:1220{v2}&dn=one.bin&tr={tracker.http}"
    (folder / "torrents" / "one.magnet").write_text(link)
    process = daemon()
    process.done()
    daemon.order("move", "one.bin", folder / "elsewhere")
    daemon.order("hold", "one.bin")
    for _ in range(2):
        process.kill()
        process = daemon()
        stands = daemon.transfers()["one.bin"]
        assert (stands["state"], stands["verified"]) == ("held", 2 * MIB)
        assert stands["path"] == str(folder / "elsewhere" / "one.bin")
    daemon.order("resume", "one.bin")
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)
    assert_same(folder / "elsewhere" / "one.bin", source)
    assert not list((folder / "out").iterdir())
    daemon.order("remove", "one.bin", "--with-data")
    assert not list((folder / "elsewhere").iterdir())
    process.kill()
    daemon()
    assert daemon.transfers() == {}


@pytest.mark.root
def test_a_removal_that_is_interrupted_or_refused_ends_another_time(teem, folder, cleanup, daemon, stoppable_disk):
    tracker = teem.tracker()
    names = [f"{number}.bin" for number in range(3)]
    all_made = [made(folder, tracker, name, MIB, number) for number, name in enumerate(names)]
    for _, torrent in all_made:
        seeding(teem, cleanup, torrent, all_made[0][0])
    inbox, out = folder / "torrents", folder / "out"
    drop(folder, *(torrent for _, torrent in all_made))
    stop = stoppable_disk(out)
    process = daemon()
    for name in names:
        process.event("done", where=lambda done, name=name: done["name"] == name)
    # Nobody may rename the torrent file: all stays as it is.
    subprocess.run(["chattr", "+i", inbox / "0.bin.torrent"], check=True)
    try:
        refused = daemon.order("remove", "0.bin", "--with-data", status=EXIT_FAILED)
        assert "cannot be renamed" in refused.stderr()
        assert daemon.state("0.bin") == "seeding"
        process.kill()
        process = daemon()
        wait_for(lambda: daemon.state("0.bin") == "seeding", 20, "seeding", process)
        assert (out / "0.bin").exists()
    finally:
        subprocess.run(["chattr", "-i", inbox / "0.bin.torrent"], check=True)
    # Nobody may delete the content: it is shown, with the reason, until it can be.
    subprocess.run(["chattr", "+i", out], check=True)
    try:
        refused = daemon.order("remove", "0.bin", "--with-data", status=EXIT_FAILED)
        assert str(out / "0.bin") in refused.stderr()
        wait_for(lambda: daemon.state("0.bin") == "failed", 20, "a failure that is shown", process)
        assert "has not ended" in daemon.order("resume", "0.bin", status=EXIT_FAILED).stderr()
    finally:
        subprocess.run(["chattr", "-i", out], check=True)
    daemon.order("remove", "0.bin", "--with-data")
    assert daemon.state("0.bin") is None and not (out / "0.bin").exists()
    # Killed in the middle of it: what somebody changed meanwhile stays, the rest goes.
    stop(True)
    removing = [teem("remove", name, "--with-data", "--data", daemon.data) for name in names[1:]]
    wait_for(lambda: not list(inbox.glob("*.torrent")), 20, "torrent files that are out of the folder", process)
    for name in names[1:]:
        wait_for(lambda name=name: daemon.state(name) == "moving", 20, "removals that wait for the disk", process)
    process.signal(signal.SIGKILL)
    wait_for(lambda: has_ended(process), 20, "the end, but for the threads that wait for the disk")
    stop(False)
    assert process.wait(20) < 0
    for each in removing:
        assert each.wait(20) == EXIT_FAILED, each.tail()
    (out / "1.bin").write_bytes(b"mine")
    process = daemon()
    wait_for(lambda: not (out / "2.bin").exists(), 20, "the content to go", process)
    wait_for(lambda: not rows(daemon.data, "removals"), 20, "the end of it in the record", process)
    assert (out / "1.bin").read_bytes() == b"mine"
    assert daemon.transfers() == {}
    # It may come back as a new one.
    drop(folder, all_made[2][1])
    process.event("done", where=lambda done: done["name"] == "2.bin")
    assert_same(out / "2.bin", all_made[2][0])


def rows(data, table):
    """How many rows the table of the record has."""
    with sqlite3.connect(f"file:{data}/node.db?mode=ro", uri=True) as record:
        return record.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_removed_torrent_takes_along_what_was_fetched_and_nothing_else(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    one, first = made(folder, tracker, "one.bin", MIB, 1)
    two, second = made(folder, tracker, "two.bin", MIB, 2)
    three, third = made(folder, tracker, "three.bin", MIB, 3)
    for torrent in (first, second):
        seeding(teem, cleanup, torrent, one)
    drop(folder, first, second, third)
    (folder / "out").mkdir()
    (folder / "out" / "three.bin").write_bytes(three.read_bytes())
    process = daemon()
    for name in ("one.bin", "two.bin"):
        process.event("done", where=lambda done, name=name: done["name"] == name)
    wait_for(lambda: daemon.state("three.bin") == "seeding", 20, "three.bin", process)
    daemon.order("remove", "one.bin", "--with-data")
    daemon.order("remove", "two.bin")
    kept = daemon.order("remove", "three.bin", "--with-data")
    assert kept.latest("removed")["left"] == [str(folder / "out" / "three.bin")]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["three.bin", "two.bin"]
    assert sorted(path.name for path in (folder / "torrents").iterdir()) == [
        f"{name}.bin.torrent.removed" for name in ("one", "three", "two")
    ]
    assert daemon.transfers() == {}
    process.kill()
    daemon()
    assert daemon.transfers() == {}


def test_torrents_take_turns_and_know_their_place(teem, folder, daemon):
    tracker = teem.tracker()
    torrents = [made(folder, tracker, f"{number}.bin", MIB, number)[1] for number in range(4)]
    drop(folder, *torrents)
    process = daemon("--max-downloads", "2")

    def states():
        listed = daemon.transfers()
        return [(each["state"], each.get("place")) for _, each in sorted(listed.items())]

    expected = [("downloading", None), ("downloading", None), ("queued", 1), ("queued", 2)]
    wait_for(lambda: states() == expected, 20, "two that run", process)
    wait_for(lambda: leechers(tracker, torrents) == [1, 1, 0, 0], 20, "two that are announced", process)
    daemon.order("queue", "3.bin", "1")
    expected = [("downloading", None), ("queued", 1), ("queued", 2), ("downloading", None)]
    wait_for(lambda: states() == expected, 20, "the last one first", process)
    daemon.order("resume", "2.bin", "--force")
    expected = [("downloading", None), ("queued", 1), ("downloading", None), ("downloading", None)]
    wait_for(lambda: states() == expected, 20, "one more", process)
    process.kill()
    process = daemon("--max-downloads", "2")
    wait_for(lambda: states() == expected, 20, "the same after a kill", process)


def leechers(tracker, torrents):
    """How many the tracker knows that fetch each torrent."""
    import bep3
    found = bep3.scraped(tracker.host, *[info_hash(torrent) for torrent in torrents])
    return [found.get(info_hash(each), {}).get(b"incomplete", 0) for each in torrents]


def test_seed_limits_outlive_a_kill(teem, folder, cleanup, daemon):
    tracker = teem.tracker()
    source, torrent = made(folder, tracker, "one.bin", 600_000, 1)
    (folder / "out").symlink_to(folder / "source")
    drop(folder, torrent)
    process = daemon("--seed-ratio", "2")
    for number in range(2):
        wait_for(lambda: seeders(tracker, torrent)[0] > 0, 20, "a seeder", process)
        wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)
        peer = LibtorrentPeer(teem.address())
        peer.leech(torrent, folder / f"leech{number}").wait_done(60)
        assert_same(folder / f"leech{number}" / "one.bin", source)
        peer.close()
        if number == 0:
            assert process.latest("seeded") is None
            wait_for(lambda: daemon.transfers()["one.bin"]["uploaded"] >= 600_000, 20, "the sum", process)
            wait_for(lambda: recorded(daemon.data) >= 600_000, 30, "the sum in the record", process)
            process.kill()
            process = daemon("--seed-ratio", "2", ip=process.ip)
    process.event("seeded")
    wait_for(lambda: daemon.state("one.bin") == "seeded", 20, "rest", process)
    process.kill()
    process = daemon("--seed-ratio", "2")
    assert daemon.state("one.bin") == "seeded"
    process.kill()
    # Other limits, another answer.
    process = daemon("--seed-ratio", "9")
    wait_for(lambda: daemon.state("one.bin") == "seeding", 20, "seeding", process)


def recorded(data):
    """Bytes sent of all torrents, as the record has them."""
    with sqlite3.connect(f"file:{data}/node.db?mode=ro", uri=True) as record:
        return record.execute("SELECT coalesce(sum(uploaded), 0) FROM totals").fetchone()[0]


def test_what_is_dropped_into_a_folder_is_shared_under_its_name(teem, folder):
    tracker = teem.tracker()
    files = folder / "files"
    random_file(files / "one.bin", MIB, seed=1)
    ip = teem.address()
    process = teem(
        "daemon", "--files", files, "--data", teem.state("daemon"), "--tracker", tracker.host,
        "--listen", f"{ip}:{PEER_PORT}", "--api", "off", "--json",
    )
    assert process.ready(60)["count"] == 1

    def got(name, seed, output):
        get = teem.get(name, folder / output, tracker)
        assert get.wait(60) == EXIT_DONE, get.tail()
        return folder / output

    assert_same(got("one.bin", 1, "a") / "one.bin", files / "one.bin")
    # A folder, while it runs; a draft that is hidden is nobody's business.
    random_file(files / ".draft", 1000, seed=9)
    random_file(files / "tree" / "x" / "y.bin", 300_000, seed=2)
    process.event("shared", where=lambda told: told["name"] == "tree")
    wait_for(lambda: "published tree@1" in process.stderr(), 20, "a name", process)
    assert_same(got("tree", 2, "b") / "tree", files / "tree")
    # It changes: the name has another version.
    random_file(files / "one.bin", MIB + 7, seed=3)
    wait_for(lambda: "published one.bin@2" in process.stderr(), 20, "a version", process)
    wait_for(lambda: len([told for told in process.objects() if told.get("kind") == "shared"]) == 3, 20, "it", process)
    assert_same(got("one.bin", 3, "c") / "one.bin", files / "one.bin")
    # It goes.
    os.unlink(files / "one.bin")
    process.event("removed", where=lambda told: told["file"].endswith("one.bin") and told["name"] == "one.bin")


def test_orders_need_the_token(teem, folder, daemon):
    process = daemon()
    url = f"http://{process.ready()['api']}/api/v1/transfers"
    door = daemon.data / "api.json"
    assert door.stat().st_mode & 0o777 == 0o600
    token = json.loads(door.read_text())["token"]

    def status(**headers):
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 401
    assert status(Authorization="Bearer " + "x" * 64) == 401
    assert status(Authorization=f"Bearer {token}") == 200
    assert status(Authorization=f"Bearer {token}", Origin="http://evil.example") == 403
    assert status(Authorization=f"Bearer {token}", Host="evil.example") == 403
