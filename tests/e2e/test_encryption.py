"""Message stream encryption: with clients that insist on it, with those that know nothing of it, and on the wire."""

import socket
import threading

import libtorrent as lt
import pytest

import catalogue
from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, make_torrent, with_trackers
from teem import EXIT_DONE, PEER_PORT

PIECE_LENGTH = 64 * 1024
FORCED = {"out_enc_policy": int(lt.enc_policy.forced), "in_enc_policy": int(lt.enc_policy.forced)}
DISABLED = {"out_enc_policy": int(lt.enc_policy.disabled), "in_enc_policy": int(lt.enc_policy.disabled)}
LEVELS = {
    "plain-after": dict(FORCED, allowed_enc_level=int(lt.enc_level.plaintext)),
    "rc4": dict(FORCED, allowed_enc_level=int(lt.enc_level.rc4)),
}
INSISTS = [("plain-after", "allowed"), ("plain-after", "preferred"), ("rc4", "preferred")]
"""What libtorrent and Teem are set to; `test_matrix` has the clients that insist on RC4, with Teem as it is."""


@pytest.fixture
def source(folder):
    """Content that takes many messages, and ends in mid-piece."""
    return random_file(folder / "source" / "file.bin", 6 * MIB + 12_345)


def made(folder, source, tracker, format="hybrid"):
    """A torrent file of the content."""
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, format, PIECE_LENGTH, [tracker.http])
    return torrent


def shared(teem, folder, source, tracker, encryption):
    """Shares with Teem; the torrent file."""
    extra = ["--format", "hybrid", "--piece-length", "64K", "--encryption", encryption]
    seeder = teem.share(source, tracker, extra=extra)
    torrent = folder / "shared.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, source.name))
    return seeder, torrent


# libtorrent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "encryption"), INSISTS)
def test_libtorrent_that_insists_fetches_from_teem(teem, folder, cleanup, source, level, encryption):
    tracker = teem.tracker()
    _, torrent = shared(teem, folder, source, tracker, encryption)
    peer = LibtorrentPeer(teem.address(), **LEVELS[level])
    cleanup(peer)
    peer.leech(torrent, folder / "out", [tracker.http]).wait_done(60)
    assert_same(folder / "out" / source.name, source)
    assert peer.failed_bytes() == 0


@pytest.mark.parametrize(("level", "encryption"), INSISTS)
def test_teem_fetches_from_libtorrent_that_insists(teem, folder, cleanup, source, level, encryption):
    tracker = teem.tracker()
    torrent = made(folder, source, tracker)
    peer = LibtorrentPeer(teem.address(), **LEVELS[level])
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out", extra=["--encryption", encryption])
    assert get.wait(60) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-40:])
    assert_same(folder / "out" / source.name, source)


def test_noise_travels_over_utp(teem, folder, cleanup, source):
    tracker = teem.tracker()
    torrent = made(folder, source, tracker)
    over_utp = {"enable_outgoing_tcp": False, "enable_incoming_tcp": False}
    over_utp |= {"enable_outgoing_utp": True, "enable_incoming_utp": True}
    peer = LibtorrentPeer(teem.address(), **LEVELS["rc4"], **over_utp)
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out", extra=["--encryption", "forced", "--utp", "only"])
    assert get.wait(90) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-40:])
    assert_same(folder / "out" / source.name, source)


def test_teem_that_prefers_noise_fetches_from_who_has_none(teem, folder, cleanup, source):
    tracker = teem.tracker()
    torrent = made(folder, source, tracker)
    peer = LibtorrentPeer(teem.address(), **DISABLED)
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out", extra=["--encryption", "preferred"])
    assert get.wait(60) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-40:])
    assert_same(folder / "out" / source.name, source)


# On the wire -----------------------------------------------------------------------------------------


class Relay:
    """Passes connections on to a peer, and keeps all that is said."""

    def __init__(self, address, to):
        self.to = to
        self.said = [bytearray(), bytearray()]
        self.listener = socket.create_server((address, PEER_PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.to, timeout=30)
            for said, source, sink in zip(self.said, (near, far), (far, near), strict=True):
                threading.Thread(target=self._pass, args=(said, source, sink), daemon=True).start()

    @staticmethod
    def _pass(said, source, sink):
        try:
            while chunk := source.recv(1 << 16):
                said += chunk
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        """Takes no more connections."""
        self.listener.close()


@pytest.mark.parametrize(("encryption", "hidden"), [("forced", True), ("off", False)])
def test_nothing_of_the_protocol_or_the_content_is_on_the_wire(teem, folder, cleanup, source, encryption, hidden):
    tracker = teem.tracker()
    seeder, torrent = shared(teem, folder, source, tracker, encryption)
    relay = Relay(teem.address(), (seeder.ip, PEER_PORT))
    cleanup(relay)
    peer = LibtorrentPeer(teem.address(), **(LEVELS["rc4"] if hidden else DISABLED))
    cleanup(peer)
    # Without a tracker it knows the relay alone.
    alone = with_trackers(torrent.read_bytes(), folder / "alone.torrent")
    peer.leech(alone, folder / "out")
    peer.connect(relay.listener.getsockname()[0])
    peer.wait_done(60)
    assert_same(folder / "out" / source.name, source)
    content = source.read_bytes()
    for said in relay.said:
        assert (b"BitTorrent protocol" in said) != hidden
    assert len(relay.said[1]) > len(content)
    assert (content[100_000:100_032] in relay.said[1]) != hidden
