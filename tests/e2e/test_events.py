"""The daemon's stream of events: all torrents once, then what changes; who was cut off misses nothing."""

import http.client
import json
import socket
import threading

import pytest

from content import MIB
from proc import wait_for
from teem import PEER_PORT
from test_daemon import made


class Events:
    """One who follows: the events so far, as a page of the daemon's would have them."""

    def __init__(self, data, last=None):
        door = json.loads((data / "api.json").read_text())
        self.connection = http.client.HTTPConnection(door["addr"], timeout=60)
        headers = {"Authorization": f"Bearer {door['token']}"}
        if last:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", "/api/v1/events", headers=headers)
        self.socket = self.connection.sock
        self.reply = self.connection.getresponse()
        self.status = self.reply.status
        self.told = []
        self.transfers = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        fields = {}
        try:
            for line in self.reply:
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key and value:
                    fields[key] = value
                elif fields:
                    self._take(fields["event"], fields["id"], json.loads(fields["data"]))
                    fields = {}
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # the end of the connection, which tests bring about

    def _take(self, kind, number, data):
        if kind == "snapshot":
            self.transfers = {each["id"]: each for each in data["transfers"]}
        else:
            self.transfers |= {each["id"]: each for each in data["changed"]}
            for gone in data["gone"]:
                del self.transfers[gone]
        self.told.append((kind, number))

    def states(self):
        """What each torrent does, by name."""
        return {each["name"]: each["state"] for each in self.transfers.values()}

    def close(self):
        """Cuts the connection."""
        self.socket.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def daemon(teem, folder):
    """Starts a daemon of the folder `torrents`."""
    (folder / "torrents").mkdir()
    data = teem.state("daemon")

    def start():
        process = teem(
            "daemon", "--torrents", folder / "torrents", "--output", folder / "out", "--data", data, "--json",
            "--listen", f"{teem.address()}:{PEER_PORT}", "--api", "127.0.0.1:0",
        )  # fmt: skip
        process.ready(60)
        return process

    start.data = data
    return start


def test_who_follows_is_told_of_what_changes_and_who_was_cut_off_misses_nothing(teem, folder, daemon):
    tracker = teem.tracker()
    torrents = [made(folder, tracker, f"{name}.bin", MIB, number)[1] for number, name in enumerate("abc")]
    (folder / "out").symlink_to(folder / "source")

    def drop(torrent):
        (folder / "torrents" / torrent.name).write_bytes(torrent.read_bytes())

    def order(*args):
        assert teem.run(*args, "--data", daemon.data, timeout=30).returncode == 0

    drop(torrents[0])
    process = daemon()
    events = Events(daemon.data)
    wait_for(lambda: events.states() == {"a.bin": "seeding"}, 20, "all of it", process)
    drop(torrents[1])
    wait_for(lambda: events.states() == {"a.bin": "seeding", "b.bin": "seeding"}, 20, "one more", process)
    assert [kind for kind, _ in events.told].count("snapshot") == 1 and events.told[0][0] == "snapshot"
    # Another one sees the same, whenever it comes.
    assert Events(daemon.data).status == 200
    # Cut off, and back: what happened meanwhile is told, and nothing else.
    last, known = events.told[-1][1], events.transfers
    events.close()
    order("hold", "a.bin")
    order("remove", "b.bin")
    drop(torrents[2])
    again = Events(daemon.data, last)
    again.transfers = dict(known)
    wait_for(lambda: again.states() == {"a.bin": "held", "c.bin": "seeding"}, 20, "what happened", process)
    assert {kind for kind, _ in again.told} == {"change"}
    # Another run counts anew, and says all of it.
    last = again.told[-1][1]
    process.kill()
    process = daemon()
    later = Events(daemon.data, last)
    wait_for(lambda: later.states() == {"a.bin": "held", "c.bin": "seeding"}, 20, "all of it", process)
    assert later.told[0][0] == "snapshot"


def test_there_is_an_end_to_followers_and_orders_are_taken_all_the_same(teem, folder, daemon):
    process = daemon()
    followers = [Events(daemon.data) for _ in range(33)]
    assert [each.status for each in followers] == [200] * 32 + [503]
    assert teem.run("transfers", "--data", daemon.data, timeout=30).returncode == 0
    [each.close() for each in followers]
    wait_for(lambda: Events(daemon.data).status == 200, 20, "room again", process)
