"""kill -9 in mid-transfer: nothing that was verified is fetched again, and nothing is read in full."""

import os
import time

import pytest

from content import FULL, MIB, assert_same, random_file, sized
from teem import EXIT_DONE, FORMATS

PIECE_BUDGET = 96 * MIB
CHECKPOINT = 64 * MIB
LOOPS = sized(10, 2)


def wait_written(process, bytes_written, timeout=120):
    """Waits until a process has written so much; a tight loop, since a transfer takes a second or less."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not process.running():
            raise AssertionError(f"ended with {process.returncode} before the kill\n{process.tail()}")
        written = process.io()["wchar"]
        if written >= bytes_written:
            return written
        time.sleep(0.001)
    raise AssertionError(f"{bytes_written} bytes were never written\n{process.tail()}")


@pytest.mark.parametrize("format", FORMATS if FULL else ["hybrid"])
def test_a_killed_leecher_goes_on_from_its_record(teem, folder, format):
    size = sized(2048 * MIB, 640 * MIB)
    source = random_file(folder / "source" / "big.bin", size)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker, extra=["--format", format])
    for loop in range(LOOPS):
        output, data = folder / f"out{loop}", teem.state(f"leecher{loop}")
        ip = teem.address()
        reached = 0
        for share in (0.3, 0.7):
            get = teem.get("big.bin", output, tracker, ip=ip, data=data)
            target = int(size * share) - reached
            served_before = seeder.io()["rchar"]
            reached += min(wait_written(get, target), size - reached)
            get.kill()
            served = seeder.io()["rchar"] - served_before
        again = teem.get("big.bin", output, tracker, ip=ip, data=data)
        served_before = seeder.io()["rchar"]
        peak = 0
        deadline = time.monotonic() + 120
        while again.running() and time.monotonic() < deadline:
            try:
                peak = max(peak, again.io()["rchar"])
            except OSError:
                break
            time.sleep(0.01)
        assert again.wait(1) == EXIT_DONE, again.tail()
        served = seeder.io()["rchar"] - served_before
        missing = size - int(size * 0.7)
        assert served <= missing + PIECE_BUDGET + CHECKPOINT, f"{served >> 20} MiB again for {missing >> 20} missing"
        # Whatever it reads from disk and, at worst, from sockets: much less than all of the content.
        assert peak - served <= PIECE_BUDGET + CHECKPOINT, f"read {peak >> 20} MiB after the restart"
        assert_same(output / "big.bin", source)
        os.unlink(output / "big.bin")


def test_seeders_killed_in_mid_transfer_do_not_stop_it(teem, folder):
    size = sized(2048 * MIB, 640 * MIB)
    source = random_file(folder / "source" / "big.bin", size)
    tracker = teem.tracker()
    seeders = [teem.share(source, tracker) for _ in range(3)]
    get = teem.get("big.bin", folder / "out", tracker)
    wait_written(get, size // 5)
    seeders[0].kill()
    wait_written(get, size // 2)
    seeders[1].kill()
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "big.bin", source)


def test_a_killed_seeder_comes_back_without_reading_its_content_again(teem, folder):
    size = 256 * MIB
    source = random_file(folder / "source" / "big.bin", size)
    tracker = teem.tracker()
    data = teem.state("seeder")
    teem.share(source, tracker, data=data).kill()
    again = teem.share(source, tracker, data=data)
    assert again.io()["rchar"] < size // 4, "it was read in full again"
    get = teem.get("big.bin", folder / "out", tracker)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "big.bin", source)


def test_the_tracker_keeps_its_catalogue_over_a_kill(teem, folder):
    source = random_file(folder / "source" / "file.bin", 4 * MIB)
    ip, data = teem.address(), teem.state("tracker")
    tracker = teem.tracker(ip=ip, data=data)
    teem.share(source, tracker)
    tracker.kill()
    tracker = teem.tracker(ip=ip, data=data)
    # The seeder is known again once it announces; until then the leecher asks in short intervals.
    get = teem.get("file.bin", folder / "out", tracker, extra=["--timeout", "150"])
    assert get.wait(160) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
