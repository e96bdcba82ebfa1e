"""Two peers behind routers that let nobody in meet by the word of a third one (BEP 55).

The third peer has no room on its disk: it never has a piece to give. There is no tracker, no DHT and no
local network that they share.
"""

import pytest

from content import MIB, assert_same, random_file
from nat import RELAY, Internet
from peers import LibtorrentPeer, lt, make_torrent
from proc import wait_for
from teem import EXIT_DONE, PEER_PORT
from test_disk_full import fill
from test_egress import EvilTracker, peers as naming

PIECE_LENGTH = MIB
NOBODY = ["--tracker", "udp://127.0.0.1:1/announce"]
UTP = {"enable_outgoing_utp": True, "enable_incoming_utp": True}

pytestmark = pytest.mark.root


@pytest.fixture
def internet(cleanup):
    """A public machine, and two homes behind routers."""
    net = Internet()
    cleanup(net)
    net.home(), net.home()
    return net


class Meeting:
    """The torrent and the three that meet."""

    def __init__(self, teem, folder, small_disk, cleanup, internet):
        self.teem, self.folder, self.cleanup, self.internet = teem, folder, cleanup, internet
        self.small_disk = small_disk
        self.source = random_file(folder / "source" / "file.bin", 3 * MIB + 5)
        self.torrent = folder / "made.torrent"
        info = make_torrent(self.source, self.torrent, "v1", PIECE_LENGTH)
        hashes = [part for part in lt.make_magnet_uri(info).split("&") if not part.startswith(("tr=", "dn="))]
        self.link = "&".join([*hashes, f"x.pe={RELAY}:{PEER_PORT}"])

    def get(self, what, output, space, address, name, *extra):
        """Starts `teem get` in a namespace."""
        listen = ["--listen", f"{address}:{PEER_PORT}", "--data", self.teem.state(name), "--json"]
        args = ["get", what, "--output", output, *listen, *extra]
        return self.teem(*args, name=name, namespace=space.name, TEEM_LOG="node=debug")

    def relay(self, *extra):
        """Teem, where everybody reaches it, without room for a piece."""
        disk = self.small_disk(8)
        relay = self.get(self.torrent, disk / "out", self.internet.public, RELAY, "relay", *NOBODY, *extra)
        relay.event("progress", where=lambda value: value["bytes"] == self.source.stat().st_size)
        fill(disk, leave=0)
        return relay

    def seeder(self, *extra):
        """Teem with the content, behind the first router; it knows the relay alone."""
        home = self.internet.homes[0]
        seeder = self.get(self.link, self.source.parent, home.space, home.address, "seeder", *extra)
        seeder.done()
        return seeder

    def fetcher(self, *extra, what=None):
        """The same without the content, behind the second router."""
        home = self.internet.homes[1]
        return self.get(what or self.link, self.folder / "out", home.space, home.address, "fetcher", "--exit", *extra)

    def libtorrent(self, home=None, **settings):
        """libtorrent behind a router, or where everybody reaches it."""
        space, address = (home.space, home.address) if home else (self.internet.public, RELAY)
        peer = space.inside(LibtorrentPeer, address, **dict(UTP, **settings))
        self.cleanup(peer)
        return peer


@pytest.fixture
def meeting(teem, folder, small_disk, cleanup, internet):
    """The stage."""
    return Meeting(teem, folder, small_disk, cleanup, internet)


def failures(process, home):
    """How often a machine was dialled in vain, at its router's address."""
    return process.stderr().count(f"cannot connect addr={home.outside}:{PEER_PORT}")


def test_two_peers_behind_routers_meet_through_a_third(meeting):
    relay = meeting.relay()
    # It hears of nobody but by the relay's word: no packet that it sends by itself opens the way.
    seeder = meeting.seeder("--pex", "off")
    fetcher = meeting.fetcher()
    assert fetcher.wait(90) == EXIT_DONE, fetcher.tail(60) + seeder.tail(40) + relay.tail(40)
    assert_same(meeting.folder / "out" / "file.bin", meeting.source)
    first, second = meeting.internet.homes
    # The fetcher's own dial may have left its way open, so that the seeder is through before it dials again.
    assert f"punching a hole addr={second.outside}:{PEER_PORT}" in seeder.stderr(), seeder.stderr()
    assert failures(fetcher, first) == 1, "the word was asked for when the first dial had failed"


@pytest.mark.parametrize("who", ["relay", "seeder"])
def test_without_the_extension_they_never_meet(meeting, who):
    off = {each: ["--utp", "off"] if each == who else [] for each in ("relay", "seeder")}
    relay = meeting.relay(*off["relay"])
    seeder = meeting.seeder("--pex", "off", *off["seeder"])
    fetcher = meeting.fetcher()
    first, second = meeting.internet.homes
    # With it, one failure is enough.
    wait_for(lambda: failures(fetcher, first) >= 3, 120, "third dial in vain", fetcher)
    assert fetcher.latest("progress")["verified"] == 0, fetcher.tail()
    assert "punching" not in fetcher.stderr() + seeder.stderr() + relay.stderr()
    assert failures(seeder, second) == 0, "it heard of nobody"


def test_the_one_that_has_it_asks_for_the_one_that_wants_it(meeting):
    relay = meeting.relay()
    fetcher = meeting.fetcher("--pex", "off")
    seeder = meeting.seeder()
    assert fetcher.wait(90) == EXIT_DONE, fetcher.tail(60) + seeder.tail(40) + relay.tail(40)
    assert_same(meeting.folder / "out" / "file.bin", meeting.source)
    assert "punching" in fetcher.stderr(), fetcher.stderr()


def test_teems_meet_through_libtorrent(meeting):
    # It would need minutes for a piece, and looks for who is meant among the addresses that uTP comes from.
    relay = meeting.libtorrent(close_redundant_connections=False)
    relay.leech(meeting.torrent, meeting.folder / "relay")
    relay.handle.set_download_limit(2_000)
    seeder = meeting.seeder("--pex", "off", "--utp", "only")
    # It tells of others only to who offers exchange in the first handshake: a magnet link's torrent may be private.
    tracker = EvilTracker(meeting.internet.public, lambda _: naming((RELAY, PEER_PORT)), RELAY)
    meeting.cleanup(tracker)
    extra = ["--tracker", f"http://{RELAY}/announce", "--utp", "only"]
    fetcher = meeting.fetcher(*extra, what=meeting.torrent)
    assert fetcher.wait(150) == EXIT_DONE, said(relay) + fetcher.tail(60) + seeder.tail(40)
    assert_same(meeting.folder / "out" / "file.bin", meeting.source)
    assert "punching" in seeder.stderr()
    assert relay.uploaded() < PIECE_LENGTH


def test_libtorrent_behind_a_router_meets_teem_through_teem(meeting):
    relay = meeting.relay()
    seeder = meeting.seeder("--pex", "off")
    fetcher = meeting.libtorrent(meeting.internet.homes[1], enable_outgoing_tcp=False)
    fetcher.leech(meeting.torrent, meeting.folder / "out")
    fetcher.connect(RELAY)
    try:
        fetcher.wait_done(150)
    except AssertionError as error:
        raise AssertionError(said(fetcher) + seeder.tail(40) + relay.tail(40)) from error
    assert_same(meeting.folder / "out" / "file.bin", meeting.source)
    assert "punching" in seeder.stderr() and "HOLEPUNCH" in said(fetcher)


def test_teem_meets_libtorrent_behind_a_router_through_teem(meeting):
    relay = meeting.relay()
    seeder = meeting.libtorrent(meeting.internet.homes[0])
    seeder.seed(meeting.torrent, meeting.source.parent)
    seeder.connect(RELAY)
    fetcher = meeting.fetcher()
    assert fetcher.wait(150) == EXIT_DONE, said(seeder) + fetcher.tail(60) + relay.tail(40)
    assert_same(meeting.folder / "out" / "file.bin", meeting.source)


def said(peer):
    """What libtorrent said about meetings and connections."""
    words = ("HOLEPUNCH", "PEX", "peer_connect", "peer_disconnected", "peer_error", "INTRODUCER", "HANDSHAKE")
    return "\n".join(line for line in peer.alerts() if any(word in line for word in words))
