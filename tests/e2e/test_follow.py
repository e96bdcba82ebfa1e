"""A folder that follows a name: each new version is fetched, and of it only what changed."""

import os
import shutil
import signal

import pytest

from content import MIB, assert_same, manifest, random_file, sized
from proc import wait_for
from teem import EXIT_DONE, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, PEER_PORT

INTERVAL = ["--interval", "1"]


def follow(teem, name, output, tracker, data=None, extra=()):
    """Starts `teem follow`."""
    data = data or teem.state(f"follow-{teem.count}")
    args = ["follow", name, "--output", output, "--data", data, "--tracker", tracker.host]
    return teem(*args, "--listen", f"{teem.address()}:{PEER_PORT}", "--json", *INTERVAL, *extra)


def version(process, number, timeout=120):
    """Waits until it has a version, and returns what it says of it."""
    return process.event("version", timeout, where=lambda value: value["version"] == number)


def change(path, at, count):
    """Overwrites `count` bytes of a file."""
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(count)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in old))


def share_next(teem, source, tracker, name, data, extra=()):
    """Shares what is there now as the next version of a name."""
    return teem.share(source, tracker, name=name, data=data, extra=extra)


def end(process):
    """Ends a process in good order."""
    process.signal(signal.SIGINT)
    process.wait(30)


def test_of_a_folder_with_one_per_cent_changed_at_most_three_per_cent_travel(teem, folder):
    """Changed bytes of a large file, a new file, a file that is gone, and one that moved, which travels not
    at all."""
    size = sized(1024 * MIB, 32 * MIB)
    source = folder / "source" / "data"
    random_file(source / "large.bin", size // 2, seed=1)
    for number in range(8):
        random_file(source / "some" / f"{number}.bin", size // 16, seed=10 + number)
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "empty").write_bytes(b"")
    (source / "link").symlink_to("large.bin")
    tracker = teem.tracker()
    share = teem.share(source, tracker, extra=["--watch", "--piece-length", sized("512K", "64K")])
    process = follow(teem, "data", folder / "out", tracker)
    first = version(process, 1, 300)
    assert first["fetched"] >= first["bytes"] and first["reused"] == 0, first
    assert_same(folder / "out" / "data", source)

    change(source / "large.bin", size // 4 + 5, size // 200)
    random_file(source / "new.bin", size // 200, seed=99)
    os.rename(source / "some" / "3.bin", source / "moved.bin")
    os.remove(source / "some" / "7.bin")
    (source / "run.sh").chmod(0o755)
    second = version(process, 2, 300)
    assert share.event("version")["version"] == 2
    assert_same(folder / "out" / "data", source)
    assert second["fetched"] <= 0.03 * second["bytes"], second
    assert second["reused"] >= 0.97 * second["bytes"], second
    hidden = [name for name in os.listdir(folder / "out") if name != "data"]
    assert not hidden, f"left behind: {hidden}"

    # What follows serves, too: the seeder is not needed any more.
    share.kill()
    other = teem.get("data", folder / "other", tracker)
    assert other.wait(120) == EXIT_DONE, other.tail()
    assert_same(folder / "other" / "data", source)


@pytest.mark.parametrize("format", ["hybrid", "v1"])
def test_a_file_is_followed_too_and_again_after_the_end(teem, folder, format):
    source = random_file(folder / "source" / "image.bin", 4 * MIB + 77)
    tracker, keys, state = teem.tracker(), teem.state("keys"), teem.state("follower")
    extra = ["--format", format, "--piece-length", "64K"]
    share = share_next(teem, source, tracker, "image", keys, extra)
    process = follow(teem, "image", folder / "out", tracker, state, ["--exit"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    end(share)
    change(source, 2 * MIB, 10)
    share = share_next(teem, source, tracker, "image", keys, extra)
    process = follow(teem, "image", folder / "out", tracker, state, ["--once"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    second = version(process, 2)
    assert second["fetched"] <= 2 * 64 * 1024, second
    assert_same(folder / "out" / "image", source)
    # Nothing has changed: nothing is fetched, nothing written.
    before = os.stat(folder / "out" / "image")
    process = follow(teem, "image", folder / "out", tracker, state, ["--exit"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert version(process, 2)["fetched"] == 0
    after = os.stat(folder / "out" / "image")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_a_person_changed_is_never_replaced_and_what_they_added_stays(teem, folder):
    source = folder / "source" / "notes"
    for name in ("a", "b", "sub/c"):
        random_file(source / name, 50_000, seed=len(name))
    tracker, keys, state = teem.tracker(), teem.state("keys"), teem.state("follower")
    share = share_next(teem, source, tracker, "notes", keys)
    process = follow(teem, "notes", folder / "out", tracker, state)
    version(process, 1)
    mine = folder / "out" / "notes" / "sub" / "mine.txt"
    mine.write_text("my own")
    end(share)
    change(source / "a", 0, 10)
    share = share_next(teem, source, tracker, "notes", keys)
    version(process, 2)
    assert mine.read_text() == "my own"
    os.remove(mine)
    assert_same(folder / "out" / "notes", source)

    changed = folder / "out" / "notes" / "b"
    changed.write_text("changed by me")
    before = manifest(folder / "out" / "notes")
    end(share)
    change(source / "a", 20, 10)
    share = share_next(teem, source, tracker, "notes", keys)
    assert process.wait(60) == EXIT_FAILED, process.tail()
    assert "notes/b" in process.stderr() and "hint" in process.stderr(), process.stderr()
    assert manifest(folder / "out" / "notes") == before

    # Moved away, it is in nobody's way.
    os.rename(changed, folder / "kept")
    process = follow(teem, "notes", folder / "out", tracker, state, ["--exit"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert_same(folder / "out" / "notes", source)

    # A new file where the person has one of their own.
    theirs = folder / "out" / "notes" / "new"
    theirs.write_text("mine")
    end(share)
    random_file(source / "new", 1000)
    share_next(teem, source, tracker, "notes", keys)
    process = follow(teem, "notes", folder / "out", tracker, state, ["--exit"])
    assert process.wait(60) == EXIT_FAILED, process.tail()
    assert theirs.read_text() == "mine" and "new" in process.stderr()


def test_a_follower_that_is_killed_at_any_moment_goes_on(teem, folder):
    source = folder / "source" / "set"
    for number in range(6):
        random_file(source / f"{number}.bin", MIB, seed=number)
    tracker, keys, state = teem.tracker(), teem.state("keys"), teem.state("follower")
    share = share_next(teem, source, tracker, "set", keys)
    process = follow(teem, "set", folder / "out", tracker, state, ["--exit"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    end(share)
    old = manifest(source)
    random_file(source / "0.bin", 2 * MIB, seed=77)
    share_next(teem, source, tracker, "set", keys)
    limited = ["--max-down", "300K", "--limit-lan"]
    process = follow(teem, "set", folder / "out", tracker, state, limited)

    def staged():
        return [name for name in os.listdir(folder / "out") if name.startswith(".teem-")]

    wait_for(staged, 60, "a version that is being made", process)
    process.event("progress", where=lambda value: value["verified"] > 0)
    process.kill()
    assert manifest(folder / "out" / "set") == old, "the folder holds one whole version"
    process = follow(teem, "set", folder / "out", tracker, state, ["--exit"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert_same(folder / "out" / "set", source)
    assert not staged()


def test_a_share_that_is_watched_publishes_when_the_content_is_quiet(teem, folder):
    """Files that come and go in the middle of it are no version, nor is a touch."""
    source = folder / "source" / "box"
    random_file(source / "a", 300_000)
    tracker = teem.tracker()
    share = teem.share(source, tracker, extra=["--watch"])
    os.utime(source / "a")
    shutil.copy(source / "a", source / "b")
    second = share.event("version", 60)
    assert second["version"] == 2 and second["bytes"] == 600_000
    process = follow(teem, "box", folder / "out", tracker, extra=["--exit"])
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert_same(folder / "out" / "box", source)
    shutil.rmtree(source)
    wait_for(lambda: "the version before stays" in share.stderr(), 60, "a warning", share)
    random_file(source / "c", 5000)
    assert share.event("version", 60, where=lambda value: value["version"] == 3)["bytes"] == 5000


def test_follow_refuses_what_it_cannot_follow(teem, folder):
    tracker = teem.tracker()
    process = follow(teem, "name@2", folder / "out", tracker)
    assert process.wait(30) == EXIT_USAGE, process.tail()
    process = follow(teem, "nothing", folder / "out", tracker)
    assert process.wait(30) == EXIT_NOT_FOUND, process.tail()
