"""Seeders that serve wrong bytes: found, named in the log, banned; honest ones are not."""

import re

import pytest

import catalogue
from content import MIB, assert_same, random_file, sized
from proc import wait_for
from scripted import ScriptedSeeder, flip_first_byte, flip_one_block
from teem import EXIT_DONE


@pytest.mark.parametrize("corrupt", [flip_first_byte, flip_one_block], ids=["every block", "one block a piece"])
@pytest.mark.parametrize("format", ["v1", "v2", "hybrid"])
def test_a_liar_beside_honest_seeders_is_banned_and_nobody_else(teem, folder, cleanup, format, corrupt):
    size = sized(512 * MIB, 96 * MIB)
    source = random_file(folder / "source" / "file.bin", size)
    tracker = teem.tracker()
    honest = [teem.share(source, tracker, extra=["--format", format]) for _ in range(2)]
    torrent = catalogue.torrent(tracker, "file.bin")
    liar = ScriptedSeeder(teem.address(), torrent, source.read_bytes(), corrupt)
    cleanup(liar)
    liar.announce(tracker.http)

    get = teem.get("file.bin", folder / "out", tracker, extra=["-vv"], exit=False)
    get.done(120)
    assert_same(folder / "out" / "file.bin", source)

    assert liar.corrupted, "the liar was never asked for a block that it corrupts: the test shows nothing"
    log = get.stderr()
    bans = [line for line in log.splitlines() if re.search(r"\bbann", line)]
    assert any(liar.address in line for line in bans), f"no ban of {liar.address}:\n" + "\n".join(log.splitlines()[-40:])
    for seeder in honest:
        assert not any(f"{seeder.ip}:" in line for line in bans), f"an honest seeder was banned: {bans}"
    if format != "v1":
        named = [line for line in log.splitlines() if liar.address in line and re.search(r"block\D{0,3}\d+", line)]
        assert named, "the log does not name the block:\n" + "\n".join(bans)
    wait_for(lambda: liar.open == 0, 10, "end of the liar's connection", get)


def test_a_liar_alone_never_gets_its_bytes_into_the_file(teem, folder, cleanup):
    source = random_file(folder / "source" / "file.bin", 8 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    torrent = catalogue.torrent(tracker, "file.bin")
    seeder.kill()
    liar = ScriptedSeeder(teem.address(), torrent, source.read_bytes(), flip_one_block)
    cleanup(liar)
    liar.announce(tracker.http)
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
    slow.announce(tracker.http)
    get = teem.get("file.bin", folder / "out", tracker)
    assert get.wait(40) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
