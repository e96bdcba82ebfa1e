"""What BitTorrent clients get from the tracker, packet by packet and byte by byte: BEP 3, 7, 15, 23, 24, 48, 52."""

import socket
import struct

import libtorrent as lt
import pytest

import bep3
import catalogue
import metrics
from bep15 import COMPLETED, CONNECT, NONE, STOPPED, Udp
from content import MIB, random_file
from json_protocol import ask_once, join
from peers import LibtorrentPeer, make_torrent
from proc import wait_for

HASH, OTHER = b"h" * 20, b"i" * 20


@pytest.fixture
def tracker(teem):
    """A tracker whose counters can be read."""
    return teem.tracker()


def over_http(host, **fields):
    """The answer to an announce over HTTP."""
    return bep3.answer(host, bep3.announce_path(HASH, **fields))


def test_udp_and_http_are_one_swarm(tracker):
    seeder, leecher = Udp(tracker.host, "127.7.0.1"), Udp(tracker.host, "127.7.0.2")
    assert seeder.announced(HASH, port=1, left=0)["peers"] == set()
    heard = leecher.announced(HASH, port=2, left=5)
    assert (heard["seeders"], heard["leechers"], heard["peers"]) == (1, 1, {("127.7.0.1", 1)})
    reply = over_http(tracker.host, port=3, left=1)
    assert (reply[b"complete"], reply[b"incomplete"]) == (1, 2)
    assert len(reply[b"peers"]) == 12 and reply[b"external ip"] == socket.inet_aton("127.0.0.1")
    leecher.announced(HASH, port=2, left=0, event=COMPLETED)
    assert bep3.scraped(tracker.host, HASH, OTHER) == {HASH: {b"complete": 2, b"downloaded": 1, b"incomplete": 1}}
    assert seeder.scraped(HASH, OTHER) == [(2, 1, 1), (0, 0, 0)]
    seeder.announced(HASH, port=1, event=STOPPED)
    assert leecher.scraped(HASH) == [(1, 1, 1)], "gone at once"


def test_a_client_says_how_many_peers_and_in_which_form(tracker):
    for port in range(1, 81):
        Udp(tracker.host).announced(HASH, port=port, left=0)
    udp = Udp(tracker.host)
    assert len(udp.announced(HASH, port=99, left=1)["peers"]) == 50, "the default"
    assert len(udp.announced(HASH, port=99, left=1, want=3)["peers"]) == 3
    assert udp.announced(HASH, port=99, left=1, want=0)["peers"] == set()
    assert len(udp.announced(HASH, port=99, left=1, want=10_000)["peers"]) == 80
    assert len(over_http(tracker.host, port=99, left=1, numwant=4)[b"peers"]) == 24
    long = over_http(tracker.host, port=99, left=1, numwant=2, compact=0)[b"peers"]
    assert len(long) == 2 and all(peer[b"ip"] == b"127.0.0.1" and 1 <= peer[b"port"] <= 80 for peer in long)
    bare = over_http(tracker.host, port=99, left=1, numwant=2, compact=0, no_peer_id=1)[b"peers"]
    assert all(set(peer) == {b"ip", b"port"} for peer in bare)


def test_ipv4_and_ipv6_are_one_swarm_with_a_socket_each(teem):
    data = teem.state("both")
    process = teem("tracker", "--listen", "127.0.0.1:0,[::1]:0", "--json-listen", "off", "--data", data, "--json")
    v4, v6 = sorted(process.listeners("udp"), key=lambda host: "[" in host)
    assert v4.rsplit(":", 1)[1] == v6.rsplit(":", 1)[1], "one port"
    Udp(v4).announced(HASH, port=1, left=0)
    heard = Udp(v6).announced(HASH, port=2, left=1)
    assert (heard["seeders"], heard["leechers"], heard["peers"]) == (1, 1, set()), "only IPv6 addresses fit its packet"
    assert Udp(v6).announced(HASH, port=3, left=1)["peers"] == {("::1", 2)}
    for host in (v4, v6):
        reply = over_http(host, port=9, left=1)
        assert b"\x7f\x00\x00\x01\x00\x01" in reply[b"peers"] and len(reply[b"peers6"]) >= 36, "both over HTTP"


def test_http_keeps_connections_and_answers_pipelined_requests_in_order(tracker):
    request = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"
    paths = [bep3.announce_path(HASH, port, left=1) for port in (1, 2, 3)] + ["/health", "/announce"]
    with socket.create_connection(tracker.endpoint("http"), 10) as stream, stream.makefile("rb") as file:
        for _ in range(3):
            stream.sendall("".join(request.format(path) for path in paths).encode())
            bodies = []
            for _ in paths:
                assert file.readline().startswith(b"HTTP/1.1 200")
                lines = iter(file.readline, b"\r\n")
                headers = dict(line.rstrip().lower().split(b": ", 1) for line in lines)
                bodies.append(file.read(int(headers[b"content-length"])))
            assert bodies[3] == b"ok\n" and b"failure reason" in bodies[4]
            assert all(b"8:intervali60e" in body for body in bodies[:3])


def test_both_hashes_of_a_hybrid_share_counts_and_not_addresses(tracker, folder):
    info = make_torrent(random_file(folder / "x.bin", MIB), folder / "x.torrent")
    v1, v2 = info.info_hashes().v1.to_bytes(), info.info_hashes().v2.to_bytes()[:20]
    catalogue.publish(tracker, "x", (folder / "x.torrent").read_bytes())
    old, new, both = (Udp(tracker.host, f"127.7.0.{number}") for number in (1, 2, 3))
    old.announced(v1, port=1, left=0)
    new.announced(v2, port=1, left=0)
    both.announced(v1, port=1, left=5)
    both.announced(v2, port=1, left=5)
    assert old.scraped(v1, v2) == [(2, 0, 1), (2, 0, 1)]
    assert old.announced(v1, port=9, left=1)["peers"] == {("127.7.0.1", 1), ("127.7.0.3", 1)}
    assert new.announced(v2, port=9, left=1)["peers"] == {("127.7.0.2", 1), ("127.7.0.3", 1)}
    for asker, info_hash in ((old, v1), (new, v2)):
        asker.announced(info_hash, port=9, event=STOPPED)
    both.announced(v1, port=1, event=STOPPED)
    assert old.scraped(v1) == [(2, 0, 1)], "it is still there under the other hash"
    both.announced(v2, port=1, event=STOPPED)
    assert old.scraped(v1) == [(2, 0, 0)]


def test_an_unproven_source_gets_no_more_than_it_sent(tracker):
    good, elsewhere = Udp(tracker.host, "127.7.0.1"), Udp(tracker.host, "127.7.0.2")
    connect = struct.pack(">QII", 0x41727101980, CONNECT, 1)
    assert len(good.ask(connect)) <= len(connect)
    assert len(good.ask(connect + bytes(200))) <= len(connect)
    before = metrics.number(tracker, "teem_udp_bad_ids_total")
    silent = [
        elsewhere.announce(HASH, id=good.id),
        elsewhere.scrape(*[HASH] * 74, id=good.id),
        elsewhere.announce(HASH, id=good.id ^ 1),
        elsewhere.announce(HASH, id=0),
        elsewhere.announce(HASH, url_data=b"x" * 200, id=0),
        elsewhere.scrape(HASH, id=2**64 - 1),
        struct.pack(">QII", elsewhere.id ^ 1, 3, 1),
        struct.pack(">QII", elsewhere.id ^ 1, 99, 1),
    ]
    for packet in silent + [b"", b"x", bytes(15), bytes(2_000), connect[:15], b"\xff" * 98]:
        elsewhere.socket.send(packet)
        # Whatever comes first is the answer to this.
        assert elsewhere.connect(), packet
    # Some of the noise has no id at all.
    assert metrics.number(tracker, "teem_udp_bad_ids_total") >= before + len(silent)
    assert metrics.number(tracker, "teem_peers") == 0


def test_the_address_that_counts_is_the_one_it_came_from(tracker):
    forged = Udp(tracker.host, "127.7.0.1")
    packet = bytearray(forged.announce(HASH, port=5, left=0))
    packet[84:88] = socket.inet_aton("203.0.113.9")
    forged.ask(bytes(packet))
    over_http(tracker.host, port=6, left=0, ip="203.0.113.10", ipv4="203.0.113.11:5", ipv6="2001:db8::5")
    heard = Udp(tracker.host).announced(HASH, port=7, left=1)
    assert heard["peers"] == {("127.7.0.1", 5), ("127.0.0.1", 6)}


def test_a_network_over_its_quota_gets_empty_lists_and_others_theirs(teem):
    tracker = teem.tracker(extra=["--rate-limit-local", "2"])
    Udp(tracker.host, "127.8.8.1").announced(HASH, port=1, left=0)
    greedy = Udp(tracker.host, "127.7.7.1")
    answers = [greedy.announced(HASH, port=2, left=1, event=NONE) for _ in range(100)]
    assert answers[0]["peers"] == {("127.8.8.1", 1)}
    # Twenty at once; the clock may give two more a second.
    empty = {"interval": 1800, "leechers": 0, "seeders": 0, "peers": set()}
    assert answers.count(empty) > 50
    wait_for(lambda: greedy.announced(HASH, port=2, left=1, event=NONE) == empty, 20, "an empty list")
    neighbour = Udp(tracker.host, "127.7.7.2")
    wait_for(lambda: neighbour.announced(HASH, port=3, left=1) == empty, 20, "an empty list for the same /24")
    assert Udp(tracker.host, "127.9.9.1").announced(HASH, port=3, left=1)["peers"], "of another"
    assert metrics.number(tracker, "teem_udp_limited_total") > 0
    for request, reply in (
        ({"type": "PEER_LIST", "peer_id": "x", "token": "x", "file_name": "x"}, {"peers": [], "total_parts": 0}),
        ({"type": "AUTH", "peer_id": "x"}, {"status": "ERROR", "error": "your network asks too often; try again in a few seconds"}),
    ):
        wait_for(lambda: ask_once(tracker, "127.7.7.3", **request) == reply, 20, "the same over JSON")
    assert ask_once(tracker, "127.6.6.1", type="AUTH", peer_id="x")["status"] == "OK", "of another"
    assert metrics.number(tracker, "teem_json_limited_total") > 0


def test_made_up_hashes_do_not_lock_real_swarms_out(teem):
    tracker = teem.tracker(extra=["--max-torrents", "640"])
    udp = Udp(tracker.host)
    for port in range(1, 6):
        udp.announced(HASH, port=port, left=0)
    sent = 20_000
    for number in range(sent):
        udp.socket.send(udp.announce(number.to_bytes(20, "big"), port=9, want=0))
        udp.socket.recv(100)
    assert udp.scraped(HASH) == [(5, 0, 0)]
    assert udp.announced(OTHER, port=9, left=0)["seeders"] == 1, "a new swarm finds room"
    assert metrics.number(tracker, "teem_swarms") <= 640
    assert metrics.number(tracker, "teem_evicted_total") > sent - 1_000


def test_a_shared_name_is_one_swarm_for_every_client(teem, tracker, folder, address, cleanup):
    content = random_file(folder / "data" / "x.bin", 2 * MIB)
    teem.share(content, tracker)
    torrent = folder / "x.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, "x.bin"))
    for protocol in ("udp", "http"):
        peer = LibtorrentPeer(address())
        cleanup(peer)
        params = lt.load_torrent_file(str(torrent))
        params.trackers = [tracker.udp if protocol == "udp" else tracker.http]
        params.save_path = str(folder / protocol)
        peer.handle = peer.session.add_torrent(params)
        peer.wait_done()
        assert (folder / protocol / "x.bin").read_bytes() == content.read_bytes()
    got = teem.get("x.bin", folder / "teem", tracker, exit=False)
    got.done()
    info = lt.torrent_info(str(torrent)).info_hashes()
    udp = Udp(tracker.host)
    wait_for(lambda: catalogue.entry(tracker, "x.bin")["seeders"] == 4, 60, "all four seeders in the catalogue")
    counts = {udp.scraped(info.v1.to_bytes())[0], udp.scraped(info.v2.to_bytes()[:20])[0]}
    assert {(seeders, leechers) for seeders, _, leechers in counts} == {(4, 0)}
    (listing,) = join(tracker, "anna").ask("FILE_LIST")["files"]
    assert (listing["file_name"], listing["seeders"], listing["leechers"]) == ("x.bin", 4, 0)
