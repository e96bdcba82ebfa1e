"""Peers found through the DHT alone: a network of our own on 127.0.0.x, of libtorrent's nodes and Teem's."""

import os
import socket
import threading

import pytest

import catalogue
from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, lt, make_torrent
from proc import wait_for
from teem import EXIT_DONE, EXIT_NO_PEERS, PEER_PORT

PIECE_LENGTH = 64 * 1024
DHT_SETTINGS = {
    "enable_dht": True,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
}


class Ear:
    """A node that answers every question with nobody, and remembers all that it hears."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, PEER_PORT))
        self.host = f"{address}:{PEER_PORT}"
        self.id = os.urandom(20)
        self.heard = []
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        while True:
            data, sender = self.socket.recvfrom(4096)
            if not data:
                return
            self.heard.append(data)
            message = lt.bdecode(data)
            if message and message[b"y"] == b"q":
                values = {b"id": self.id, b"token": b"t", b"nodes": b""}
                self.socket.sendto(lt.bencode({b"t": message[b"t"], b"y": b"r", b"r": values}), sender)

    def asked(self, method):
        """The arguments of the questions of one kind."""
        messages = [lt.bdecode(data) for data in list(self.heard)]
        return [message[b"a"] for message in messages if message.get(b"q") == method]

    def heard_of(self, *hashes):
        """Whether any of these bytes were in a datagram."""
        return any(digest in data for data in list(self.heard) for digest in hashes)

    def close(self):
        """Ends the thread with an empty datagram."""
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()


@pytest.fixture
def network(address, cleanup):
    """Five of libtorrent's nodes that know each other; where to start."""
    addresses = [address() for _ in range(5)]
    hosts = [f"{address}:{PEER_PORT}" for address in addresses]
    for address in addresses:
        cleanup(LibtorrentPeer(address, dht_bootstrap_nodes=",".join(hosts), **DHT_SETTINGS))
    return hosts


def client(address, network):
    """libtorrent with a DHT and nothing else to find peers by."""
    return LibtorrentPeer(address, dht_bootstrap_nodes=",".join(network), dht_announce_interval=5, **DHT_SETTINGS)


def dht(network):
    """Teem's flags for that."""
    return ["--dht", "on", "--dht-bootstrap", ",".join(network)]


def hashes(info):
    """The info hashes as they travel."""
    found = info.info_hashes()
    return [digest.to_bytes()[:20] for digest in ([found.v1] if found.has_v1() else []) + ([found.v2] if found.has_v2() else [])]


def magnet(info):
    """A link with nothing but hashes."""
    return "&".join(part for part in lt.make_magnet_uri(info).split("&") if not part.startswith("tr="))


def test_libtorrent_fetches_from_teem_by_the_dht_alone(teem, folder, cleanup, network):
    source = random_file(folder / "source" / "file.bin", 3 * MIB + 5)
    tracker = teem.tracker()
    teem.share(source, tracker, extra=dht(network))
    info = lt.torrent_info(lt.bdecode(catalogue.torrent(tracker, "file.bin")))
    tracker.stop()
    peer = client(teem.address(), network)
    cleanup(peer)
    peer.leech(magnet(info), folder / "out").wait_done(120)
    assert_same(folder / "out" / "file.bin", source)


def test_libtorrents_meet_through_a_node_of_teem(teem, folder, cleanup):
    own = random_file(folder / "own" / "own.bin", MIB)
    make_torrent(own, folder / "own.torrent", "v1", PIECE_LENGTH)
    hub = teem.get(folder / "own.torrent", own.parent, exit=False, extra=dht([f"{teem.address()}:{PEER_PORT}"]))
    hub.done()
    source = random_file(folder / "source" / "file.bin", 3 * MIB + 5)
    info = make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    seeder, leecher = (client(teem.address(), [f"{hub.ip}:{PEER_PORT}"]) for _ in range(2))
    cleanup(seeder)
    cleanup(leecher)
    seeder.seed(folder / "made.torrent", source.parent)
    leecher.leech(magnet(info), folder / "out").wait_done(120)
    assert_same(folder / "out" / "file.bin", source)


@pytest.mark.parametrize("format", ["v1", "hybrid", "v2"])
def test_teem_fetches_a_magnet_from_libtorrent_by_the_dht_alone(teem, folder, cleanup, network, format):
    source = random_file(folder / "source" / "file.bin", 3 * MIB + 5)
    info = make_torrent(source, folder / "made.torrent", format, PIECE_LENGTH)
    peer = client(teem.address(), network)
    cleanup(peer)
    peer.seed(folder / "made.torrent", source.parent)
    # What a person types: the link, or the hash. Nothing else is needed with `auto`.
    what = magnet(info) if format != "v1" else str(info.info_hashes().v1)
    get = teem.get(what, folder / "out", extra=["--dht", "auto", "--dht-bootstrap", network[0]])
    assert get.wait(120) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-30:])
    assert_same(folder / "out" / "file.bin", source)


def test_teem_fetches_from_teem_by_the_dht_alone_and_goes_on_from_what_it_knew(teem, folder, network):
    source = random_file(folder / "source" / "file.bin", 3 * MIB + 5)
    info = make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    # A torrent file and its content: nothing to fetch, so it seeds.
    seeder = teem.get(folder / "made.torrent", source.parent, exit=False, extra=dht(network))
    seeder.done()
    data = teem.state("leecher")
    get = teem.get(magnet(info), folder / "out", data=data, extra=dht(network))
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert (data / "dht.state").exists()
    # Nobody to start from but those of the last run.
    nobody = f"{teem.address()}:{PEER_PORT}"
    get = teem.get(magnet(info), folder / "again", data=data, extra=dht([nobody]))
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "again" / "file.bin", source)


def test_a_magnet_links_own_peer_needs_nothing_else(teem, folder):
    source = random_file(folder / "source" / "file.bin", MIB)
    info = make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    seeder = teem.get(folder / "made.torrent", source.parent, exit=False, extra=["--tracker", "udp://127.0.0.1:1/announce"])
    seeder.done()
    get = teem.get(f"{magnet(info)}&x.pe={seeder.ip}:{PEER_PORT}", folder / "out")
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)


@pytest.mark.parametrize("private", [True, False])
def test_the_dht_hears_nothing_of_a_private_torrent(teem, folder, cleanup, private):
    source = random_file(folder / "source" / "file.bin", MIB)
    ear = Ear(teem.address())
    cleanup(ear)
    made = make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    torrent = lt.bdecode((folder / "made.torrent").read_bytes())
    if private:
        torrent[b"info"][b"private"] = 1
        (folder / "made.torrent").write_bytes(lt.bencode(torrent))
        made = lt.torrent_info(str(folder / "made.torrent"))
    seeder = teem.get(folder / "made.torrent", source.parent, exit=False, extra=dht([ear.host]))
    seeder.done()
    wait_for(lambda: ear.asked(b"find_node"), 30, "a question", seeder)
    if not private:
        wait_for(lambda: ear.asked(b"announce_peer"), 30, "an announce", seeder)
    seeder.stop()
    assert ear.heard_of(*hashes(made)) == (not private)
    assert all(asked[b"port"] == PEER_PORT for asked in ear.asked(b"announce_peer"))


def test_a_read_only_node_says_so_and_answers_nobody(teem, folder, cleanup):
    source = random_file(folder / "source" / "file.bin", MIB)
    ear = Ear(teem.address())
    cleanup(ear)
    make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    extra = ["--dht", "read-only", "--dht-bootstrap", ear.host]
    seeder = teem.get(folder / "made.torrent", source.parent, exit=False, extra=extra)
    seeder.done()
    wait_for(lambda: ear.asked(b"announce_peer"), 30, "an announce", seeder)
    ping = lt.bencode({b"t": b"zz", b"y": b"q", b"q": b"ping", b"a": {b"id": ear.id}})
    ear.socket.sendto(ping, (seeder.ip, PEER_PORT))
    before = len(ear.heard)
    # It still speaks when it asks again, and what it said until then holds no answer.
    wait_for(lambda: len(ear.heard) > before, 30, "another question", seeder)
    messages = [lt.bdecode(data) for data in ear.heard]
    assert all(message[b"y"] == b"q" and message[b"ro"] == 1 for message in messages)


def test_off_means_no_datagram_at_all(teem, folder, cleanup):
    ear = Ear(teem.address())
    cleanup(ear)
    link = "magnet:?xt=urn:btih:" + "ab" * 20 + f"&x.pe={teem.address()}:1"
    get = teem.get(link, folder / "out", extra=["--dht", "off", "--dht-bootstrap", ear.host, "--timeout", "3"])
    assert get.wait(60) == EXIT_NO_PEERS, get.tail()
    assert not ear.heard
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((get.ip, PEER_PORT))
