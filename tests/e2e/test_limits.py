"""Little memory, few descriptors, IPv6 alone: it still works."""

import time

from content import MIB, assert_same, random_file, sized, tree
from teem import EXIT_DONE

LEECHER_MIB_MAX = 150
SEEDER_MIB_MAX = 50
BYTES_A_PIECE = 64
PIECE_LENGTH = 512 * 1024


def test_memory_is_bounded_whatever_the_size(teem, folder):
    size = sized(2048 * MIB, 512 * MIB)
    source = random_file(folder / "source" / "big.bin", size)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    get = teem.get("big.bin", folder / "out", tracker, exit=False)
    get.done(120)
    pieces = BYTES_A_PIECE * (size // PIECE_LENGTH) / MIB
    assert get.memory_peak_kib() / 1024 < LEECHER_MIB_MAX + pieces
    assert seeder.memory_peak_kib() / 1024 < SEEDER_MIB_MAX + pieces


def test_few_descriptors_are_enough_for_many_files(teem, folder):
    source = tree(folder / "source" / "tree", sized(5000, 600), 4 * MIB)
    tracker = teem.tracker()
    few = ["prlimit", "--nofile=64:64"]
    teem.share(source, tracker, prefix=few)
    get = teem.get("tree", folder / "out", tracker, prefix=few)
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "tree", source)


def test_ipv6_alone_is_enough(teem, folder):
    source = random_file(folder / "source" / "file.bin", 3 * MIB)
    tracker = teem("tracker", "--listen", "[::1]:0", "--data", teem.state("tracker"), "--json")
    address = tracker.listener("http")
    assert address.startswith("[::1]:")
    share = teem("share", source, "--listen", "[::1]:0", "--tracker", address, "--data", teem.state("share"), "--json")
    share.ready()
    get = teem(
        "get", "file.bin", "-o", folder / "out", "--listen", "[::1]:0", "--tracker", address, "--data",
        teem.state("get"), "-e",
    )  # fmt: skip
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)


def test_a_small_file_takes_no_time(teem, folder):
    source = random_file(folder / "source" / "file.bin", MIB)
    tracker = teem.tracker()
    teem.share(source, tracker)
    took = []
    for number in range(5):
        started = time.monotonic()
        assert teem.get("file.bin", folder / f"out{number}", tracker).wait(30) == EXIT_DONE
        took.append(time.monotonic() - started)
    # Generous for a busy machine; any wait for a tick or an interval shows.
    assert sorted(took)[2] < 0.5, took
