"""Seeders that serve wrong bytes: found, named in the log, banned; honest ones are not."""

import re
import signal

import pytest

import catalogue
from content import MIB, assert_same, random_file, sized
from proc import wait_for
from scripted import ScriptedSeeder, flip_first_byte, flip_one_block
from teem import EXIT_DONE, FORMATS


@pytest.mark.parametrize("corrupt", [flip_first_byte, flip_one_block], ids=["every block", "one block a piece"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_liar_beside_honest_seeders_is_banned_and_nobody_else(teem, folder, cleanup, format, corrupt):
    size = sized(512 * MIB, 96 * MIB)
    source = random_file(folder / "source" / "file.bin", size)
    tracker = teem.tracker()
    honest = [teem.share(source, tracker, extra=["--format", format]) for _ in range(2)]
    torrent = catalogue.torrent(tracker, "file.bin")
    # Slow enough for honest seeders to send some of the blocks of its pieces.
    liar = ScriptedSeeder(teem.address(), torrent, source.read_bytes(), corrupt, pause=0.005)
    cleanup(liar)
    liar.announce(tracker)

    # Honest seeders would be done before the liar is asked at all: they stand still until it has lied.
    for seeder in honest:
        seeder.signal(signal.SIGSTOP)
    get = teem.get("file.bin", folder / "out", tracker, extra=["-vv"], exit=False)
    wait_for(lambda: liar.corrupted, 20, "lie", get)
    for seeder in honest:
        seeder.signal(signal.SIGCONT)
    get.done(120)
    assert_same(folder / "out" / "file.bin", source)

    log = get.stderr().splitlines()
    bans = [line for line in log if "banned a peer" in line]
    assert {re.search(r"peer=([\d.]+):", line)[1] for line in bans} == {liar.address}, "\n".join(bans)
    if format == "v1":
        # Up to the ban: pieces that were being verified then are found wrong after it.
        bad = sum("a piece is wrong" in line for line in log[: log.index(bans[0])])
        assert 1 <= bad <= 2, f"banned after {bad} bad pieces"
    else:
        wrong = [re.search(r"wrong block piece=(\d+) block=\d+ begin=(\d+) peer=([\d.]+):", line) for line in log]
        named = {(int(found[1]), int(found[2]), found[3]) for found in wrong if found}
        assert named, "the log names no wrong block"
        assert named <= {(piece, begin, liar.address) for piece, begin in liar.corrupted}, named
    wait_for(lambda: liar.open == 0, 10, "end of the liar's connection", get)


def test_a_liar_alone_never_gets_its_bytes_into_the_file(teem, folder, cleanup):
    source = random_file(folder / "source" / "file.bin", 8 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    torrent = catalogue.torrent(tracker, "file.bin")
    seeder.kill()
    liar = ScriptedSeeder(teem.address(), torrent, source.read_bytes(), flip_one_block)
    cleanup(liar)
    liar.announce(tracker)
    get = teem.get("file.bin", folder / "out", tracker, extra=["--timeout", "30"])
    wait_for(lambda: liar.corrupted, 20, "wrong block", get)
    status = get.wait(90)
    assert status != EXIT_DONE, get.tail()
    assert not (folder / "out" / "file.bin").exists()


def test_a_slow_seeder_does_not_hold_up_the_end(teem, folder, cleanup):
    source = random_file(folder / "source" / "file.bin", 64 * MIB)
    tracker = teem.tracker()
    teem.share(source, tracker)
    torrent = catalogue.torrent(tracker, "file.bin")
    slow = ScriptedSeeder(teem.address(), torrent, source.read_bytes(), hold_after=MIB)
    cleanup(slow)
    slow.announce(tracker)
    get = teem.get("file.bin", folder / "out", tracker)
    assert get.wait(40) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
