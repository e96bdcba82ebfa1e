"""What strangers say does not lead us into our own network: on an internet of our own, with traps inside."""

import http.server
import socket
import struct
import threading

import libtorrent as lt
import pytest

from content import MIB, assert_same, random_file
from peers import make_torrent, with_trackers
from proc import wait_for
from teem import EXIT_DONE, PEER_PORT
from traps import EVIL, LEECHER, NEAR, SEEDER, TRAP_PORT, Trap

pytestmark = pytest.mark.root


class EvilTracker:
    """An HTTP tracker that answers every announce as it is told."""

    def __init__(self, space, answer, address=EVIL):
        self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                self.asked.append(handler.path)
                status, headers, body = answer(handler.path)
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = space.inside(http.server.ThreadingHTTPServer, (address, 80), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def peers(*addresses):
    """An answer that names peers."""
    packed = b"".join(socket.inet_aton(host) + port.to_bytes(2, "big") for host, port in addresses)
    return 200, {}, lt.bencode({b"interval": 1800, b"peers": packed})


@pytest.fixture
def torrent(teem, folder, internet):
    """A torrent whose tracker is evil, shared at a public address; its file and its content."""
    source = random_file(folder / "source" / "file.bin", MIB + 5)
    path = folder / "made.torrent"
    make_torrent(source, path, "hybrid", 16 * 1024, [f"http://{EVIL}/announce"])
    extra = ["--utp", "off"]
    teem.get(path, source.parent, ip=SEEDER, namespace=internet.name, exit=False, extra=extra).done(30)
    return path, source


def test_public_tracker_names_peers_in_our_own_network(teem, folder, cleanup, internet, torrent):
    trap = Trap(internet)
    cleanup(trap)
    near = [(address, TRAP_PORT) for address in NEAR]
    tracker = EvilTracker(internet, lambda _: peers(*near, ("224.0.0.1", 80), ("255.255.255.255", 80), (SEEDER, PEER_PORT)))
    cleanup(tracker)
    path, source = torrent
    get = teem.get(path, folder / "out", ip=LEECHER, namespace=internet.name)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    # The seeder came last in the list: the others were looked at before.
    assert trap.caught == []


def test_public_tracker_redirects_into_our_own_network(teem, folder, cleanup, internet, torrent):
    trap = Trap(internet)
    cleanup(trap)
    tiers = iter([*NEAR, "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])

    def answer(path):
        host = next(tiers, None)
        if host is None:
            return peers((SEEDER, PEER_PORT))
        return 302, {"Location": f"http://{host}:{TRAP_PORT}{path}"}, b""

    tracker = EvilTracker(internet, answer)
    cleanup(tracker)
    path, source = torrent
    # Each of its trackers is asked once before any is asked again.
    twelve = [f"http://{EVIL}/{number}/announce" for number in range(12)]
    many = with_trackers(path.read_bytes(), folder / "many.torrent", *twelve)
    get = teem.get(many, folder / "out", ip=LEECHER, namespace=internet.name)
    assert get.wait(90) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    assert len(tracker.asked) >= 12
    assert trap.caught == []


def test_torrent_cannot_send_requests_to_our_own_services(teem, folder, cleanup, internet, torrent):
    trap = Trap(internet)
    cleanup(trap)
    tracker = EvilTracker(internet, lambda _: peers((SEEDER, PEER_PORT)))
    cleanup(tracker)
    path, source = torrent
    services = [f"http://{address}:{TRAP_PORT}/shutdown?now=1" for address in NEAR]
    named = with_trackers(path.read_bytes(), folder / "named.torrent", *services, f"http://{EVIL}/announce")
    get = teem.get(named, folder / "out", ip=LEECHER, namespace=internet.name)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    assert trap.caught == []


def test_peer_of_the_internet_names_whom_to_meet_in_our_own_network(teem, folder, cleanup, internet, torrent):
    trap = Trap(internet)
    cleanup(trap)
    tracker = EvilTracker(internet, lambda _: peers())
    cleanup(tracker)
    path, _ = torrent
    ear = internet.inside(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    cleanup(ear)
    ear.bind((EVIL, TRAP_PORT))
    ear.settimeout(30)
    get = teem.get(path, folder / "out", ip=LEECHER, namespace=internet.name, exit=False)
    wait_for(lambda: tracker.asked, 30, "announce", get)
    info_hash = lt.torrent_info(str(path)).info_hashes().v1.to_bytes()
    with internet.dial((LEECHER, PEER_PORT), EVIL) as stream, stream.makefile("rb") as bytes_in:
        reserved = bytes(5) + b"\x10" + bytes(2)
        stream.sendall(b"\x13BitTorrent protocol" + reserved + info_hash + b"-XX0000-abcdefghijkl")
        assert len(bytes_in.read(68)) == 68
        stream.sendall(extended(0, lt.bencode({b"m": {b"ut_holepunch": 9}})))
        number = wait_for(lambda: offered(bytes_in).get(b"ut_holepunch"), 30, "offer of ut_holepunch", get)
        # The last one may be named: what came before it was looked at, too.
        for address in [*NEAR, EVIL]:
            connect = b"\1\0" + socket.inet_aton(address) + struct.pack(">HI", TRAP_PORT, 0)
            stream.sendall(extended(number, connect))
        packet, source = ear.recvfrom(2_000)
        assert packet[0] == 0x41, "a SYN of uTP"
        assert source == (LEECHER, PEER_PORT)
    assert trap.caught == []


def extended(number, payload):
    """A message of the extension protocol."""
    return struct.pack(">IBB", 2 + len(payload), 20, number) + payload


def offered(bytes_in):
    """What a peer's next message offers, if it is an extension handshake."""
    (length,) = struct.unpack(">I", bytes_in.read(4))
    message = bytes_in.read(length)
    return lt.bdecode(message[2:])[b"m"] if message[:2] == b"\x14\0" else {}


def test_trap_catches(cleanup, internet):
    trap = Trap(internet)
    cleanup(trap)
    internet.dial((NEAR[1], TRAP_PORT), LEECHER).close()
    wait_for(lambda: trap.caught, 10, "a caught connection")
