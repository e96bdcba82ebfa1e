"""The disk fills in mid-download: a plain message, exit status 7, nothing lost, and it goes on later."""

import hashlib

import pytest

import catalogue
from content import MIB, assert_same, random_file
from proc import wait_for
from scripted import ScriptedSeeder
from teem import EXIT_DISK, EXIT_DONE

SIZE = 64 * MIB
HOLD_AFTER = 24 * MIB


def fill(folder, leave):
    """Fills a file system but for `leave` bytes; returns the file that does it."""
    ballast = folder / "ballast"
    with open(ballast, "wb") as file:
        try:
            while True:
                file.write(bytes(64 * 1024))
                file.flush()
        except OSError:
            pass
    size = ballast.stat().st_size
    with open(ballast, "r+b") as file:
        file.truncate(max(0, size - leave))
    return ballast


@pytest.fixture
def held(teem, folder, cleanup):
    """A tracker, a source, and a seeder that holds back the rest of it after a while."""
    source = random_file(folder / "source" / "file.bin", SIZE)
    tracker = teem.tracker()
    teem.share(source, tracker).kill()
    seeder = ScriptedSeeder(
        teem.address(), catalogue.torrent(tracker, "file.bin"), source.read_bytes(), hold_after=HOLD_AFTER
    )
    cleanup(seeder)
    seeder.announce(tracker)
    return source, tracker, seeder


@pytest.mark.root
def test_under_exit_it_ends_with_7_and_completes_when_started_again(teem, held, small_disk):
    source, tracker, seeder = held
    disk = small_disk(100)
    other = random_file(disk / "other.bin", MIB)
    other_hash = hashlib.sha256(other.read_bytes()).digest()
    data = teem.state("leecher")
    get = teem.get("file.bin", disk / "out", tracker, data=data)
    wait_for(seeder.held.is_set, 30, "held transfer", get)
    ballast = fill(disk, leave=4 * MIB)
    seeder.release()
    assert get.wait(60) == EXIT_DISK, get.tail()
    message = get.stderr()
    assert "no room left" in message and "hint:" in message, message
    assert "error:" in message and "panicked" not in message, message
    ballast.unlink()

    seeder.hold_after = None
    served = seeder.served_bytes
    again = teem.get("file.bin", disk / "out", tracker, data=data)
    assert again.wait(90) == EXIT_DONE, again.tail()
    assert_same(disk / "out" / "file.bin", source)
    assert hashlib.sha256(other.read_bytes()).digest() == other_hash
    assert seeder.served_bytes - served < SIZE, "all of it was fetched again"


@pytest.mark.root
def test_without_exit_it_waits_and_goes_on_by_itself(teem, held, small_disk):
    source, tracker, seeder = held
    disk = small_disk(100)
    get = teem.get("file.bin", disk / "out", tracker, exit=False)
    wait_for(seeder.held.is_set, 30, "held transfer", get)
    ballast = fill(disk, leave=4 * MIB)
    seeder.hold_after = None
    seeder.release()
    wait_for(lambda: "paused" in get.stderr(), 60, "word of the pause", get)
    ballast.unlink()
    get.done(120)
    assert_same(disk / "out" / "file.bin", source)


@pytest.mark.root
def test_without_room_for_it_a_get_does_not_even_start(teem, held, small_disk):
    _, tracker, seeder = held
    disk = small_disk(40)
    get = teem.get("file.bin", disk / "out", tracker)
    assert get.wait(30) == EXIT_DISK, get.tail()
    assert "64" in get.stderr() and "MiB" in get.stderr(), f"does not say how much it needs: {get.stderr()}"
    assert seeder.served_bytes == 0


@pytest.mark.root
def test_a_full_disk_for_state_is_a_plain_error(teem, held, small_disk, folder):
    _, tracker, _ = held
    disk = small_disk(1)
    fill(disk, leave=0)
    get = teem.get("file.bin", folder / "out", tracker, data=disk / "state")
    assert get.wait(30) == EXIT_DISK, get.tail()
    assert "panicked" not in get.stderr()
