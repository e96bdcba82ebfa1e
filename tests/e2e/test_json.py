"""The JSON protocol of the tracker (docs/protocols/json.md), and the example client that speaks it."""

import json
import re

import pytest

import examples
import json_protocol
from content import MIB, random_file
from json_protocol import Client, Connection, dial
from teem import JSON_PORT


@pytest.fixture
def tracker(teem):
    """A tracker that speaks JSON at its usual port."""
    process = teem.tracker()
    assert process.endpoint("json")[1] == JSON_PORT
    return process


@pytest.fixture
def join(tracker, cleanup):
    """Makes clients with a token."""

    def make(peer_id, source="127.0.0.1"):
        client = json_protocol.join(tracker, peer_id, source)
        cleanup(client)
        return client

    return make


def test_peers_find_each_other_by_the_name_of_a_file(join):
    anna, bert = join("anna", "127.0.0.2"), join("bert", "127.0.0.3")
    assert anna.ask("REGISTER", port=8080, files={"document.pdf": 5, "video.mp4": 20}) == {"status": "REGISTERED"}
    assert bert.ask("BECOME_SEEDER", file_name="document.pdf", parts=5) == {"status": "ACK"}
    found = bert.ask("PEER_LIST", file_name="document.pdf")
    assert found["total_parts"] == 5
    assert {"peer_id": "anna", "ip": "127.0.0.2", "port": 8080} in found["peers"]
    assert bert.ask("REQUEST", file_name="nothing") == {"peers": [], "total_parts": 0}
    refused = bert.ask("REGISTER", port=1, files={"document.pdf": 6})
    assert refused["status"] == "ERROR" and all(word in refused["error"] for word in ("document.pdf", "5", "6"))
    assert anna.ask("UNREGISTER", files=["video.mp4"]) == {"status": "ACK"}
    listed = anna.ask("FILE_LIST")
    assert [(each["file_name"], each["simple_peers"]) for each in listed["files"]] == [("document.pdf", 2)]
    stats = anna.ask("STATS")
    assert (stats["peers"], stats["files"]) == (2, 1)


def test_without_a_good_token_everything_is_refused(join, tracker):
    anna = join("anna", "127.0.0.2")
    stranger = join("stranger", "127.0.0.3")
    stranger.peer_id, stranger.token = "anna", anna.token
    for type in ("REGISTER", "PEER_LIST", "KEEPALIVE", "UNREGISTER", "FILE_LIST", "GET_COUNT", "CHUNK_HASHES", "STATS"):
        reply = stranger.ask(type, port=1, files={}, file_name="x")
        if type == "UNREGISTER":
            reply = stranger.ask(type)
        assert reply == {"status": "ERROR", "error": "Invalid token"}, type
    nobody = Client(dial(tracker), "anna")
    assert nobody.ask("KEEPALIVE") == {"status": "ERROR", "error": "Invalid token"}
    assert "in use" in nobody.ask("AUTH")["error"]


def test_a_shared_file_has_its_pieces_and_their_hashes(teem, folder, tracker, join):
    source = random_file(folder / "source" / "file.bin", 2 * MIB + 5)
    tree = random_file(folder / "source" / "tree" / "a" / "b.bin", MIB).parents[1]
    random_file(tree / "c.bin", 10)
    teem.share(source, tracker)
    teem.share(tree, tracker)
    client = join("anna")
    count = client.ask("GET_COUNT", file_name="file.bin")
    assert count == {
        "type": "CHUNK_COUNT", "file_name": "file.bin", "count": 5, "chunk_size": 524_288, "size": 2 * MIB + 5,
    }  # fmt: skip
    hashes = client.ask("CHUNK_HASHES", file_name="file.bin")["hashes"]
    assert len(hashes) == 5 and all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes)
    assert client.ask("CHUNK_HASHES", file_name="file.bin", **{"from": 1, "count": 2})["hashes"] == hashes[1:3]
    inside = client.ask("GET_COUNT", file_name="tree/a/b.bin")
    assert inside["size"] == MIB and inside["count"] == -(-MIB // inside["chunk_size"])
    assert client.ask("PEER_LIST", file_name="file.bin")["total_parts"] == 5
    wrong = client.ask("REGISTER", port=1, files={"file.bin": 4})
    assert wrong["status"] == "ERROR" and "file.bin" in wrong["error"], wrong
    listed = {each["file_name"]: each for each in client.ask("FILE_LIST")["files"]}
    assert (listed["file.bin"]["seeders"], listed["file.bin"]["size"]) == (1, 2 * MIB + 5)
    assert client.ask("GET_COUNT", file_name="tree/nothing")["status"] == "ERROR"


def test_what_is_wrong_gets_an_error_or_the_end(tracker, join):
    client = join("anna")
    for wrong in (b'{"type":"FLY","peer_id":"p"}\n', b'{"type":\n"AUTH"}\n', b"{}\n", b'{"type":"AUTH","peer_id":"a",}\n'):
        assert client.raw(wrong)["status"] == "ERROR", wrong
    assert client.ask("KEEPALIVE") == {"status": "ACK"}, "an error does not end the connection"
    for hostile in (b"hello\n", b'{"a":' * 100_000, b"[" * 100_000, b'{"a":"' + b"x" * (3 * MIB)):
        other = Connection(dial(tracker))
        assert other.raw(hostile)["status"] == "ERROR", hostile[:10]
        assert other.file.readline() == b""
        other.close()
    assert client.ask("KEEPALIVE") == {"status": "ACK"}
    assert tracker.memory_peak_kib() < 60 * 1024


def test_the_example_client_is_all_that_is_needed(folder, tracker, cleanup):
    addr = tracker.listener("json")
    examples.share(cleanup, folder, addr, "document.pdf", 5, 8080)
    found = json.loads(examples.run(examples.JSON, addr, "find", "document.pdf"))
    assert found["total_parts"] == 5 and [each["port"] for each in found["peers"]] == [8080]
    assert len(examples.JSON.read_text().splitlines()) < 60
