"""Which torrents and clients the operator lets in: the same in each protocol, and without any error."""

import json

import libtorrent as lt
import pytest

import catalogue
import metrics
import text_protocol
from bep3 import announced, scraped
from bep15 import Udp
from content import MIB, random_file
from json_protocol import join
from peers import make_torrent
from teem import EXIT_FAILED, TEXT_PORT

GOOD, BAD = bytes(range(20)), bytes(range(40, 60))


def hashes_of(torrent):
    """The info hashes of a torrent file, v1 then v2, in hex."""
    info = lt.torrent_info(str(torrent)).info_hashes()
    return str(info.v1), str(info.v2)


def test_a_denied_torrent_has_no_peers_in_any_protocol_and_no_error(teem, folder):
    deny = folder / "deny"
    deny.write_text(f"# by order of somebody\n{BAD.hex().upper()}  # the one\n")
    tracker = teem.tracker(extra=["--deny-list", deny])
    for info_hash, expected in [(GOOD, 1), (BAD, 0)]:
        announced(tracker, info_hash, 7001, 0)
        reply = announced(tracker, info_hash, 7002, 9)
        assert b"failure reason" not in reply and len(reply[b"peers"]) == 6 * expected
        udp = Udp(tracker.host)
        udp.announced(info_hash, port=7003, left=0)
        told = udp.announced(info_hash, port=7004, left=9)
        assert (len(told["peers"]), told["seeders"]) == (3 * expected, 2 * expected), told
        assert udp.scraped(info_hash) == [(2 * expected, 0, 2 * expected)]
        assert (info_hash in scraped(tracker.host, info_hash)) == bool(expected)
    assert metrics.number(tracker, "teem_peers") == 4 and metrics.number(tracker, "teem_listed_hashes") == 1
    assert metrics.number(tracker, "teem_udp_denied_total") == 3 and metrics.number(tracker, "teem_http_denied_total") == 3


@pytest.mark.parametrize("which", [0, 1])
def test_a_denied_name_is_nowhere_whichever_of_its_hashes_is_listed(teem, folder, cleanup, which):
    for name in ("good", "bad"):
        make_torrent(random_file(folder / name, MIB), folder / f"{name}.torrent")
    deny = folder / "deny"
    deny.write_text("")
    ip = teem.address()
    tracker = teem.tracker(extra=["--deny-list", deny, "--text-listen", f"{ip}:{TEXT_PORT}"])
    json_client, text_client = join(tracker, "anna"), text_protocol.Client(ip)
    cleanup(text_client)
    for name in ("good", "bad"):
        catalogue.publish(tracker, name, (folder / f"{name}.torrent").read_bytes())
    files = {name: json_client.ask("GET_COUNT", file_name=name)["count"] for name in ("good", "bad")}
    assert json_client.ask("REGISTER", port=7001, files=files)["status"] == "REGISTERED"
    assert all(json_client.ask("PEER_LIST", file_name=name)["peers"] for name in files)
    for name in files:
        announced(tracker, bytes.fromhex(hashes_of(folder / f"{name}.torrent")[0]), 7000, 0)
        text_client.waits(name)
        assert text_client.exchange(name.encode() + b"\n").startswith(b"['")
    hashes = hashes_of(folder / "bad.torrent")
    deny.write_text(f"{hashes[which]}\n")
    tracker.reload()

    assert catalogue.names(tracker) == ["good"]
    for path in ("/bad", "/bad/torrent", "/bad/magnet", "/bad@1", f"/{hashes[0]}"):
        assert catalogue.request(tracker, "GET", path)[0] == 404, path
    assert catalogue.magnet(tracker, "good")
    assert json_client.ask("PEER_LIST", file_name="bad") == {"peers": [], "total_parts": 0}
    assert json_client.ask("PEER_LIST", file_name="good")["peers"]
    assert [each["file_name"] for each in json_client.ask("FILE_LIST")["files"]] == ["good"]
    for request in ("GET_COUNT", "CHUNK_HASHES"):
        assert "nobody has" in json_client.ask(request, file_name="bad")["error"]
    text_client.waits("bad", listed=False)
    assert "good" in text_client.listed() and text_client.exchange(b"bad\n") == b""
    status, reply = catalogue.request(tracker, "PUT", "/other", body=(folder / "bad.torrent").read_bytes())
    assert status == 403 and "does not take this torrent" in json.loads(reply)["error"]
    info_hash = bytes.fromhex(hashes[0])
    announced(tracker, info_hash, 7001, 0)
    assert not announced(tracker, info_hash, 7002, 9)[b"peers"]
    deny.write_text("")
    tracker.reload()
    assert catalogue.names(tracker) == ["bad", "good"]


def test_an_allow_list_lets_in_nothing_else(teem, folder):
    make_torrent(random_file(folder / "good", MIB), folder / "good.torrent")
    make_torrent(random_file(folder / "bad", MIB), folder / "bad.torrent")
    allow = folder / "allow"
    allow.write_text(hashes_of(folder / "good.torrent")[1])
    tracker = teem.tracker(extra=["--allow-list", allow])
    catalogue.publish(tracker, "good", (folder / "good.torrent").read_bytes())
    status, _ = catalogue.request(tracker, "PUT", "/bad", body=(folder / "bad.torrent").read_bytes())
    assert status == 403
    for name, expected in [("good", 1), ("bad", 0)]:
        info_hash = bytes.fromhex(hashes_of(folder / f"{name}.torrent")[0])
        announced(tracker, info_hash, 7001, 0)
        assert len(announced(tracker, info_hash, 7002, 9)[b"peers"]) == 6 * expected
    json_client = join(tracker, "anna")
    assert json_client.ask("REGISTER", port=7001, files={"good": 1, "no torrent": 3})["error"], "not its parts"
    parts = json_client.ask("GET_COUNT", file_name="good")["count"]
    assert json_client.ask("REGISTER", port=7001, files={"good": parts, "no torrent": 3})["status"] == "REGISTERED"
    assert json_client.ask("PEER_LIST", file_name="no torrent") == {"peers": [], "total_parts": 0}
    assert len(json_client.ask("PEER_LIST", file_name="good")["peers"]) == 1


def test_clients_are_let_in_by_the_beginning_of_their_peer_ids(teem, folder):
    allow, deny = folder / "allow", folder / "deny"
    allow.write_text("-TR\n-qB\n")
    deny.write_text("-TR30 # too old\n")
    tracker = teem.tracker(extra=["--allow-clients", allow, "--deny-clients", deny])
    for number, (client, admitted) in enumerate([("-TR4060-", 1), ("-TR3000-", 0), ("-qB5000-", 1), ("-UT3550-", 0)]):
        reply = announced(tracker, GOOD, 7001 + number, 0, peer_id=f"{client}abcdefghijkl")
        assert reply[b"complete"] == (number // 2 + 1) * admitted and b"failure reason" not in reply, client
    assert metrics.number(tracker, "teem_peers") == 2 and metrics.number(tracker, "teem_listed_clients") == 3


def test_a_bad_list_is_named_with_its_line_and_the_old_one_stays(teem, folder):
    deny = folder / "deny"
    deny.write_text(f"{GOOD.hex()}\nhello\n")
    refused = teem("tracker", "--listen", f"{teem.address()}:0", "--deny-list", deny, "--data", teem.state("x"))
    assert refused.wait(20) == EXIT_FAILED
    assert f"{deny}:2: an info hash has 40 or 64 hex digits" in refused.stderr()
    deny.write_text(f"{BAD.hex()}\n")
    tracker = teem.tracker(extra=["--deny-list", deny])
    deny.write_text(f"{GOOD.hex()}\nhello\n")
    tracker.reload("the old lists stay")
    assert f"{deny}:2:" in tracker.stderr() and metrics.number(tracker, "teem_reloads_failed") == 1
    announced(tracker, GOOD, 7001, 0)
    assert announced(tracker, GOOD, 7002, 9)[b"peers"], "it is not denied"
    announced(tracker, BAD, 7001, 0)
    assert not announced(tracker, BAD, 7002, 9)[b"peers"], "it still is"
