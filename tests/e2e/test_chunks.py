"""Chunks of files over JSON on the peers' port (docs/protocols/json.md), and the example client that fetches them."""

import json
import select
import socket

import pytest

import examples
from content import MIB, random_file
from json_protocol import Connection
from netns import Namespace
from proc import wait_for
from teem import FORMATS, PEER_PORT

CHUNK = 512 * 1024


class Peer(Connection):
    """A peer that speaks JSON."""

    def chunk(self, file_name, index):
        """The bytes of a chunk."""
        reply = self.ask(type="GET", file_name=file_name, index=index)
        assert (reply.get("type"), reply.get("index")) == ("CHUNK_DATA", index), reply
        return self.file.read(reply["length"])


@pytest.fixture
def connect(cleanup):
    """Connects to peers."""

    def make(host, connection=None):
        peer = Peer(connection or socket.create_connection((host, PEER_PORT), 40))
        cleanup(peer)
        return peer

    return make


def example(tracker, *words):
    """Runs the example client to its end; returns what it prints."""
    return examples.run(examples.JSON, tracker.listener("json"), *words)


def test_a_json_client_fetches_a_file_and_checks_every_chunk(teem, folder, connect):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", 2 * MIB + 5)
    share = teem.share(source, tracker, name="team/file.bin")
    listed = json.loads(example(tracker, "find", "team/file.bin"))
    assert [(each["ip"], each["port"]) for each in listed["peers"]] == [(share.ip, PEER_PORT)]
    peer_id = bytes.fromhex(listed["peers"][0]["peer_id"])
    assert len(peer_id) == 20 and peer_id.startswith(b"-TE") and listed["total_parts"] == 5
    example(tracker, "get", "team/file.bin", folder / "fetched")
    assert (folder / "fetched").read_bytes() == source.read_bytes()
    peer = connect(share.ip)
    assert peer.ask(type="GET_COUNT", file_name="team/file.bin") == {
        "type": "CHUNK_COUNT", "file_name": "team/file.bin", "count": 5, "chunk_size": CHUNK, "size": 2 * MIB + 5,
    }  # fmt: skip
    assert peer.chunk("team/file.bin", 4) == source.read_bytes()[-5:], "many requests on one connection"
    assert peer.ask(type="STATE") == {"type": "STATE", "state": "AVAILABLE", "queue": 0}
    small = random_file(folder / "source" / "small.bin", 40_000)
    teem.share(small, tracker)
    example(tracker, "get", "small.bin", folder / "small")
    assert (folder / "small").read_bytes() == small.read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_files_inside_a_folder_are_cut_from_their_own_first_byte(teem, folder, connect, format):
    tracker = teem.tracker()
    tree = random_file(folder / "source" / "tree" / "a" / "b.bin", MIB + 7).parents[1]
    random_file(tree / "a.txt", 1_000, seed=2)
    random_file(tree / "c.bin", 40_000, seed=3)
    (tree / "empty").write_bytes(b"")
    share = teem.share(tree, tracker, extra=["--format", format])
    peer = connect(share.ip)
    for path in ("a/b.bin", "a.txt", "c.bin", "empty"):
        name, want = f"tree/{path}", (tree / path).read_bytes()
        count = peer.ask(type="GET_COUNT", file_name=name)
        assert (count["size"], count["count"]) == (len(want), max(1, -(-len(want) // count["chunk_size"])))
        assert b"".join(peer.chunk(name, index) for index in range(count["count"])) == want
    assert "folder" in peer.ask(type="GET_COUNT", file_name="tree")["error"]
    for unknown in ("tree/nothing", "tree/a", "tree/a/b.bin/", "tree/../tree/a.txt", "other"):
        assert "no file" in peer.ask(type="GET", file_name=unknown, index=0)["error"], unknown
    if format != "v1":
        example(tracker, "get", "tree/a/b.bin", folder / "fetched")
        assert (folder / "fetched").read_bytes() == (tree / "a" / "b.bin").read_bytes()


def test_each_version_comes_from_peers_that_have_it(teem, folder):
    tracker, data = teem.tracker(), teem.state("owner")
    first = random_file(folder / "one" / "model.bin", MIB, seed=1)
    second = random_file(folder / "two" / "model.bin", MIB, seed=2)
    teem.share(first, tracker, data=data).stop()
    teem.share(second, tracker, data=data)
    teem.share(first, tracker)
    for name, source in {"model.bin": second, "model.bin@2": second, "model.bin@1": first}.items():
        example(tracker, "get", name, folder / name)
        assert (folder / name).read_bytes() == source.read_bytes(), name


def test_a_leecher_serves_what_it_has_and_nothing_else(teem, folder, connect):
    tracker = teem.tracker()
    tree = random_file(folder / "source" / "tree" / "here.bin", 2 * MIB + 9).parent
    random_file(tree / "missing.bin", 2 * MIB, seed=2)
    teem.share(tree, tracker).kill()
    here = folder / "output" / "tree" / "here.bin"
    here.parent.mkdir(parents=True)
    here.write_bytes((tree / "here.bin").read_bytes())
    get = teem.get("tree", folder / "output", tracker, exit=False)
    get.event("progress", where=lambda progress: progress["verified"] == 2 * MIB + 9)
    peer = connect(get.ip)
    assert b"".join(peer.chunk("tree/here.bin", index) for index in range(5)) == here.read_bytes()
    assert peer.ask(type="GET_COUNT", file_name="tree/missing.bin")["count"] == 4
    for index in range(4):
        reply = peer.ask(type="GET", file_name="tree/missing.bin", index=index)
        assert reply["status"] == "ERROR" and "not here" in reply["error"], reply
    teem.share(tree, tracker)
    wait_for(lambda: get.latest("verified"), 60, "the rest", alive=get)
    assert peer.chunk("tree/missing.bin", 3) == (tree / "missing.bin").read_bytes()[3 * CHUNK :], "once it is here"


def test_a_file_that_changed_on_disk_is_not_served(teem, folder, connect):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", 2 * MIB)
    share = teem.share(source, tracker)
    peer = connect(share.ip)
    assert len(peer.chunk("file.bin", 0)) == CHUNK
    want = source.read_bytes()
    with open(source, "r+b") as file:
        file.write(b"changed")

    def fetch(index):
        reply = peer.ask(type="GET", file_name="file.bin", index=index)
        if reply.get("type") == "CHUNK_DATA":
            return peer.file.read(reply["length"])
        assert reply["status"] == "ERROR" and "not here" in reply["error"], reply
        return None

    def checked():
        return peer.ask(type="GET_COUNT", file_name="file.bin") and fetch(3) == want[3 * CHUNK :]

    assert fetch(0) is None
    # What is still right is found again when the file is checked, which may be done by now; what is not stays away.
    assert fetch(3) in (None, want[3 * CHUNK :])
    wait_for(checked, 20, "the rest of the file", alive=share)
    assert fetch(0) is None


FAR = [f"198.51.100.{host}" for host in range(1, 7)]
"""Addresses of another network: peers of one's own need no slot."""


@pytest.fixture
def far_away():
    """A namespace whose addresses are far from each other."""
    space = Namespace(FAR)
    yield space
    space.close()


@pytest.mark.root
def test_without_a_slot_requests_wait_in_turn_and_then_hear_so(teem, folder, far_away, connect):
    tracker_ip, share_ip, first, second, third, _ = FAR
    tracker = teem.tracker(ip=tracker_ip, namespace=far_away.name)
    source = random_file(folder / "source" / "file.bin", 64 * MIB)
    extra = ["--piece-length", "32M", "--upload-slots", "1"]
    teem.share(source, tracker, ip=share_ip, namespace=far_away.name, extra=extra)

    def client(source):
        return connect(share_ip, far_away.dial((share_ip, PEER_PORT), source, timeout=60))

    assert client(first).ask(type="STATE") == {"type": "STATE", "state": "AVAILABLE", "queue": 0}
    slow, waiting, other = client(first), client(second), client(third)
    assert slow.ask(type="GET", file_name="file.bin", index=0)["type"] == "CHUNK_DATA"
    assert client(first).ask(type="STATE")["state"] == "CONNECTED"
    assert other.ask(type="STATE") == {"type": "STATE", "state": "UNAVAILABLE", "queue": 0}
    waiting.send(b'{"type":"GET","file_name":"file.bin","index":1}\n')
    wait_for(lambda: other.ask(type="STATE")["queue"] == 1, 10, "a request in the queue")
    # The slow one reads as much as keeps its slot.
    taken = 0
    while not select.select([waiting.socket], [], [], 1)[0]:
        taken += len(slow.socket.recv(192 * 1024))
        assert taken < 16 * MIB
    assert json.loads(waiting.file.readline()) == {"type": "STATE", "state": "UNAVAILABLE", "queue": 0}
    waiting.send(b'{"type":"GET","file_name":"file.bin","index":1}\n')
    wait_for(lambda: other.ask(type="STATE")["queue"] == 1, 10, "a request in the queue")
    slow.close()
    reply = json.loads(waiting.file.readline())
    assert reply == {"type": "CHUNK_DATA", "index": 1, "length": 32 * MIB}, "who leaves makes room"
    assert waiting.file.read(32 * MIB) == source.read_bytes()[32 * MIB :]


def test_what_is_hostile_gets_an_error_or_the_end(teem, folder, connect):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", MIB)
    share = teem.share(source, tracker)
    peer = connect(share.ip)
    get = {"type": "GET", "file_name": "file.bin"}
    for index in (-1, 2, 2**31, 2**32, 2**64, 1e300, "0", None, [0]):
        assert peer.ask(**get, index=index)["status"] == "ERROR", index
    assert peer.raw(b'{"type":"FLY"}\n')["status"] == "ERROR"
    assert peer.chunk("file.bin", 1) == source.read_bytes()[CHUNK:], "an error does not end the connection"
    for hostile in (b'{"type":' * 2_000, b'{"type":"GET","a":"' + b"x" * MIB, b'{"type":"STATE"}x'):
        other = connect(share.ip)
        other.send(hostile)
        lines = other.file.read().splitlines()
        assert 1 <= len(lines) <= 2 and json.loads(lines[-1])["status"] == "ERROR", lines
    # One address gets a share of the connections, and others still get in.
    crowd = [connect(share.ip) for _ in range(200)]
    for one in crowd:
        one.send(b'{"type":')
    far = socket.create_connection((share.ip, PEER_PORT), 10, source_address=("127.0.0.77", 0))
    assert connect(share.ip, far).chunk("file.bin", 0) == source.read_bytes()[:CHUNK]
    assert share.memory_peak_kib() < 150 * 1024
