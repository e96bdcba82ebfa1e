"""Peers that stop without a word are gone after their time, from the answers of every protocol."""

import socket

import bep3
from bep15 import STOPPED, Udp
from catalogue import entry, publish
from content import MIB, random_file
from json_protocol import join
from peers import make_torrent
from proc import wait_for


def counts(client, name):
    """Seeders of the swarm and peers registered over JSON."""
    listed = {each["file_name"]: each for each in client.ask("FILE_LIST")["files"]}
    return (listed[name]["seeders"], listed[name]["simple_peers"]) if name in listed else None


def test_who_falls_silent_is_gone_from_every_protocol(teem, folder):
    tracker = teem.tracker(extra=["--interval", "2s", "--peer-timeout", "2s"])
    info = make_torrent(random_file(folder / "x.bin", MIB), folder / "x.torrent", format="v1")
    info_hash = info.info_hashes().v1.to_bytes()
    publish(tracker, "x.bin", (folder / "x.torrent").read_bytes())
    udp, anna, watcher = Udp(tracker.host), join(tracker, "anna"), join(tracker, "watcher")
    assert udp.announced(info_hash, port=1, left=0)["interval"] == 2
    # Nobody listens there: the one try to reach it fails.
    assert anna.ask("REGISTER", port=9, files={"notes.txt": 1}) == {"status": "REGISTERED"}
    assert counts(watcher, "x.bin") == (1, 0) and counts(watcher, "notes.txt") == (0, 1)
    wait_for(lambda: counts(watcher, "x.bin") == (0, 0), 60, "the end of the seeder", alive=tracker)
    assert udp.scraped(info_hash) == [(0, 0, 0)]
    files = bep3.scraped(tracker.host, info_hash)
    assert info_hash not in files or files[info_hash][b"complete"] == 0
    assert entry(tracker, "x.bin")["seeders"] == 0 and entry(tracker, "x.bin")["peers"] == []
    wait_for(lambda: counts(watcher, "notes.txt") is None, 60, "the end of the JSON peer", alive=tracker)
    assert watcher.ask("PEER_LIST", file_name="notes.txt")["peers"] == []


def test_who_answers_when_tried_stays(teem):
    tracker = teem.tracker(extra=["--peer-timeout", "1s"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        anna, watcher = join(tracker, "anna"), join(tracker, "watcher")
        anna.ask("REGISTER", port=server.getsockname()[1], files={"notes.txt": 1})
        for _ in range(3):
            server.accept()[0].close()
            assert counts(watcher, "notes.txt") == (0, 1)
    wait_for(lambda: counts(watcher, "notes.txt") is None, 60, "the end of the JSON peer", alive=tracker)


def test_who_says_goodbye_is_gone_at_once(teem):
    tracker = teem.tracker()
    udp, anna = Udp(tracker.host), join(tracker, "anna")
    udp.announced(b"h" * 20, port=1, left=0)
    udp.announced(b"h" * 20, port=1, event=STOPPED)
    assert udp.scraped(b"h" * 20) == [(0, 0, 0)]
    anna.ask("REGISTER", port=9, files={"notes.txt": 1})
    anna.ask("UNREGISTER")
    assert counts(anna, "notes.txt") is None
