"""Peers found on the local network alone (BEP 14): no tracker, no DHT, no address."""

import socket
import struct

import pytest

import netns
from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, lt, make_torrent
from proc import wait_for
from teem import EXIT_DONE, PEER_PORT

PIECE_LENGTH = 64 * 1024
GROUP, PORT = "239.192.152.143", 6771
HERE, THERE = "10.98.0.1", "10.98.0.2"
NOBODY = ["--tracker", "udp://127.0.0.1:1/announce"]
LAN = {"TEEM_LAN": "on"}

pytestmark = pytest.mark.root


@pytest.fixture
def machines():
    """Two machines on a LAN."""
    with netns.machines(HERE, THERE) as both:
        yield both


@pytest.fixture
def source(folder):
    """The content."""
    return random_file(folder / "source" / "file.bin", 3 * MIB + 5)


def start(teem, machine, what, output, *extra):
    """`teem get` on a machine."""
    data = teem.state(f"on-{machine.name}")
    return teem("get", what, "-o", output, "--data", data, "--json", *extra, namespace=machine.name, **LAN)


def magnet(info):
    """A link with nothing but hashes."""
    return "&".join(part for part in lt.make_magnet_uri(info).split("&") if not part.startswith("tr="))


def libtorrent(machine, address):
    """libtorrent on a machine, with local discovery every few seconds and nothing else."""
    return machine.inside(LibtorrentPeer, address, enable_lsd=True, local_service_announce_interval=5)


class Ear:
    """Hears what is said to the group on a machine."""

    def __init__(self, machine, address):
        self.socket = machine.inside(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((GROUP, PORT))
        group = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(address))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        self.socket.settimeout(0.1)
        self.heard = b""

    def has_heard(self, info_hash):
        """Whether somebody told of that torrent by now."""
        try:
            while True:
                self.heard += self.socket.recv(2_000)
        except TimeoutError:
            return info_hash.encode() in self.heard.lower()

    def close(self):
        self.socket.close()


@pytest.mark.parametrize("what", ["magnet", "torrent"])
def test_teem_finds_teem(teem, folder, machines, source, what):
    info = make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    here, there = machines
    target = magnet(info) if what == "magnet" else folder / "made.torrent"
    # The one that has nothing is there first, and hears of the other.
    get = start(teem, there, target, folder / "out", "-e", *NOBODY)
    start(teem, here, folder / "made.torrent", source.parent, *NOBODY).done()
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)


def test_teem_finds_libtorrent(teem, folder, cleanup, machines, source):
    info = make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    here, there = machines
    peer = libtorrent(here, HERE)
    cleanup(peer)
    peer.seed(folder / "made.torrent", source.parent)
    get = start(teem, there, magnet(info), folder / "out", "-e", *NOBODY)
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)


def test_libtorrent_finds_teem(teem, folder, cleanup, machines, source):
    make_torrent(source, folder / "made.torrent", "hybrid", PIECE_LENGTH)
    here, there = machines
    peer = libtorrent(there, THERE)
    cleanup(peer)
    peer.leech(folder / "made.torrent", folder / "out")
    start(teem, here, folder / "made.torrent", source.parent, *NOBODY).done()
    peer.wait_done(120)
    assert_same(folder / "out" / "file.bin", source)


@pytest.mark.parametrize("private", [False, True])
def test_the_network_hears_nothing_of_a_private_torrent(teem, folder, cleanup, machines, source, private):
    make_torrent(source, folder / "made.torrent", "v1", PIECE_LENGTH)
    torrent = lt.bdecode((folder / "made.torrent").read_bytes())
    torrent[b"info"][b"private"] = int(private)
    (folder / "made.torrent").write_bytes(lt.bencode(torrent))
    make_torrent(source, folder / "other.torrent", "v1", 2 * PIECE_LENGTH)
    here, there = machines
    ear = Ear(there, THERE)
    cleanup(ear)
    hashes = [str(lt.load_torrent_file(str(folder / name)).ti.info_hashes().v1) for name in ("made.torrent", "other.torrent")]
    start(teem, here, folder / "made.torrent", source.parent, *NOBODY).done()
    if not private:
        wait_for(lambda: ear.has_heard(hashes[0]), 60, "word of the open torrent")
    # Word of another torrent comes later than that of the first would have come.
    start(teem, there, folder / "other.torrent", source.parent, *NOBODY).done()
    wait_for(lambda: ear.has_heard(hashes[1]), 60, "word of the other torrent")
    assert ear.has_heard(hashes[0]) == (not private)
