"""Limits on rates: kept in both directions, not for the local network, and changed by the clock."""

import datetime
import time

import pytest

from content import MIB, assert_same, random_file
from teem import EXIT_DONE, EXIT_USAGE

RATE = 1 << 19


@pytest.fixture
def source(folder):
    """Content that takes some seconds at the limit."""
    return random_file(folder / "source" / "file.bin", 2 * MIB + 1)


def seconds(teem, folder, tracker, source, *extra):
    """How long a fetch takes; what came is compared."""
    begun = time.monotonic()
    get = teem.get(source.name, folder / "out" / str(len(extra)), tracker, extra=extra)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / str(len(extra)) / source.name, source)
    return time.monotonic() - begun


def test_download_takes_as_long_as_its_limit_says(teem, folder, source):
    tracker = teem.tracker()
    teem.share(source, tracker)
    # A lower bound only: a busy machine makes it longer, and nothing makes it shorter.
    assert seconds(teem, folder, tracker, source, "--max-down", "512K", "--limit-lan") > 2 * MIB / RATE - 1


def test_upload_takes_as_long_as_its_limit_says(teem, folder, source):
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--max-up", "512K", "--limit-lan"])
    assert seconds(teem, folder, tracker, source) > 2 * MIB / RATE - 1


def test_local_network_is_exempt(teem, folder):
    tracker = teem.tracker()
    # At one byte a second it would take days.
    source = random_file(folder / "source" / "large.bin", 8 * MIB)
    teem.share(source, tracker, extra=["--max-up", "1"])
    seconds(teem, folder, tracker, source, "--max-down", "1")


def test_schedule_lifts_the_limit(teem, folder, source):
    tracker = teem.tracker()
    teem.share(source, tracker)
    slow = ["--max-down", "1", "--limit-lan"]
    now = datetime.datetime.now()
    others = now + datetime.timedelta(hours=6)
    # All of the day but an hour that is six hours away.
    rules = f"full speed {(others + datetime.timedelta(hours=1)):%H:%M}-{others:%H:%M}"
    seconds(teem, folder, tracker, source, *slow, "--schedule", rules)


def test_schedule_that_cannot_be_read_is_named(teem, folder):
    get = teem.get("x", folder / "out", extra=["--schedule", "full speed whenever"])
    assert get.wait(30) == EXIT_USAGE
    assert "full speed whenever" in get.stderr()
