"""A disk that does not answer holds up the torrents that lie on it, and no others of the same process."""

import pytest

import catalogue
from content import MIB, assert_same, random_file
from peers import with_trackers
from proc import wait_for
from teem import EXIT_TERMINATED, PEER_PORT


@pytest.mark.root
def test_a_disk_that_stops_holds_up_nobody_elses_torrents(teem, folder, stoppable_disk):
    tracker = teem.tracker()
    source, inbox, out = folder / "source", folder / "torrents", folder / "out"
    inbox.mkdir()
    for number in range(40):
        random_file(source / "stuck" / f"{number:02}.bin", MIB, seed=number)
    for number in range(3):
        random_file(source / f"quick{number}.bin", 8 * MIB + 1, seed=100 + number)
    names = ["stuck", *(f"quick{number}.bin" for number in range(3))]
    torrents = {}
    for name in names:
        teem.share(source / name, tracker)
        with_trackers(catalogue.torrent(tracker, name), folder / f"{name}.torrent", tracker.http)
        torrents[name] = (folder / f"{name}.torrent").read_bytes()
    stop = stoppable_disk(out / "stuck")
    stop(True)
    (inbox / "stuck.torrent").write_bytes(torrents["stuck"])
    address = teem.address()
    process = teem(
        "daemon", "--torrents", inbox, "--output", out, "--data", teem.state("daemon"),
        "--listen", f"{address}:{PEER_PORT}", "--json",
    )
    process.ready(60)
    # Its threads are in the middle of it: nothing of it is written, whatever has come.
    wait_for(lambda: process.io()["rchar"] > 8 * MIB, 60, "pieces for the disk that stopped", process)
    for name in names[1:]:
        (inbox / f"{name}.torrent").write_bytes(torrents[name])
        process.event("done", 60, where=lambda done, name=name: done["name"] == name)
        assert_same(out / name, source / name)
    assert not [told for told in process.objects() if told["kind"] == "done" and told["name"] == "stuck"]
    stop(False)
    process.event("done", 60, where=lambda done: done["name"] == "stuck")
    assert process.stop(30) == EXIT_TERMINATED
    for path in (source / "stuck").iterdir():
        assert_same(out / "stuck" / path.name, path)
