"""Everything through a proxy, or by one network interface, and nothing beside it."""

import base64
import contextlib
import select
import socket
import struct
import threading

import pytest

from content import MIB, assert_same, random_file
from netns import machines
from teem import EXIT_DONE, EXIT_FAILED, EXIT_NO_PEERS, PEER_PORT

FAR, NEAR = "10.98.0.1", "10.98.0.2"
PROXY_PORT = 1080
LOGIN = ("user", "pa:ss w0rd")
SYN, ACK = 0x02, 0x10

pytestmark = pytest.mark.root


class Proxy:
    """SOCKS5 and HTTP CONNECT on one port, from one address, with a login."""

    def __init__(self, space):
        self.space = space
        self.asked = []
        self.listener = space.inside(socket.create_server, (FAR, PROXY_PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            first = client.recv(1)
            host, port, granted, refused = self._socks(client) if first == b"\x05" else self._connect(client, first)
            self.asked.append((host, port))
            try:
                server = self.space.dial((host, port), FAR)
            except OSError:
                client.sendall(refused)
                return
            client.sendall(granted)
            # Either side may end it as it likes.
            with server, contextlib.suppress(OSError):
                self._pass(client, server)

    @staticmethod
    def _socks(client):
        methods = client.recv(client.recv(1)[0])
        assert 2 in methods
        client.sendall(b"\x05\x02")
        assert client.recv(1) == b"\x01"
        login = tuple(client.recv(client.recv(1)[0]).decode() for _ in range(2))
        assert login == LOGIN
        client.sendall(b"\x01\x00")
        _, command, _, kind = client.recv(4)
        assert command == 1
        if kind == 3:
            host = client.recv(client.recv(1)[0]).decode()
        else:
            family, size = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[kind]
            host = socket.inet_ntop(family, client.recv(size))
        (port,) = struct.unpack(">H", client.recv(2))
        end = b"\x00\x01" + bytes(6)
        return host, port, b"\x05\x00" + end, b"\x05\x05" + end

    @staticmethod
    def _connect(client, head):
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        line, *fields = head.decode().split("\r\n")
        method, target, _ = line.split()
        assert method == "CONNECT"
        login = next(field.split(" ")[2] for field in fields if field.lower().startswith("proxy-authorization"))
        assert base64.b64decode(login).decode() == ":".join(LOGIN)
        host, _, port = target.rpartition(":")
        return host.strip("[]"), int(port), b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"

    @staticmethod
    def _pass(one, other):
        while True:
            for ready in select.select([one, other], [], [])[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                (other if ready is one else one).sendall(data)

    def close(self):
        self.listener.close()


class Sniffer:
    """Who begins to talk to whom inside a namespace: TCP connections and datagrams."""

    def __init__(self, space):
        self.begun = set()
        self.socket = space.inside(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                packet = self.socket.recv(1 << 16)
            except OSError:
                return
            if packet[0] >> 4 != 4:
                if packet[0] >> 4 == 6 and packet[6] in (6, 17):
                    self.begun.add(("ipv6", packet[8:24], packet[24:40]))
                continue
            header = (packet[0] & 15) * 4
            source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            port = int.from_bytes(packet[header + 2 : header + 4], "big")
            if packet[9] == 17:
                self.begun.add(("udp", source, target, port))
            elif packet[9] == 6 and packet[header + 13] & (SYN | ACK) == SYN:
                self.begun.add(("tcp", source, target, port))

    def close(self):
        self.socket.close()


@pytest.fixture
def source(folder):
    """Some content."""
    return random_file(folder / "source" / "file.bin", 3 * MIB + 7)


@pytest.fixture
def apart():
    """Two machines: the far one has a tracker, a seeder and a proxy."""
    with machines(FAR, NEAR) as (far, near):
        yield far, near


def fetch(teem, folder, name, tracker, namespace, *more):
    """Fetches by name, with everything on that could give it away."""
    args = ["get", name, "--output", folder / "out", "--tracker", tracker.host, "--exit", "--json"]
    args += ["--data", teem.state("get"), *more]
    return teem(*args, namespace=namespace.name, TEEM_LAN="on", TEEM_DHT="on")


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_nothing_leaves_beside_the_proxy(teem, folder, cleanup, apart, source, scheme):
    far, near = apart
    tracker = teem.tracker(ip=FAR, namespace=far.name)
    teem.share(source, tracker, ip=FAR, namespace=far.name)
    proxy = Proxy(far)
    cleanup(proxy)
    sniffer = Sniffer(near)
    cleanup(sniffer)
    url = f"{scheme}://{LOGIN[0]}:pa%3Ass%20w0rd@{FAR}:{PROXY_PORT}"
    get = fetch(teem, folder, source.name, tracker, near, "--proxy", url)
    assert get.wait(90) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    assert {(FAR, 6969), (FAR, PEER_PORT)} <= set(proxy.asked)
    assert sniffer.begun == {("tcp", NEAR, FAR, PROXY_PORT)}
    assert LOGIN[1] not in get.tail(10_000)


def test_sniffer_sees_what_leaves_without_a_proxy(teem, folder, cleanup, apart, source):
    far, near = apart
    tracker = teem.tracker(ip=FAR, namespace=far.name)
    teem.share(source, tracker, ip=FAR, namespace=far.name)
    sniffer = Sniffer(near)
    cleanup(sniffer)
    assert fetch(teem, folder, source.name, tracker, near).wait(90) == EXIT_DONE
    assert ("tcp", NEAR, FAR, PEER_PORT) in sniffer.begun
    assert any(one[0] == "udp" for one in sniffer.begun), "local discovery"


def test_proxy_that_is_away_is_told_of_and_not_gone_around(teem, folder, apart, source):
    far, near = apart
    tracker = teem.tracker(ip=FAR, namespace=far.name)
    teem.share(source, tracker, ip=FAR, namespace=far.name)
    get = fetch(teem, folder, source.name, tracker, near, "--proxy", f"socks5://{FAR}:{PROXY_PORT}")
    assert get.wait(90) == EXIT_NO_PEERS
    assert "proxy" in get.tail()
    assert not (folder / "out" / source.name).exists()


def test_only_the_named_interface_is_used(teem, folder, source):
    with machines("10.98.0.1", "10.98.0.2") as (left, right):
        tracker = teem.tracker(ip="10.98.0.1", namespace=left.name)
        teem.share(source, tracker, ip="10.98.0.1", namespace=left.name)
        # Another interface, which leads nowhere.
        right.command("link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1")
        right.command("addr", "add", "10.96.0.2/24", "dev", "vpn0")
        right.command("link", "set", "vpn0", "up")
        args = ["get", source.name, "--output", folder / "out", "--tracker", tracker.host, "--exit", "--json"]
        shut = teem(*args, "--data", teem.state("a"), "--interface", "vpn0", "--timeout", "3s", namespace=right.name)
        assert shut.wait(60) != EXIT_DONE
        assert not (folder / "out" / source.name).exists()
        get = teem(*args, "--data", teem.state("b"), "--interface", "eth0", namespace=right.name)
        assert get.wait(60) == EXIT_DONE, get.tail()
        assert_same(folder / "out" / source.name, source)
        absent = teem(*args, "--data", teem.state("c"), "--interface", "wg9", namespace=right.name)
        assert absent.wait(60) == EXIT_FAILED
        assert "wg9" in absent.tail()
