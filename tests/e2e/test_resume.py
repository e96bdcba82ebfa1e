"""What is there already is used, and never written over."""

import os

import pytest

from content import MIB, assert_same, random_file, sha256, tree
from teem import EXIT_DONE, EXIT_FAILED

SIZE = 24 * MIB


@pytest.fixture
def shared(teem, folder):
    """A tracker, a source and its seeder."""
    source = random_file(folder / "source" / "file.bin", SIZE)
    tracker = teem.tracker()
    return source, tracker, teem.share(source, tracker)


@pytest.fixture
def target(folder):
    """Where the file goes, in a folder that is there."""
    path = folder / "out" / "file.bin"
    path.parent.mkdir()
    return path


def served(seeder, before):
    """Bytes that a seeder has read since."""
    return seeder.io()["rchar"] - before


def test_a_complete_file_is_adopted_without_a_transfer(teem, target, shared):
    source, tracker, seeder = shared
    target.write_bytes(source.read_bytes())
    inode = target.stat().st_ino
    before = seeder.io()["rchar"]
    get = teem.get("file.bin", target.parent, tracker)
    assert get.wait(30) == EXIT_DONE, get.tail()
    assert served(seeder, before) < MIB
    assert target.stat().st_ino == inode


def test_a_complete_file_needs_no_seeder(teem, target, shared):
    source, tracker, seeder = shared
    seeder.stop()
    target.write_bytes(source.read_bytes())
    get = teem.get("file.bin", target.parent, tracker)
    assert get.wait(30) == EXIT_DONE, get.tail()


def test_an_older_version_of_the_file_is_a_conflict_and_stays(teem, target, shared):
    source, tracker, _ = shared
    target.write_bytes(b"something that the person wrote")
    get = teem.get("file.bin", target.parent, tracker)
    assert get.wait(30) == EXIT_FAILED, get.tail()
    assert target.read_bytes() == b"something that the person wrote"
    assert "file.bin" in get.stderr() and "hint:" in get.stderr(), get.stderr()


def test_a_truncated_file_is_not_written_over(teem, target, shared):
    source, tracker, seeder = shared
    half = source.read_bytes()[: SIZE // 2]
    target.write_bytes(half)
    before = seeder.io()["rchar"]
    get = teem.get("file.bin", target.parent, tracker)
    assert get.wait(30) == EXIT_FAILED, get.tail()
    assert target.read_bytes() == half, "the person's file was changed"
    # With the file away, the good half is not fetched a second time.
    target.unlink()
    assert served(seeder, before) <= SIZE
    get = teem.get("file.bin", target.parent, tracker)
    assert get.wait(30) == EXIT_DONE, get.tail()
    assert_same(target, source)


def test_files_of_a_tree_that_are_there_are_adopted(teem, folder):
    source = tree(folder / "source" / "tree", 60, 8 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    out = folder / "out" / "tree"
    out.mkdir(parents=True)
    (out / "large.bin").write_bytes((source / "large.bin").read_bytes())
    before = seeder.io()["rchar"]
    get = teem.get("tree", folder / "out", tracker)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert served(seeder, before) < 6 * MIB, "the large file was fetched though it was there"
    assert_same(out, source)


def test_a_get_that_is_done_costs_nothing_the_second_time(teem, folder, shared):
    source, tracker, seeder = shared
    data = teem.state("leecher")
    assert teem.get("file.bin", folder / "out", tracker, data=data).wait(60) == EXIT_DONE
    before = seeder.io()["rchar"]
    again = teem.get("file.bin", folder / "out", tracker, data=data)
    assert again.wait(30) == EXIT_DONE, again.tail()
    assert served(seeder, before) < MIB


def test_a_file_changed_after_the_end_is_noticed_and_not_written_over(teem, folder, shared):
    source, tracker, _ = shared
    data = teem.state("leecher")
    target = folder / "out" / "file.bin"
    assert teem.get("file.bin", target.parent, tracker, data=data).wait(60) == EXIT_DONE
    with open(target, "r+b") as file:
        file.seek(MIB)
        file.write(b"edited by the person")
    edited = sha256(target)
    again = teem.get("file.bin", target.parent, tracker, data=data)
    assert again.wait(60) == EXIT_FAILED, again.tail()
    assert sha256(target) == edited


def test_a_stranger_behind_the_name_as_a_link_is_not_followed(teem, folder, shared):
    _, tracker, _ = shared
    victim = folder / "victim"
    victim.write_bytes(b"precious")
    out = folder / "out"
    out.mkdir()
    os.symlink(victim, out / "file.bin")
    get = teem.get("file.bin", out, tracker)
    get.wait(30)
    assert victim.read_bytes() == b"precious"


def test_a_file_changed_under_a_seeder_is_not_served(teem, folder, shared):
    source, tracker, seeder = shared
    wanted = sha256(source)
    with open(source, "r+b") as file:
        file.write(b"changed while it is shared" * 1000)
    get = teem.get("file.bin", folder / "out", tracker, extra=["--timeout", "5"])
    status = get.wait(60)
    target = folder / "out" / "file.bin"
    assert status != EXIT_DONE and not target.exists() or sha256(target) == wanted
    assert seeder.running(), seeder.tail()


def test_a_graceful_stop_keeps_all_that_was_fetched(teem, folder):
    source = random_file(folder / "source" / "big.bin", 400 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    data, ip = teem.state("leecher"), teem.address()
    get = teem.get("big.bin", folder / "out", tracker, data=data, ip=ip)
    while get.io()["wchar"] < 150 * MIB:
        assert get.running(), get.tail()
    get.stop()
    before = seeder.io()["rchar"]
    again = teem.get("big.bin", folder / "out", tracker, data=data, ip=ip)
    assert again.wait(60) == EXIT_DONE, again.tail()
    assert served(seeder, before) < 260 * MIB
    assert_same(folder / "out" / "big.bin", source)
