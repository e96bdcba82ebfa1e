"""TLS on the tracker's ports, certificates known by sight, and reverse proxies."""

import json
import os
import re
import socket
import ssl
import stat
import struct
import subprocess
from types import SimpleNamespace
from urllib.parse import quote

import libtorrent as lt
import pytest

import bep3
import examples
import metrics
import web
from content import MIB, assert_same, random_file
from json_protocol import Client, dial
from peers import LibtorrentPeer, make_torrent
from proc import wait_for
from teem import EXIT_DONE, EXIT_FAILED, EXIT_NO_PEERS, EXIT_USAGE, TRACKER_PORT

WRAPPED = """
import runpy, socket, ssl, sys
plain, cafile = socket.create_connection, sys.argv.pop(1)
context = ssl.create_default_context(cafile=cafile)
socket.create_connection = lambda address, *rest: context.wrap_socket(
    plain(address, *rest), server_hostname=address[0]
)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def tracker(teem):
    """Starts trackers that speak TLS."""

    def start(*extra, data=None, ip=None, tls="--tls"):
        process = teem.tracker(ip=ip, data=data, extra=[tls, *extra])
        process.cafile = process.data / "tls-cert.pem"
        process.fingerprint = process.latest("ready")["tls"]["fingerprint"]
        process.https = SimpleNamespace(host=f"https://{process.host}")
        return process

    return start


def verified(tracker):
    """A client's side of TLS that believes in nothing but the tracker's certificate."""
    return ssl.create_default_context(cafile=tracker.cafile)


def fetch(tracker, path, secure=False, **options):
    """One GET request; returns status and body."""
    return web.request(tracker.host, "GET", path, context=verified(tracker) if secure else None, **options)


def announce(tracker, port, secure=False, host=None, **options):
    """Announces a leecher; returns all peers that the tracker tells it of."""
    path = bep3.announce_path(b"h" * 20, port, left=1, peer_id=f"-XX0001-{port:012}")
    context = verified(tracker) if secure else None
    return bep3.peers(bep3.answer(host or tracker.host, path, context=context, **options))


def test_one_port_speaks_http_with_and_without_tls(tracker):
    process = tracker()
    assert web.fingerprint(process.endpoint("http")) == web.fingerprint(process.endpoint("json")) == process.fingerprint
    assert fetch(process, "/health") == fetch(process, "/health", secure=True) == (200, b"ok\n")
    curl = ["curl", "--silent", "--fail", "--max-time", "20", "--cacert", process.cafile, f"https://{process.host}/health"]
    assert subprocess.run(curl, capture_output=True, check=True).stdout == b"ok\n"
    unknown = subprocess.run([*curl[:4], "20", curl[-1]], capture_output=True)
    assert unknown.returncode == 60, "no authority vouches for it"
    key = process.data / "tls-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert process.stop() == 143
    assert tracker(data=process.data, ip=process.ip).fingerprint == process.fingerprint, "it is made once"


def test_what_is_shared_over_tls_is_fetched_over_tls(tracker, teem, folder):
    process = tracker(tls="--tls-only")
    source = random_file(folder / "source" / "file.bin", 2 * MIB + 1)
    seeder = teem.share(source, process.https, extra=["-vv"])
    assert process.fingerprint in seeder.stderr(), "who meets a tracker is told what it looks like"
    assert seeder.latest("ready")["trackers"][0] == f"https://{process.host}/announce"
    get = teem.get("file.bin", folder / "out", process.https)
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    _, torrent = fetch(process, "/api/v1/catalogue/file.bin/torrent", secure=True)
    assert lt.bdecode(torrent)[b"announce"] == f"https://{process.host}/announce".encode()
    status, body = fetch(process, "/api/v1/catalogue/file.bin", secure=True)
    assert status == 200 and json.loads(body)["seeders"] == 1


def test_a_certificate_that_changes_is_refused_until_the_person_agrees(tracker, teem):
    first = tracker()
    state = teem.state("client")

    def ls(*args, data=state, host=first.https.host):
        return teem.run("ls", "--tracker", host, "--data", data, *args)

    met = ls()
    assert met.returncode == EXIT_DONE and first.fingerprint in met.stderr(), met.tail()
    again = ls()
    assert again.returncode == EXIT_DONE and first.fingerprint not in again.stderr(), again.tail()

    first.stop()
    for name in ("tls-cert.pem", "tls-key.pem"):
        (first.data / name).unlink()
    second = tracker(data=first.data, ip=first.ip)
    assert second.fingerprint != first.fingerprint
    refused = ls()
    assert refused.returncode == EXIT_FAILED, refused.tail()
    assert first.fingerprint in refused.stderr() and second.fingerprint in refused.stderr(), refused.tail()
    assert f"--tracker-fingerprint {second.fingerprint}" in refused.stderr()

    colons = ":".join(re.findall("..", second.fingerprint.upper()))
    assert ls("--tracker-fingerprint", colons).returncode == EXIT_DONE
    assert ls().returncode == EXIT_DONE, "what was agreed to is remembered"

    careful = teem.state("careful")
    forged = ls("--tracker-fingerprint", first.fingerprint, data=careful)
    assert forged.returncode == EXIT_FAILED and second.fingerprint in forged.stderr(), forged.tail()
    assert ls(data=careful).returncode == EXIT_FAILED, "a pin is no first meeting"
    assert ls("--tracker-fingerprint", second.fingerprint, host=second.host).returncode == EXIT_USAGE
    trusting = teem.run("ls", "--tracker", second.https.host, "--data", teem.state("other"), SSL_CERT_FILE=str(second.cafile))
    assert trusting.returncode == EXIT_DONE and second.fingerprint not in trusting.stderr(), "an authority's word"


def test_a_node_announces_only_to_the_certificate_that_it_knows(tracker, teem, folder):
    process = tracker(tls="--tls-only")
    source = random_file(folder / "source" / "file.bin", MIB)
    seeder = teem.share(source, process.https, data=teem.state("seeder"))
    assert seeder.ready()
    wait_for(lambda: metrics.number(process, "teem_http_announces_total") >= 1, 30, "an announce over HTTPS")
    url = f"https://{process.host}/announce"
    magnet = f"{seeder.latest('ready')['magnet'].split('&tr=')[0]}&tr={quote(url, safe='')}"
    stranger = teem.get(magnet, folder / "out", extra=["--timeout", "3"])
    assert stranger.wait(60) == EXIT_NO_PEERS, "nobody told it whom to believe"
    misled = teem.get(magnet, folder / "out", extra=["--timeout", "3", "--tracker", url, "--tracker-fingerprint", "0" * 64])
    assert misled.wait(60) == EXIT_NO_PEERS, misled.tail()
    pinned = teem.get(magnet, folder / "out", extra=["--tracker", url, "--tracker-fingerprint", process.fingerprint])
    assert pinned.wait(60) == EXIT_DONE, pinned.tail()
    met = teem.get(magnet, folder / "met", process.https)
    assert met.wait(60) == EXIT_DONE, met.tail()


def test_stock_clients_meet_over_https(tracker, folder, address, cleanup, monkeypatch):
    process = tracker(tls="--tls-only")
    source = random_file(folder / "source" / "file.bin", MIB)
    url = f"https://{process.host}/announce"
    torrent = folder / "file.torrent"
    make_torrent(source, torrent, trackers=[url])
    # What stock clients believe is what their TLS library finds here.
    monkeypatch.setenv("SSL_CERT_FILE", str(process.cafile))
    seeder, leecher = LibtorrentPeer(address()), LibtorrentPeer(address())
    cleanup(seeder)
    cleanup(leecher)
    seeder.seed(torrent, source.parent)
    wait_for(lambda: metrics.number(process, "teem_http_announces_total") >= 1, 60, "an announce")
    leecher.leech(torrent, folder / "out").wait_done()
    assert_same(folder / "out" / "file.bin", source)


def test_json_clients_wrap_their_socket(tracker, folder, cleanup):
    process = tracker()
    addr, wrapped = process.listener("json"), ("-c", WRAPPED, process.cafile)
    examples.share(cleanup, folder, addr, "document.pdf", 5, 8080, wrapper=wrapped)
    for wrapper in (wrapped, ()):
        found = json.loads(examples.run(examples.JSON, addr, "find", "document.pdf", wrapper=wrapper))
        assert [each["port"] for each in found["peers"]] == [8080]


def test_plain_words_are_refused_where_only_tls_is_spoken(tracker, teem):
    process = tracker(tls="--tls-only")
    status, body = fetch(process, "/announce?x")
    assert status == 426 and b"https://" in body
    with dial(process) as plain:
        plain.sendall(b'{"type":"AUTH","peer_id":"anna"}\n')
        answer = json.loads(plain.makefile().read())
    assert answer["status"] == "ERROR" and "TLS" in answer["error"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(20)
        udp.sendto(struct.pack(">QII", 0x41727101980, 0, 7), process.endpoint("http"))
        assert udp.recv(100)[:8] == struct.pack(">II", 0, 7), "UDP remains"
    plain = teem.run("ls", "--tracker", process.host)
    assert plain.returncode == EXIT_FAILED and f"--tracker https://{process.host}" in plain.stderr(), plain.tail()


def test_a_certificate_is_replaced_while_connections_are_open(tracker):
    process, other = tracker(), tracker()
    context = verified(process)
    with context.wrap_socket(dial(process), server_hostname=process.ip) as stream:
        anna = Client(stream, "anna")
        assert anna.ask("AUTH")["status"] == "OK"
        for name in ("tls-key.pem", "tls-cert.pem"):
            draft = process.data / "draft"
            draft.write_bytes((other.data / name).read_bytes())
            os.replace(draft, process.data / name)
            assert anna.ask("AUTH")["status"] == "OK"
        wait_for(lambda: web.fingerprint(process.endpoint("http")) == other.fingerprint, 60, "the new certificate", process)
        assert anna.ask("AUTH")["status"] == "OK"
        (process.data / "tls-cert.pem").write_text("nonsense")
        wait_for(lambda: "cannot be used" in process.stderr(), 60, "a complaint", process)
        assert web.fingerprint(process.endpoint("http")) == other.fingerprint, "a bad one leaves the one before"
        assert anna.ask("AUTH")["status"] == "OK"


def test_slow_handshakes_end_and_hold_up_nobody(tracker):
    process = tracker()
    slow = [socket.create_connection(process.endpoint("http"), 20) for _ in range(200)]
    for number, each in enumerate(slow):
        each.sendall(b"\x16\x03\x01\x02\x00"[: 1 + number % 5])
    for _ in range(20):
        assert fetch(process, "/health", secure=True)[0] == fetch(process, "/health")[0] == 200
    for each in slow:
        each.settimeout(30)
        try:
            while each.recv(100):
                pass
        except ConnectionResetError:
            pass
        each.close()
    assert metrics.number(process, "teem_tls_failures_total") >= 200
    assert metrics.number(process, "teem_tls_handshakes_total") >= 20


def test_a_session_is_taken_up_again(tracker):
    process = tracker()
    context = verified(process)
    session = None
    for _ in range(2):
        plain = socket.create_connection(process.endpoint("http"), 20)
        with context.wrap_socket(plain, server_hostname=process.ip, session=session) as secure:
            secure.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while secure.recv(1000):
                pass
            taken_up, session = secure.session_reused, secure.session
    assert taken_up and metrics.number(process, "teem_tls_resumed_total") == 1


@pytest.mark.parametrize("wrong", ["missing", "mixed", "alone"])
def test_certificates_that_cannot_be_used_are_named_at_the_start(tracker, teem, address, wrong):
    good, other = tracker(), tracker()
    files = {
        "missing": ["--tls-cert", good.data / "none.pem", "--tls-key", good.data / "tls-key.pem"],
        "mixed": ["--tls-cert", good.cafile, "--tls-key", other.data / "tls-key.pem"],
        "alone": ["--tls-cert", good.cafile],
    }
    run = teem.run("tracker", "--listen", f"{address()}:0", "--data", teem.state("bad"), *files[wrong])
    assert run.returncode == (EXIT_USAGE if wrong == "alone" else EXIT_FAILED), run.tail()
    words = {"missing": "none.pem", "mixed": "do not belong together", "alone": "--tls-key"}
    assert words[wrong] in run.stderr()
    given = tracker("--tls-key", good.data / "tls-key.pem", "--tls-cert", good.cafile)
    assert given.fingerprint == good.fingerprint


def test_proxies_are_believed_only_where_they_are_listed(teem, tracker, address):
    near, far, stranger = address(), address(), address()
    process = tracker("--trusted-proxy", f"{near}/32", "--trusted-proxy", far)
    assert announce(process, 1, source=near, headers={"X-Forwarded-For": "192.0.2.1"}) == set()
    announce(process, 2, source=near, headers={"X-Forwarded-For": f"6.6.6.6, 192.0.2.2, {far}"})
    announce(process, 3, source=far, headers={"Forwarded": 'for="[2001:db8::3]:99";proto=https'})
    announce(process, 4, source=near, headers={"X-Forwarded-For": "192.0.2.4", "Forwarded": "for=6.6.6.6"})
    announce(process, 5, source=near)
    announce(process, 6, source=near, headers={"X-Forwarded-For": "192.0.2.6, \xff, "})
    announce(process, 7, source=near, headers={"X-Forwarded-For": "192.0.2.7"}, secure=True)
    announce(process, 8, source=stranger, headers={"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"})
    assert announce(process, 9, source=stranger) == {
        ("192.0.2.1", 1), ("192.0.2.2", 2), ("2001:db8::3", 3), (near, 4), (near, 5), (near, 6),
        ("192.0.2.7", 7), (stranger, 8),
    }  # fmt: skip


def test_a_proxy_is_believed_at_its_own_listener(teem, address):
    one, two, proxy = address(), address(), address()
    listen = ["--listen", f"{two}:{TRACKER_PORT}", "--trusted-proxy", f"{two}:{TRACKER_PORT}={proxy}"]
    process = teem.tracker(ip=one, extra=listen)
    headers = {"X-Forwarded-For": "192.0.2.1"}
    announce(process, 1, source=proxy, headers=headers)
    announce(process, 2, source=proxy, headers=headers, host=f"{two}:{TRACKER_PORT}")
    assert announce(process, 3) == {(proxy, 1), ("192.0.2.1", 2)}
    nowhere = teem.run(
        "tracker", "--listen", f"{address()}:0", "--data", teem.state("bad"), "--trusted-proxy", f"{one}:1={proxy}"
    )
    assert nowhere.returncode == EXIT_FAILED and f"{one}:1" in nowhere.stderr(), nowhere.tail()


def test_urls_handed_out_are_those_of_the_proxy(teem, tracker, folder, address):
    proxy = address()
    process = tracker("--trusted-proxy", proxy)
    teem.share(random_file(folder / "source" / "file.bin", MIB), process)

    def urls(**options):
        torrent = lt.bdecode(fetch(process, "/api/v1/catalogue/file.bin/torrent", **options)[1])
        return [url.decode() for url in torrent[b"announce-list"][0]]

    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "t.example"}
    public = ["https://t.example/announce", f"udp://t.example:{TRACKER_PORT}/announce"]
    assert urls(source=proxy, headers=headers) == public
    own = [f"http://{process.host}/announce", f"udp://{process.host}/announce"]
    assert urls(headers=headers) == own, "anybody can say so"
    assert urls(secure=True) == [own[0].replace("http:", "https:"), own[1]]
