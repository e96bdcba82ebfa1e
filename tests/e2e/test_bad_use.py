"""Wrong use and a world that does not answer: the right exit status, and words that say what to do next."""

import os
import signal
import time

import pytest

import catalogue
from content import MIB, random_file
from proc import wait_for
from teem import EXIT_DISK, EXIT_DONE, EXIT_FAILED, EXIT_NO_PEERS, EXIT_NOT_FOUND, EXIT_TERMINATED, EXIT_USAGE

DEAD = "127.0.0.1:9"
"""Nobody listens on the port `discard`."""


def says(process, *words):
    """Fails unless standard error has each of the words."""
    text = process.stderr()
    for word in words:
        assert word in text, f"{word!r} is missing from: {text}"


def test_an_unknown_name_is_3_and_suggests_the_like(teem, folder):
    tracker = teem.tracker()
    teem.share(random_file(folder / "holiday.mp4", 100_000), tracker)
    get = teem.get("holidy.mp4", folder / "out", tracker)
    assert get.wait(20) == EXIT_NOT_FOUND, get.tail()
    says(get, "holidy.mp4", "hint:", "holiday.mp4")


def test_a_tracker_that_is_away_is_retried_then_6_with_a_hint(teem, folder):
    get = teem("get", "name", "-o", folder / "out", "--tracker", DEAD, "-e", "--data", teem.state("get"))
    assert get.wait(90) == EXIT_NO_PEERS, get.tail()
    says(get, DEAD, "hint:")


def test_a_tracker_that_comes_late_is_found(teem, folder):
    ip = teem.address()
    source = random_file(folder / "file.bin", 100_000)
    share = teem("share", source, "--tracker", f"{ip}:6969", "--listen", f"{teem.address()}:0",
                 "--data", teem.state("share"), "--json")  # fmt: skip
    time.sleep(1)
    assert share.running(), share.tail()
    teem.tracker(ip=ip)
    share.ready(30)


@pytest.mark.root
def test_no_tracker_anywhere_is_6_with_a_hint(teem, folder, namespace):
    # In a namespace of its own surely nothing listens at the default port.
    get = teem("get", "name", "-o", folder / "out", "-e", "--data", teem.state("get"), namespace=namespace.name)
    assert get.wait(60) == EXIT_NO_PEERS, get.tail()
    says(get, "hint:", "--tracker")


def test_nobody_seeding_is_6_after_the_time_out(teem, folder):
    tracker = teem.tracker()
    seeder = teem.share(random_file(folder / "file.bin", 100_000), tracker)
    seeder.stop()
    get = teem.get("file.bin", folder / "out", tracker, extra=["--timeout", "3"])
    assert get.wait(30) == EXIT_NO_PEERS, get.tail()
    says(get, "hint:")


def test_a_folder_that_cannot_be_written_is_7(teem, folder):
    tracker = teem.tracker()
    teem.share(random_file(folder / "file.bin", 100_000), tracker)
    # A folder of /proc refuses even root.
    target = "/proc/self/nowhere" if os.geteuid() == 0 else "/nowhere"
    get = teem.get("file.bin", target, tracker)
    assert get.wait(20) == EXIT_DISK, get.tail()
    says(get, target, "hint:")


@pytest.mark.parametrize(
    "args",
    [
        ["--no-such-flag"],
        ["no-such-command"],
        ["get"],
        ["get", "x", "--tracker", "not a tracker"],
        ["get", "magnet:?xt=urn:btih:123"],
        ["share", "/etc/hostname", "--format", "v3"],
        ["share", "/etc/hostname", "--piece-length", "1000"],
        ["get", "x", "--timeout", "soon"],
    ],
    ids=" ".join,
)
def test_wrong_words_are_2(teem, args):
    run = teem.run(*args, name="wrong", timeout=10)
    assert run.returncode == EXIT_USAGE, run.tail()
    assert run.stderr().count("\n") > 1 and not run.lines


def test_sharing_what_is_not_there_is_1_and_names_it(teem, folder):
    share = teem.run("share", folder / "gone.bin", "--tracker", DEAD, "--data", teem.state("share"))
    assert share.returncode == EXIT_FAILED, share.tail()
    says(share, "gone.bin")


def test_a_state_folder_in_use_is_refused_plainly(teem, folder):
    tracker = teem.tracker()
    data = teem.state("both")
    teem.share(random_file(folder / "one.bin", 100_000), tracker, data=data)
    second = teem.share(random_file(folder / "two.bin", 100_000), tracker, data=data, wait=False)
    assert second.wait(20) == EXIT_FAILED, second.tail()
    says(second, str(data), "--data")


@pytest.mark.parametrize("who", ["tracker", "share"])
def test_a_port_that_was_asked_for_and_is_taken_is_1_and_named(teem, folder, who):
    tracker = teem.tracker()
    if who == "tracker":
        second = teem("tracker", "--listen", tracker.host, "--data", teem.state("second"))
        port = "6969"
    else:
        first = teem.share(random_file(folder / "one.bin", 100_000), tracker)
        other = random_file(folder / "two.bin", 100_000)
        second = teem.share(other, tracker, ip=first.ip, wait=False)
        port = "6881"
    assert second.wait(20) == EXIT_FAILED, second.tail()
    says(second, port, "ss -")


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, EXIT_TERMINATED), (signal.SIGINT, 130)])
@pytest.mark.parametrize("who", ["tracker", "share", "get"])
def test_signals_end_it_cleanly(teem, folder, who, number, status):
    tracker = teem.tracker()
    share = teem.share(random_file(folder / "file.bin", MIB), tracker)
    process = {"tracker": tracker, "share": share}.get(who)
    if process is None:
        process = teem.get("file.bin", folder / "out", tracker, exit=False)
        process.done(30)
    process.signal(number)
    assert process.wait(10) == status, process.tail()


def test_a_share_that_ends_is_gone_from_the_tracker_at_once(teem, folder):
    tracker = teem.tracker()
    share = teem.share(random_file(folder / "file.bin", MIB), tracker)
    assert catalogue.entry(tracker, "file.bin")["seeders"] == 1
    share.stop()
    wait_for(lambda: catalogue.entry(tracker, "file.bin")["seeders"] == 0, 5, "empty swarm", tracker)


def test_help_and_version_go_to_standard_output(teem):
    for args in (["--help"], ["--version"], ["get", "--help"], ["torrent", "create", "--help"]):
        run = teem.run(*args, name="help", timeout=10)
        assert run.returncode == EXIT_DONE and run.lines, run.tail()
